"""Where an add-on's manifests go: its cluster, and in hosted mode the one that hosts its agent. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from addon_framework.api.meta import Json
from addon_framework.api.names import (
    ADDON_GROUP,
    ADDON_NAME_LABEL,
    ADDON_NAMESPACE_LABEL,
    CLUSTER_GROUP,
    HOSTING_CLUSTER_ANNOTATION,
)

PRE_DELETE = f"{ADDON_GROUP}/addon-pre-delete"  # annotation (or label, as OCM had it) and finalizer
HOSTING_PRE_DELETE = f"{ADDON_GROUP}/hosting-addon-pre-delete"
HOSTING_CLEANUP = f"{ADDON_GROUP}/hosting-manifests-cleanup"
_FINALIZERS = (PRE_DELETE, HOSTING_PRE_DELETE, HOSTING_CLEANUP)
OURS = frozenset(_FINALIZERS) | {f.replace(ADDON_GROUP, CLUSTER_GROUP) for f in _FINALIZERS}  # and OCM's old

LOCATION = f"{ADDON_GROUP}/hosted-manifest-location"  # annotation, or label as OCM had it
MANAGED, HOSTING, NONE = "managed", "hosting", "none"


class BadManifest(ValueError):
    """What a plug-in rendered cannot be put into a ManifestWork."""


class Place(NamedTuple):
    """A cluster's namespace on the hub, and whether the cluster only hosts the add-on's agent."""

    cluster: str
    hosting: bool = False

    @property
    def applied(self) -> str:
        """The condition that tells whether the manifests for it are applied."""
        return "HostingManifestApplied" if self.hosting else "ManifestApplied"

    @property
    def pre_delete(self) -> str:
        """The finalizer that holds the add-on while work there is to be done before it goes."""
        return HOSTING_PRE_DELETE if self.hosting else PRE_DELETE


def home_of(addon: Json) -> Place:
    """The cluster that the add-on is for."""
    return Place(addon["metadata"]["namespace"])


def hosting_cluster(addon: Json) -> str | None:
    """Which cluster is to host the add-on's agent; None in default mode."""
    found: str | None = (addon["metadata"].get("annotations") or {}).get(HOSTING_CLUSTER_ANNOTATION)
    return found


def place_of(work: Json) -> Place:
    """What an add-on's work is in."""
    labels = work["metadata"].get("labels") or {}
    return Place(work["metadata"]["namespace"], ADDON_NAMESPACE_LABEL in labels)


def mode_values(addon: Json, *, hosted: bool) -> dict[str, str]:
    """What manifests are told of the mode, besides the rest of their `values`."""
    return {
        "install_mode": "Hosted" if hosted else "Default",
        "hosting_cluster": (hosting_cluster(addon) or "") if hosted else "",
        "managed_kubeconfig_secret": f"{addon['metadata']['name']}-managed-kubeconfig",
    }


def labels_of(addon: Json, place: Place) -> dict[str, str]:
    """OCM's labels of an add-on's works."""
    labels = {ADDON_NAME_LABEL: addon["metadata"]["name"]}
    return labels | {ADDON_NAMESPACE_LABEL: addon["metadata"]["namespace"]} if place.hosting else labels


def sort_out(manifests: Iterable[Json], places: Sequence[Place], *, hosted: bool) -> dict[Place, list[Json]]:
    """Every place's manifests. In hosted mode those for a place that is not among `places` go nowhere.

    Raises BadManifest for a location that is none.
    """
    result: dict[Place, list[Json]] = {place: [] for place in places}
    for obj in manifests:
        location = _location(obj) if hosted else MANAGED
        for place, mine in result.items():
            if location == (HOSTING if place.hosting else MANAGED):
                mine.append(obj)
    return result


def _location(obj: Json) -> str:
    metadata = obj["metadata"]
    marks = ((metadata.get(field) or {}).get(LOCATION) for field in ("annotations", "labels"))
    location = next((mark for mark in marks if mark), MANAGED)
    if location not in (MANAGED, HOSTING, NONE):
        where = f"{obj['kind']} {metadata['name']}: annotation {LOCATION}"
        raise BadManifest(f"{where} is {location!r}, not {MANAGED}, {HOSTING} or {NONE}")
    return str(location)
