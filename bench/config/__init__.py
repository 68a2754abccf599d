"""Names and settings: the registry, plug-ins, gin files. The one room that imports gin."""
