"""Engine plug-ins (entry-point group `boundaryless.engines`): how one engine's pod looks."""
