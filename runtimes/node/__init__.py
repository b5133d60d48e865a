"""What tasks do on a node whichever backend they serve."""
