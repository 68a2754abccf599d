"""Words and tools that every room uses. Imports no torch and no other room."""
