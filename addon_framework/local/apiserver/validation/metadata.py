"""metadata of every object, built-in or custom."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from addon_framework.api.meta import Json, at
from addon_framework.local.apiserver.schemas import Cause, cause, names
from addon_framework.local.apiserver.validation.words import labels

NameCheck = Callable[[str], list[str]]

_ANNOTATIONS_LIMIT = 256 * 1024
_IMMUTABLE = "field is immutable"
_STANDARD_FINALIZERS = frozenset({"kubernetes", "orphan", "foregroundDeletion"})
_UNCHANGING = ("name", "namespace", "uid", "creationTimestamp", "deletionTimestamp")


def metadata_errors(obj: Json, old: Json | None, name_check: NameCheck, *, builtin: bool) -> Iterator[Cause]:
    """What is wrong with metadata, alone and against what it was."""
    meta: Json = obj.get("metadata") or {}
    yield from _names(meta, name_check)
    yield from labels(meta.get("labels"), "metadata.labels")
    yield from _annotations(meta.get("annotations") or {})
    for index, each in enumerate(meta.get("finalizers") or ()):
        yield from cause.broken("metadata.finalizers", each, names.qualified(each))
        if builtin and not each.endswith(".k8s.io"):
            yield from unqualified_finalizer(each, f"metadata.finalizers[{index}]")
    yield from _owners(meta.get("ownerReferences") or [])
    if old is not None:
        yield from _unchanged(meta, old.get("metadata") or {})


def unqualified_finalizer(name: str, path: str) -> Iterator[Cause]:
    """Without a domain there are but the standard ones."""
    if "/" not in name and name not in _STANDARD_FINALIZERS:
        why = "name is neither a standard finalizer name nor is it fully qualified"
        yield cause.invalid(path, name, why)


def _names(meta: Json, check: NameCheck) -> Iterator[Cause]:
    name, prefix = meta.get("name"), meta.get("generateName")
    if prefix:
        # The prefix of a valid name, which may end in a dash: something follows it.
        trimmed = prefix[:-1] + "a" if prefix.endswith("-") else prefix
        yield from cause.broken("metadata.generateName", prefix, check(trimmed))
    if name:
        yield from cause.broken("metadata.name", name, check(name))
    elif not prefix:
        yield cause.required("metadata.name", "name or generateName is required")


def _annotations(annotations: Json) -> Iterator[Cause]:
    for key in annotations:
        yield from cause.broken("metadata.annotations", key, names.qualified(key.lower()))
    if sum(len(key) + len(value or "") for key, value in annotations.items()) > _ANNOTATIONS_LIMIT:
        yield cause.too_long("metadata.annotations", _ANNOTATIONS_LIMIT)


def _owners(owners: list[Json]) -> Iterator[Cause]:
    path = "metadata.ownerReferences"
    controllers: dict[Any, str] = {}
    for owner in owners:
        for key, said in (("apiVersion", "version"), ("kind", "kind"), ("name", "name"), ("uid", "uid")):
            if not owner.get(key):
                yield cause.invalid(f"{path}.{key}", "", f"{said} must not be empty")
        if owner.get("apiVersion") == "v1" and owner.get("kind") == "Event":
            yield cause.invalid(path, owner, "/v1, Kind=Event is disallowed from being an owner")
        if owner.get("controller"):
            controllers.setdefault(owner.get("uid"), f"{owner.get('kind')} {owner.get('name')}")
    if len(controllers) > 1:
        first, second, *_ = controllers.values()
        why = 'Only one reference can have Controller set to true. Found "true" in references for '
        yield cause.invalid(path, owners, f"{why}{first} and {second}")


def _unchanged(meta: Json, before: Json) -> Iterator[Cause]:
    for key in _UNCHANGING:
        if key in meta and before.get(key) and meta[key] != before[key]:
            yield cause.invalid(f"metadata.{key}", meta[key], _IMMUTABLE)
    added = sorted(set(meta.get("finalizers") or ()) - set(before.get("finalizers") or ()))
    if added and before.get("deletionTimestamp"):
        listed = ", ".join(f'"{each}"' for each in added)
        why = "no new finalizers can be added if the object is being deleted, found new finalizers "
        yield cause.forbidden("metadata.finalizers", f"{why}[]string{{{listed}}}")


def immutable(obj: Json, old: Json, path: str) -> Iterator[Cause]:
    """A field that may not change once the object exists."""
    now = at(obj, path)
    if now != at(old, path):
        yield cause.invalid(path, now, _IMMUTABLE)
