"""Registration, the hub's side: acceptance, RBAC, leases, taints, certificates, cluster sets, deletion."""

from addon_framework.hub.registration.controllers import registration_controllers

__all__ = ["registration_controllers"]
