"""How much each cluster has free, as scores that placements rank by."""
