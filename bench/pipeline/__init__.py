"""From cells to records."""
