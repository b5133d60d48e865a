"""Keeps an add-on's rights on the hub what the add-on asks for; what nobody asks for any more goes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from addon_framework.api.core import ROLEBINDINGS, ROLES
from addon_framework.api.meta import Json
from addon_framework.api.names import ADDON_NAME_LABEL, CLUSTER_NAME_LABEL
from addon_framework.hub.addons.identity import is_permission, permissions
from addon_framework.kube import Controller, Key, Watch
from addon_framework.kube.ensure import ensure, remove
from addon_framework.plugins import HubPermission

_RESOURCES = {"Role": ROLES, "RoleBinding": ROLEBINDINGS}


def rights_watches() -> list[Watch]:
    """The Roles and RoleBindings of add-ons, wherever they are."""
    return [Watch(r, map=_addon_of, label_selector=ADDON_NAME_LABEL) for r in _RESOURCES.values()]


async def grant(
    controller: Controller, key: Key, addon: Json | None, wanted: Sequence[HubPermission], manager: str
) -> None:
    """Make the rights of one add-on on one cluster exactly `wanted`; without an add-on there are none."""
    desired = permissions(addon, wanted) if addon is not None else []
    keep = {(obj["kind"], _key(obj)) for obj in desired}
    for kind, resource in _RESOURCES.items():
        cache = controller.cache(resource, label_selector=ADDON_NAME_LABEL)
        cache.add_index("rights-of", lambda obj: [str(each) for each in _addon_of(obj)])
        for live in cache.by_index("rights-of", str(key)):
            if (kind, _key(live)) not in keep and is_permission(live, key.name):
                await remove(controller.client, resource, live)
    for obj in desired:
        resource = _RESOURCES[obj["kind"]]
        live = controller.cache(resource, label_selector=ADDON_NAME_LABEL).get(_key(obj))
        if live is not None and live.get("rules") != obj.get("rules"):
            live = None  # rules in fewer words than before must not be taken for rules that are there
        await ensure(controller.client, live, obj, field_manager=manager, resource=resource)


def _key(obj: Json) -> Key:
    return Key(obj["metadata"]["namespace"], obj["metadata"]["name"])


def _addon_of(obj: Json) -> Iterable[Key]:
    metadata = obj["metadata"]
    labels = metadata.get("labels") or {}
    name = labels.get(ADDON_NAME_LABEL)
    return [Key(labels.get(CLUSTER_NAME_LABEL) or metadata["namespace"], name)] if name else []
