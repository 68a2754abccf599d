"""The embedded data sets of procedural birds: plumage, plumage_families and plumage_spurious."""
