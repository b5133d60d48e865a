"""Parts of the fleet's bench: its objects, its agents, its processes."""
