"""One file = one method; the file's name is the method's name. `bench.config.registry` finds it, nothing lists it."""
