"""Names and settings: the registry, plug-ins, gin files. The only room that imports gin."""
