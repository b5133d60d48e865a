"""Placement: a pure scheduler, and the controller that feeds it."""
