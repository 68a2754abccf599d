"""Published data sets: what each one is, where it comes from, how it is read."""
