"""`fleetadm dataset`: Datasets for the fleet, from the command line."""
