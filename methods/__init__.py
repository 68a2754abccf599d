"""One file per method, named after the method. `bench.config.registry` discovers the files; there is no list."""
