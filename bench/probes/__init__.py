"""Probe protocols: a distilled set in, a score out."""
