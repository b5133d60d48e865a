"""The hub's side: Datasets for the fleet, and what else sends Datasets to clusters."""
