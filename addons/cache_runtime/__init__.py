"""The add-on that binds Datasets to the runtimes that cache them, and loads data into the caches."""
