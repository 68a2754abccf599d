"""Published data sets: their facts, their official files, and how these are fetched, checked and read."""
