"""`fleetadm get`: what there is and how it fares."""

from addon_framework.cli.get.command import get

__all__ = ["get"]
