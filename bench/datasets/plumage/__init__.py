"""Procedural birds: the embedded data sets."""
