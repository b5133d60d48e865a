"""Server-side apply and the tracking of updates, as structured-merge-diff and its field manager do them."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import orjson

from addon_framework.api.meta import Json
from addon_framework.local.apiserver.fieldmanager.fieldset import (
    FieldSet,
    difference,
    from_v1,
    intersection,
    paths,
    show,
    union,
    with_named_parents,
    without,
)
from addon_framework.local.apiserver.fieldmanager.managers import (
    APPLY,
    UPDATE,
    ManagerKey,
    Managers,
    Owned,
    manager_key,
)
from addon_framework.local.apiserver.fieldmanager.typed import (
    Comparison,
    TypedError,
    compare,
    field_set,
    merge,
    remove,
)
from addon_framework.local.apiserver.schemas import SchemaNode, copy_json
from addon_framework.local.apiserver.schemas.node import MISSING

_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_BEFORE_FIRST_APPLY = "before-first-apply"
# Nobody owns what the server sets, or what names the object.
_IDENTITY = (
    "name", "namespace", "creationTimestamp", "selfLink", "uid", "generation", "managedFields",
    "resourceVersion",
)  # fmt: skip
_UNOWNED = from_v1(
    {"f:apiVersion": {}, "f:kind": {}, "f:metadata": {".": {}, **{f"f:{key}": {} for key in _IDENTITY}}}
)
_STATUS: FieldSet = from_v1({"f:status": {}})
_SPEC: FieldSet = from_v1({"f:spec": {}})
_SPEC_AND_METADATA: FieldSet = from_v1({"f:spec": {}, "f:metadata": {}})


class ApplyConflict(Exception):
    """409: other managers own fields that the configuration would change; `causes` names each."""

    def __init__(self, conflicts: list[tuple[str, str]]) -> None:
        self.causes: list[dict[str, str]] = [
            {"reason": "FieldManagerConflict", "message": f"conflict with {manager}", "field": path}
            for manager, path in conflicts
        ]
        super().__init__(_conflict_message(conflicts))


def _conflict_message(conflicts: list[tuple[str, str]]) -> str:
    if len(conflicts) == 1:
        manager, path = conflicts[0]
        return f"Apply failed with 1 conflict: conflict with {manager}: {path}"
    grouped: dict[str, list[str]] = defaultdict(list)
    for manager, path in conflicts:
        grouped[manager].append(path)
    lines = []
    for manager in sorted(grouped):
        lines += [f"conflicts with {manager}:", *(f"- {path}" for path in grouped[manager])]
    return f"Apply failed with {len(conflicts)} conflicts: " + "\n".join(lines)


def reset_fields(subresource: str, schema: SchemaNode | None, has_status: bool = True) -> FieldSet:
    """What a request to an endpoint cannot change, so that its manager does not own it either."""
    if subresource == "":
        return _STATUS if has_status else {}
    if subresource == "status":
        return _SPEC if schema is not None and schema.builtin else _SPEC_AND_METADATA
    return {}


def apply(
    live: Json | None,
    config: Json,
    *,
    manager: str,
    force: bool,
    schema: SchemaNode | None,
    subresource: str,
    now: str,
    has_status: bool = True,
) -> Json:
    """The live object with the configuration applied; raises ApplyConflict, or TypedError on a wrong shape.

    The result is a copy that the caller may change. `has_status` is false for custom resources without the
    status subresource, whose status is a field like any other.
    """
    reset = reset_fields(subresource, schema, has_status)
    config = _strip(config, reset)
    before = live if live is not None else _empty(config)
    managers = Managers.decode((before.get("metadata") or {}).get("managedFields"))
    base = _without_managed_fields(before)
    if live is not None and not managers.owners:
        version = str(before.get("apiVersion", ""))
        key = manager_key(_BEFORE_FIRST_APPLY, UPDATE, subresource, version)
        owned = difference(compare(_empty(before), base, schema).added, _UNOWNED)
        if owned:
            managers.owners[key] = Owned(version, owned, now)
    merged = _apply(base, config, managers, manager, force, schema, subresource, now, reset)
    managers.cap()
    return _with_managed_fields(copy_json(merged), managers)


def _apply(
    live: Json,
    config: Json,
    managers: Managers,
    manager: str,
    force: bool,
    schema: SchemaNode | None,
    subresource: str,
    now: str,
    reset: FieldSet,
) -> Json:
    merged: Json = merge(live, config, schema)
    version = str(config.get("apiVersion", ""))
    fields = without(difference(field_set(config, schema, unique=True), _UNOWNED), reset)
    key = manager_key(manager, APPLY, subresource, version)
    last = managers.owners.get(key)
    owners = dict(managers.owners)
    owners[key] = Owned(version, fields, last.time if last is not None else now)
    if last is not None and last.fields:
        merged = _prune(merged, last.fields, owners, schema)
    changes = compare(live, merged, schema)
    conflicts = _conflicts(owners, key, changes)
    if conflicts and not force:
        allowed = _owned_by_client_side_apply(live, schema) if manager == "kubectl" else {}
        denied = {each: difference(found, allowed) for each, found in conflicts.items()}
        if any(denied.values()):
            raise ApplyConflict(
                [
                    (_describe(each, owners[each]), show(path))
                    for each, found in sorted(denied.items())
                    for path in paths(found)
                ]
            )
    _take(owners, key, changes, conflicts)
    changed = bool(changes.added or changes.modified or changes.removed)
    mine = owners.get(key)
    if mine is not None and (changed or last is None or last.fields != fields):
        owners[key] = Owned(version, fields, now)
    managers.owners = owners
    return merged


def track_update(
    old: Json | None,
    new: Json,
    *,
    manager: str,
    subresource: str,
    schema: SchemaNode | None,
    now: str,
    has_status: bool = True,
) -> Json:
    """The new object of a create, update or patch with managedFields that name who changed what."""
    said = (new.get("metadata") or {}).get("managedFields")
    before = old if old is not None else _empty(new)
    known = (before.get("metadata") or {}).get("managedFields")
    managers = _decode_first(known) if subresource else _decode_first(said, known)
    if not subresource and _is_reset(said):
        managers = Managers()
    base, target = _without_managed_fields(before), _without_managed_fields(new)
    if old is not None and not managers.owners:
        return target
    reset = reset_fields(subresource, schema, has_status)
    changes = compare(base, target, schema)
    if not (changes.added or changes.modified or changes.removed):
        return _with_managed_fields(target, managers)
    changes = Comparison(*(without(difference(each, _UNOWNED), reset) for each in changes))
    version = str(new.get("apiVersion", ""))
    owners = dict(managers.owners)
    _take(owners, None, changes, _conflicts(owners, None, changes))
    taken = union(changes.modified, changes.added)
    if taken:
        key = manager_key(manager, UPDATE, subresource, version)
        mine = owners.get(key)
        owners[key] = Owned(version, union(mine.fields, taken) if mine else taken, now)
    managers.owners = owners
    managers.cap()
    return _with_managed_fields(target, managers)


def _conflicts(
    owners: dict[ManagerKey, Owned], me: ManagerKey | None, changes: Comparison
) -> dict[ManagerKey, FieldSet]:
    written = union(changes.modified, changes.added)
    out = {}
    for key, owned in owners.items():
        if key != me and written:
            found = intersection(owned.fields, written)
            if found:
                out[key] = found
    return out


def _take(
    owners: dict[ManagerKey, Owned],
    me: ManagerKey | None,
    changes: Comparison,
    conflicts: dict[ManagerKey, FieldSet],
) -> None:
    """What was overwritten or removed is no longer anybody else's."""
    for key in list(owners):
        owned = owners[key]
        fields = owned.fields
        if key != me:
            lost = union(conflicts.get(key, {}), changes.removed)
            if lost:
                fields = difference(fields, lost)
        if not fields:
            del owners[key]
        elif fields is not owned.fields:
            owners[key] = Owned(owned.api_version, fields, owned.time)


