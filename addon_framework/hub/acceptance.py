"""Whether a cluster is let in: what it may have on the hub hangs on it. Pure."""

from __future__ import annotations

from addon_framework.api.meta import Json


def is_accepted(cluster: Json | None) -> bool:
    """Whether the hub accepts a ManagedCluster; None is one that is not there."""
    return bool(((cluster or {}).get("spec") or {}).get("hubAcceptsClient"))


def acceptance_changed(old: Json | None, new: Json | None) -> bool:
    """Whether an event lets a cluster in or rejects it."""
    return is_accepted(old) != is_accepted(new)
