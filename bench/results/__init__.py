"""Records and what is made from them alone. Imports neither torch nor gin."""