def _prune(merged: Json, last: FieldSet, owners: dict[ManagerKey, Owned], schema: SchemaNode | None) -> Json:
    """Without what the manager applied last time and nobody, itself included, claims now."""
    claimed: FieldSet = {}
    for owned in owners.values():
        claimed = union(claimed, owned.fields)
    mine = with_named_parents(last, schema)
    cut = remove(merged, mine, schema)
    kept = field_set({} if cut is MISSING else cut, schema)
    everything = with_named_parents(field_set(merged, schema), schema)
    gone = difference(
        everything, union(with_named_parents(kept, schema), with_named_parents(claimed, schema))
    )
    # Items that lost every claimed field stay if somebody else made them.
    result: Any = remove(merged, intersection(gone, mine), schema)
    return {} if result is MISSING else result


def _owned_by_client_side_apply(live: Json, schema: SchemaNode | None) -> FieldSet:
    """kubectl may take over without conflict what its own last-applied annotation shows as its own."""
    annotations = (live.get("metadata") or {}).get("annotations") or {}
    try:
        last = orjson.loads(annotations.get(_LAST_APPLIED, ""))
    except orjson.JSONDecodeError:
        return {}
    if not isinstance(last, dict) or last.get("apiVersion") != live.get("apiVersion"):
        return {}
    try:
        fields = field_set(last, schema)
        changes = compare(last, live, schema)
    except TypedError:
        return {}
    for each in changes:
        fields = difference(fields, each)
    return fields


def _describe(key: ManagerKey, owned: Owned) -> str:
    manager, operation, subresource, _ = key
    text = orjson.dumps(manager).decode()
    if subresource:
        text += f" with subresource {orjson.dumps(subresource).decode()}"
    return f"{text} using {owned.api_version}" if operation == UPDATE else text


def _empty(obj: Json) -> Json:
    return {key: obj[key] for key in ("apiVersion", "kind") if key in obj}


def _strip(config: Json, reset: FieldSet) -> Json:
    """Less what this endpoint does not write; identity stays."""
    dropped = {key[2:] for key in reset} - {"metadata"}
    out = {key: value for key, value in config.items() if key not in dropped}
    if "f:metadata" in reset and isinstance(config.get("metadata"), dict):
        identity = ("name", "namespace", "uid", "resourceVersion")
        out["metadata"] = {key: config["metadata"][key] for key in identity if key in config["metadata"]}
    return out


def _without_managed_fields(obj: Json) -> Json:
    meta = obj.get("metadata")
    if not isinstance(meta, dict) or "managedFields" not in meta:
        return obj
    return {**obj, "metadata": {key: item for key, item in meta.items() if key != "managedFields"}}


def _with_managed_fields(obj: Json, managers: Managers) -> Json:
    meta = {key: item for key, item in (obj.get("metadata") or {}).items() if key != "managedFields"}
    if managers.owners:
        meta["managedFields"] = managers.encode()
    return {**obj, "metadata": meta}


def _is_reset(entries: Any) -> bool:
    """[{}] clears the list, and no entries are kept until the next apply."""
    return isinstance(entries, list) and len(entries) == 1 and not any(entries[0].values())


def _decode_first(*candidates: Any) -> Managers:
    """The first that holds owners; broken ones count as none, as a bad list must not block an update."""
    for entries in candidates:
        try:
            managers = Managers.decode(entries)
        except (ValueError, AttributeError):
            continue
        if managers.owners:
            return managers
    return Managers()
