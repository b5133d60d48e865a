"""PersistentVolumes, PersistentVolumeClaims and StorageClasses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from addon_framework.api.meta import Json
from addon_framework.api.quantity import parse_quantity
from addon_framework.local.apiserver.schemas import Cause, cause
from addon_framework.local.apiserver.validation.metadata import immutable

_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
_NOT_SOURCES = (
    "accessModes", "capacity", "claimRef", "mountOptions", "nodeAffinity", "persistentVolumeReclaimPolicy",
    "storageClassName", "volumeAttributesClassName", "volumeMode",
)  # fmt: skip


def _access(modes: Any, path: str) -> Iterator[Cause]:
    where = f"{path}accessModes"
    if not modes:
        yield cause.required(where, "at least 1 access mode is required")
    for each in modes or ():
        if each not in _MODES:
            yield cause.not_supported(where, each, _MODES)
    if modes and "ReadWriteOncePod" in modes and len(modes) > 1:
        yield cause.forbidden(where, "may not use ReadWriteOncePod with other access modes")


def _sources(spec: Json) -> Json:
    return {key: value for key, value in spec.items() if key not in _NOT_SOURCES and value is not None}


def _volume(volume: Json, path: str) -> Iterator[Cause]:
    spec = volume.get("spec") or {}
    yield from _access(spec.get("accessModes"), "spec.")
    capacity, sources = spec.get("capacity") or {}, _sources(spec)
    if not capacity:
        yield cause.required("spec.capacity")
    if set(capacity) != {"storage"}:
        yield cause.not_supported("spec.capacity", capacity, ["storage"])
    elif parse_quantity(capacity["storage"]) <= 0:
        size = str(capacity["storage"])
        yield cause.invalid("spec.capacity[storage]", size, "must be greater than zero")
    if not sources:
        yield cause.required("spec", "must specify a volume type")
    for extra in list(sources)[1:]:
        yield cause.forbidden(f"spec.{extra}", "may not specify more than 1 volume type")
    root = (sources.get("hostPath") or {}).get("path") == "/"
    if root and spec.get("persistentVolumeReclaimPolicy") == "Recycle":
        why = "may not be 'recycle' for a hostPath mount of '/'"
        yield cause.forbidden("spec.persistentVolumeReclaimPolicy", why)
    if "local" in sources and not spec.get("nodeAffinity"):
        yield cause.required("spec.nodeAffinity", "Local volume requires node affinity")


def _volume_changed(volume: Json, old: Json) -> Iterator[Cause]:
    if _sources(volume.get("spec") or {}) != _sources(old.get("spec") or {}):
        where = "spec.persistentvolumesource"
        yield cause.forbidden(where, f"{where} is immutable after creation")
    yield from immutable(volume, old, "spec.volumeMode")
    now, before = ((each.get("spec") or {}).get("nodeAffinity") for each in (volume, old))
    if before is not None and now != before:
        why = "field is immutable, except for updating from beta label to GA"
        yield cause.invalid("nodeAffinity", now, why)


def _size(claim: Json) -> Any:
    return ((claim.get("resources") or {}).get("requests") or {}).get("storage")


def claim_spec(spec: Json, path: str) -> Iterator[Cause]:
    """Of a new claim, alone or in a StatefulSet."""
    yield from _access(spec.get("accessModes"), path)
    wanted = _size(spec)
    if wanted is None:
        yield cause.required(f"{path}resources[storage]")
    elif parse_quantity(wanted) <= 0:
        yield cause.invalid(f"{path}resources[storage]", str(wanted), "must be greater than zero")


def _new_claim(claim: Json, path: str) -> Iterator[Cause]:
    return claim_spec(claim.get("spec") or {}, "spec.")


def _claim_changed(claim: Json, old: Json) -> Iterator[Cause]:
    spec, before = claim.get("spec") or {}, old.get("spec") or {}
    yield from claim_spec(spec, "spec.")
    loose = {"volumeAttributesClassName"}
    if (old.get("status") or {}).get("phase") == "Bound":
        spec, before = (
            {**each, "resources": {**(each.get("resources") or {}), "requests": None}}
            for each in (spec, before)
        )
    if not before.get("volumeName"):
        loose.add("volumeName")  # binding
    if before.get("storageClassName") is None:
        loose.add("storageClassName")  # a default class, assigned later
    if any(spec.get(key) != before.get(key) for key in (spec.keys() | before.keys()) - loose):
        why = "spec is immutable after creation except resources.requests and volumeAttributesClassName for "
        yield cause.forbidden("spec", f"{why}bound claims")
    size, past = (_size(each.get("spec") or {}) for each in (claim, old))
    if size is not None and past is not None and parse_quantity(size) < parse_quantity(past):
        why = "field can not be less than status.capacity"
        yield cause.forbidden("spec.resources.requests.storage", why)


def _driver(spec: Json, path: str) -> Iterator[Cause]:
    for each in spec.get("volumeLifecycleModes") or ():
        if each not in ("Persistent", "Ephemeral"):
            yield cause.not_supported(f"{path}volumeLifecycleModes", each, ["Persistent", "Ephemeral"])


def _driver_changed(obj: Json, old: Json) -> Iterator[Cause]:
    for key, shown in (
        ("attachRequired", "attachedRequired"),
        ("volumeLifecycleModes", "volumeLifecycleModes"),
    ):
        now, before = ((each.get("spec") or {}).get(key) for each in (obj, old))
        if now != before:
            yield cause.invalid(f"spec.{shown}", now, "field is immutable")


def _class(obj: Json, path: str) -> Iterator[Cause]:
    """No topology is given twice, and an empty one is none."""
    seen: list[dict[str, set[str]]] = [{}]
    for index, term in enumerate(obj.get("allowedTopologies") or ()):
        said = (term or {}).get("matchLabelExpressions") or ()
        meant = {each.get("key") or "": set(each.get("values") or ()) for each in said}
        if meant in seen:
            yield cause.duplicate(f"allowedTopologies[{index}].matchLabelExpressions", "")
        seen.append(meant)


CHECKS: dict[str, Any] = {
    "core.v1.PersistentVolume": _volume,
    "storage.v1.CSIDriverSpec": _driver,
    "storage.v1.StorageClass": _class,
}
CREATIONS: dict[str, Any] = {"core.v1.PersistentVolumeClaim": _new_claim}
CHANGES: dict[str, Any] = {
    "core.v1.PersistentVolume": _volume_changed,
    "core.v1.PersistentVolumeClaim": _claim_changed,
    "storage.v1.CSIDriver": _driver_changed,
}
