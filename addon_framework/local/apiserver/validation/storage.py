"""PersistentVolumes, PersistentVolumeClaims and StorageClasses."""

from __future__ import annotations

from typing import Any

from addon_framework.api.meta import Json
from addon_framework.api.quantity import parse_quantity
from addon_framework.local.apiserver.schemas import Cause, cause
from addon_framework.local.apiserver.validation.metadata import immutable
from addon_framework.local.apiserver.validation.pods import validate_host_path

_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
_POLICIES = ("Delete", "Recycle", "Retain")
_NOT_SOURCES = frozenset(
    {
        "accessModes",
        "capacity",
        "claimRef",
        "mountOptions",
        "nodeAffinity",
        "persistentVolumeReclaimPolicy",
        "storageClassName",
        "volumeAttributesClassName",
        "volumeMode",
    }
)
_CLAIM_UPDATE = (
    "spec is immutable after creation except resources.requests and volumeAttributesClassName for "
    "bound claims"
)


def _access(modes: Any, path: str, causes: list[Cause]) -> None:
    if not modes:
        causes.append(cause.required(f"{path}.accessModes", "at least 1 access mode is required"))
    for each in modes or ():
        if each not in _MODES:
            causes.append(cause.not_supported(f"{path}.accessModes", each, _MODES))
    if modes and "ReadWriteOncePod" in modes and len(modes) > 1:
        causes.append(
            cause.forbidden(f"{path}.accessModes", "may not use ReadWriteOncePod with other access modes")
        )


def _choice(spec: Json, key: str, allowed: tuple[str, ...], causes: list[Cause]) -> None:
    if spec.get(key) and spec[key] not in allowed:
        causes.append(cause.not_supported(f"spec.{key}", spec[key], allowed))


def validate_persistent_volume(obj: Json, old: Json | None) -> list[Cause]:
    """v1 PersistentVolume."""
    causes: list[Cause] = []
    spec = obj.get("spec") or {}
    _access(spec.get("accessModes"), "spec", causes)
    capacity = spec.get("capacity") or {}
    if not capacity:
        causes.append(cause.required("spec.capacity"))
    if set(capacity) != {"storage"}:
        causes.append(cause.not_supported("spec.capacity", capacity, ["storage"]))
    elif parse_quantity(capacity["storage"]) <= 0:
        causes.append(
            cause.invalid("spec.capacity[storage]", str(capacity["storage"]), "must be greater than zero")
        )
    sources = {key: value for key, value in spec.items() if key not in _NOT_SOURCES and value is not None}
    if not sources:
        causes.append(cause.required("spec", "must specify a volume type"))
    for extra in list(sources)[1:]:
        causes.append(cause.forbidden(f"spec.{extra}", "may not specify more than 1 volume type"))
    if "hostPath" in sources:
        validate_host_path(sources["hostPath"], "spec.hostPath", causes)
        if sources["hostPath"].get("path") == "/" and spec.get("persistentVolumeReclaimPolicy") == "Recycle":
            causes.append(
                cause.forbidden(
                    "spec.persistentVolumeReclaimPolicy", "may not be 'recycle' for a hostPath mount of '/'"
                )
            )
    if "local" in sources and not spec.get("nodeAffinity"):
        causes.append(cause.required("spec.nodeAffinity", "Local volume requires node affinity"))
    _choice(spec, "persistentVolumeReclaimPolicy", _POLICIES, causes)
    if old is not None:
        before = old.get("spec") or {}
        past = {key: value for key, value in before.items() if key not in _NOT_SOURCES and value is not None}
        if sources != past:
            causes.append(
                cause.forbidden(
                    "spec.persistentvolumesource",
                    "spec.persistentvolumesource is immutable after creation",
                )
            )
        immutable(spec.get("volumeMode"), before.get("volumeMode"), "spec.volumeMode", causes)
    return causes


def validate_claim(obj: Json, old: Json | None) -> list[Cause]:
    """v1 PersistentVolumeClaim."""
    causes: list[Cause] = []
    spec = obj.get("spec") or {}
    if old is not None:
        _claim_update(spec, old, causes)
        return causes
    claim_spec(spec, "spec", causes)
    return causes


def claim_spec(spec: Json, path: str, causes: list[Cause]) -> None:
    """Of a new claim, alone or in a StatefulSet."""
    _access(spec.get("accessModes"), path, causes)
    wanted = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    if wanted is None:
        causes.append(cause.required(f"{path}.resources[storage]"))
    elif parse_quantity(wanted) <= 0:
        causes.append(cause.invalid(f"{path}.resources[storage]", str(wanted), "must be greater than zero"))


def _claim_update(spec: Json, old: Json, causes: list[Cause]) -> None:
    before = old.get("spec") or {}
    loose = {"resources", "volumeAttributesClassName"}
    if not before.get("volumeName"):
        loose.add("volumeName")  # binding
    if before.get("storageClassName") is None:
        loose.add("storageClassName")  # a default class, assigned later
    if any(spec.get(key) != before.get(key) for key in (spec.keys() | before.keys()) - loose):
        causes.append(cause.forbidden("spec", _CLAIM_UPDATE))
    size = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    past = ((before.get("resources") or {}).get("requests") or {}).get("storage")
    if size is not None and past is not None and parse_quantity(size) < parse_quantity(past):
        causes.append(
            cause.forbidden(
                "spec.resources.requests.storage",
                "field can not be less than status.capacity",
            )
        )


def validate_storage_class(obj: Json, old: Json | None) -> list[Cause]:
    """storage.k8s.io/v1 StorageClass."""
    causes: list[Cause] = []
    for key, allowed in (
        ("reclaimPolicy", ("Delete", "Retain")),
        ("volumeBindingMode", ("Immediate", "WaitForFirstConsumer")),
    ):
        if obj.get(key) and obj[key] not in allowed:
            causes.append(cause.not_supported(key, obj[key], allowed))
        if old is not None:
            immutable(obj.get(key), old.get(key), key, causes)
    if old is not None:
        for key in ("provisioner", "parameters"):
            if obj.get(key) != old.get(key):
                causes.append(cause.forbidden(key, f"updates to {key} are forbidden."))
    return causes
