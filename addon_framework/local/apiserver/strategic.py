"""Strategic merge patch: a merge patch that knows which lists are merged by key."""

from __future__ import annotations

from typing import Any

from addon_framework.api.meta import Json
from addon_framework.local.apiserver.schemas import SchemaNode

_PATCH = "$patch"
_ORDER = "$setElementOrder/"
_DELETE_PRIMITIVE = "$deleteFromPrimitiveList/"
_RETAIN = "$retainKeys"


class PatchError(ValueError):
    """The patch makes no sense for this schema."""


def strategic_merge(current: Json, patch: Json, schema: SchemaNode | None) -> Json:
    """The object with the patch applied; neither argument is changed."""
    merged = _merge_map(current, patch, schema)
    return merged if isinstance(merged, dict) else {}


def _merge_map(current: Json, patch: Json, node: SchemaNode | None) -> Any:
    directive = patch.get(_PATCH)
    if directive == "replace":
        return _clean({key: value for key, value in patch.items() if key != _PATCH})
    if directive == "delete":
        return {}
    if directive not in (None, "merge"):
        raise PatchError(f"invalid value for $patch: {directive!r}; use replace, delete or merge")
    out = dict(current)
    retained = patch.get(_RETAIN)
    if retained is not None:
        if not isinstance(retained, list):
            raise PatchError("$retainKeys must be a list of field names")
        out = {key: value for key, value in out.items() if key in retained}
    for key, value in patch.items():
        if key.startswith(_DELETE_PRIMITIVE):
            name = key[len(_DELETE_PRIMITIVE) :]
            doomed = value if isinstance(value, list) else []
            if isinstance(out.get(name), list):
                out[name] = [each for each in out[name] if each not in doomed]
    for key, value in patch.items():
        if key in (_PATCH, _RETAIN) or key.startswith((_ORDER, _DELETE_PRIMITIVE)):
            continue
        child = node.child(key) if node is not None else None
        if value is None:
            out.pop(key, None)
        elif isinstance(value, dict):
            present = out.get(key)
            if value.get(_PATCH) == "delete":
                out.pop(key, None)
            elif child is not None and "replace" in child.patch_strategies:
                out[key] = _clean(value)
            else:
                out[key] = _merge_map(present if isinstance(present, dict) else {}, value, child)
        elif isinstance(value, list):
            present = out.get(key)
            order = patch.get(_ORDER + key)
            out[key] = _merge_list(present if isinstance(present, list) else [], value, child, order)
        else:
            out[key] = value
    for key, order in patch.items():
        name = key[len(_ORDER) :]
        if key.startswith(_ORDER) and name not in patch and isinstance(out.get(name), list):
            child = node.child(name) if node is not None else None
            out[name] = _ordered(out[name], order, out[name], child)
    return out


def _merge_list(current: list[Any], patch: list[Any], node: SchemaNode | None, order: Any) -> list[Any]:
    if node is None or "merge" not in node.patch_strategies:
        return [_clean(each) for each in patch if not _directive(each)]
    key = node.merge_key
    if not key:
        added = [each for each in patch if each not in current]
        return _ordered([*current, *added], _fitting(order, patch), current, node)
    if any(_directive(each) == "replace" for each in patch):
        return [_clean(each) for each in patch if _directive(each) != "replace"]
    out = list(current)
    for each in patch:
        if not isinstance(each, dict) or key not in each:
            raise PatchError(f"map: {each!r} does not contain declared merge key: {key}")
        places = [index for index, item in enumerate(out) if _same_key(item, each, key)]
        if _directive(each) == "delete":
            out = [item for item in out if not _same_key(item, each, key)]
        elif places:
            out[places[0]] = _merge_map(out[places[0]], each, node.items)
        else:
            out.append(_merge_map({}, each, node.items))
    said = [each for each in patch if not _directive(each)]
    return _ordered(out, _fitting(order, said, key), current, node)


def _fitting(order: Any, patch: list[Any], key: str = "") -> list[Any]:
    """$setElementOrder, which names what the patch has in the same order; where it is missing the patch's."""
    if order is None:
        return patch
    if not isinstance(order, list):
        raise PatchError(f"$setElementOrder must be a list, not {order!r}")
    marks = [each.get(key) if key and isinstance(each, dict) else each for each in order]
    places = [each.get(key) if key else each for each in patch]
    if [each for each in marks if each in places] != places:
        raise PatchError(f"the order in the patch, {places}, does not match $setElementOrder, {marks}")
    return order


def _same_key(item: Any, other: Json, key: str) -> bool:
    return isinstance(item, dict) and item.get(key) == other[key]


def _ordered(items: list[Any], order: Any, current: list[Any], node: SchemaNode | None) -> list[Any]:
    """Items named in $setElementOrder in its order; the others keep their place before the next named one."""
    if not isinstance(order, list):
        return items
    key = node.merge_key if node is not None else ""

    def identity(item: Any) -> Any:
        return item.get(key) if key and isinstance(item, dict) else item

    rank = {identity(each): index for index, each in enumerate(order)}
    was = {identity(each): index for index, each in enumerate(current)}
    named = sorted((each for each in items if identity(each) in rank), key=lambda each: rank[identity(each)])
    others = [each for each in items if identity(each) not in rank]
    out: list[Any] = []
    while named and others:
        first, other = was.get(identity(named[0])), was.get(identity(others[0]))
        take_named = first is None or (other is not None and first < other) or other is None
        out.append((named if take_named else others).pop(0))
    return out + named + others


def _directive(item: Any) -> str | None:
    return item.get(_PATCH) if isinstance(item, dict) else None


def _clean(value: Any) -> Any:
    """Without directives and nulls, as what is new has nothing to delete."""
    if isinstance(value, dict):
        return {
            key: _clean(item) for key, item in value.items() if item is not None and not key.startswith("$")
        }
    if isinstance(value, list):
        return [_clean(each) for each in value]
    return value
