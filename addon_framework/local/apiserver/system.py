"""Who the server is to itself, and what it writes in that name."""

from __future__ import annotations

from addon_framework.local.apiserver.authn import User
from addon_framework.local.apiserver.registry import Kind
from addon_framework.local.apiserver.store import ObjectKey
from addon_framework.local.apiserver.write import Write

SYSTEM = User("system:apiserver", ("system:masters", "system:authenticated"))


def own_write(
    kind: Kind, key: ObjectKey, subresource: str = "", manager: str = "kube-controller-manager"
) -> Write:
    """By `manager`, the program that does it on a real cluster."""
    return Write(SYSTEM, kind, kind.storage_version, *key, subresource, manager=manager)
