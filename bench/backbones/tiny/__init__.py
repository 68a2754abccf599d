"""The embedded encoders."""
