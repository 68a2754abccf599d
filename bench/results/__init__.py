"""Records, and everything computed from records alone. Imports neither torch nor gin."""
