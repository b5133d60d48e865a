"""What the add-on does on a spoke, for every backend alike."""
