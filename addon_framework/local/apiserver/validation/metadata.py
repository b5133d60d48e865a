"""metadata of every object, built-in or custom."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from addon_framework.api.meta import Json
from addon_framework.local.apiserver.schemas import Cause, cause, names

NameCheck = Callable[[str], list[str]]

_ANNOTATIONS_LIMIT = 256 * 1024
_IMMUTABLE = "field is immutable"
_STANDARD_FINALIZERS = frozenset({"kubernetes", "orphan", "foregroundDeletion"})


def validate_metadata(
    obj: Json, old: Json | None, *, name_check: NameCheck = names.subdomain, builtin: bool = False
) -> list[Cause]:
    """What is wrong with metadata, alone and against what it was."""
    meta: Json = obj.get("metadata") or {}
    causes: list[Cause] = []
    _names(meta, name_check, causes)
    validate_labels(meta.get("labels"), "metadata.labels", causes)
    _annotations(meta.get("annotations"), causes)
    for index, each in enumerate((meta.get("finalizers") or ()) if builtin else ()):
        if "/" not in each and each not in _STANDARD_FINALIZERS and not each.endswith(".k8s.io"):
            why = "name is neither a standard finalizer name nor is it fully qualified"
            causes.append(cause.invalid(f"metadata.finalizers[{index}]", each, why))
    for each in meta.get("finalizers") or ():
        causes += [cause.invalid("metadata.finalizers", each, why) for why in names.qualified(each)]
    _owners(meta.get("ownerReferences") or [], causes)
    if old is not None:
        _unchanged(meta, old.get("metadata") or {}, causes)
    return causes


def _names(meta: Json, check: NameCheck, causes: list[Cause]) -> None:
    name, prefix = meta.get("name"), meta.get("generateName")
    if prefix:
        # The prefix of a valid name, which may end in a dash: something follows it.
        trimmed = prefix[:-1] + "a" if prefix.endswith("-") else prefix
        causes += [cause.invalid("metadata.generateName", prefix, why) for why in check(trimmed)]
    if not name:
        if not prefix:
            causes.append(cause.required("metadata.name", "name or generateName is required"))
        return
    causes += [cause.invalid("metadata.name", name, why) for why in check(name)]


def validate_labels(labels: Any, path: str, causes: list[Cause]) -> None:
    """Keys and values of labels."""
    for key, value in (labels or {}).items():
        causes += [cause.invalid(path, key, why) for why in names.qualified(key)]
        causes += [cause.invalid(path, value, why) for why in names.label_value(value or "")]


def _annotations(annotations: Any, causes: list[Cause]) -> None:
    size = 0
    for key, value in (annotations or {}).items():
        causes += [cause.invalid("metadata.annotations", key, why) for why in names.qualified(key.lower())]
        size += len(key) + len(value or "")
    if size > _ANNOTATIONS_LIMIT:
        causes.append(cause.too_long("metadata.annotations", _ANNOTATIONS_LIMIT))


def _owners(owners: list[Json], causes: list[Cause]) -> None:
    controllers: list[Json] = []
    for owner in owners:
        path = "metadata.ownerReferences"
        for key, said in (("apiVersion", "version"), ("kind", "kind"), ("name", "name"), ("uid", "uid")):
            if not owner.get(key):
                causes.append(cause.invalid(f"{path}.{key}", "", f"{said} must not be empty"))
        if owner.get("apiVersion") == "v1" and owner.get("kind") == "Event":
            causes.append(cause.invalid(path, owner, "/v1, Kind=Event is disallowed from being an owner"))
        if owner.get("controller") and owner.get("uid") not in [each.get("uid") for each in controllers]:
            controllers.append(owner)
    if len(controllers) > 1:
        first, second = (f"{each.get('kind')} {each.get('name')}" for each in controllers[:2])
        causes.append(
            cause.invalid(
                "metadata.ownerReferences",
                owners,
                'Only one reference can have Controller set to true. Found "true" in references for '
                f"{first} and {second}",
            )
        )


def _unchanged(meta: Json, before: Json, causes: list[Cause]) -> None:
    for key in ("name", "namespace", "uid", "creationTimestamp", "deletionTimestamp"):
        if key in meta and before.get(key) and meta[key] != before[key]:
            causes.append(cause.invalid(f"metadata.{key}", meta[key], _IMMUTABLE))
    if before.get("deletionTimestamp"):
        added = sorted(set(meta.get("finalizers") or ()) - set(before.get("finalizers") or ()))
        if added:
            listed = ", ".join(f'"{each}"' for each in added)
            causes.append(
                cause.forbidden(
                    "metadata.finalizers",
                    "no new finalizers can be added if the object is being deleted, found new finalizers "
                    f"[]string{{{listed}}}",
                )
            )


def immutable(obj: Any, old: Any, path: str, causes: list[Cause]) -> None:
    """A field that may not change once the object exists."""
    if obj != old:
        causes.append(cause.invalid(path, obj, _IMMUTABLE))
