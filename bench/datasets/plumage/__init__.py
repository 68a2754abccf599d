"""Procedural birds, the embedded data sets: plumage, plumage_families and plumage_spurious."""
