"""Images once through a backbone: views, encoding, the feature store."""
