"""Who owns which field of an object: server-side apply and managedFields."""

from addon_framework.local.apiserver.fieldmanager.apply import ApplyConflict, apply, track_update
from addon_framework.local.apiserver.fieldmanager.typed import TypedError

__all__ = ["ApplyConflict", "TypedError", "apply", "track_update"]
