"""Features of images: views, encoding, the feature store, similarity."""
