"""Types and tools that every room uses. Imports neither torch nor any other room."""
