"""The embedded data sets of procedural birds: aviary, plumage, plumage_families and plumage_spurious."""
