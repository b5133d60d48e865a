"""The controllers that make an API server usable and that on a real cluster run beside it."""
