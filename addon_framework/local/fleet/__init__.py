"""The embedded fleet: a hub, spokes and an object store on one machine, as processes under one supervisor."""

from addon_framework.local.fleet.fleet import Fleet
from addon_framework.local.fleet.state import FleetError, FleetOptions, FleetState

__all__ = ["Fleet", "FleetError", "FleetOptions", "FleetState"]
