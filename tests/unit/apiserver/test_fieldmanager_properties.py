"""Laws of field ownership that hold for any configurations, managers and order of writes."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from addon_framework.api.meta import Json
from addon_framework.local.apiserver.fieldmanager import ApplyConflict, apply, track_update
from addon_framework.local.apiserver.fieldmanager.fieldset import (
    MEMBER,
    FieldSet,
    difference,
    from_v1,
    intersection,
    paths,
    to_v1,
    union,
    with_named_parents,
)
from addon_framework.local.apiserver.fieldmanager.typed import compare, field_set, remove
from addon_framework.local.apiserver.schemas import copy_json, crd_schema
from addon_framework.local.apiserver.schemas.node import MISSING

SCHEMA = crd_schema(
    {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "properties": {
                    "a": {"type": "integer"},
                    "s": {
                        "type": "object",
                        "properties": {"x": {"type": "integer"}, "y": {"type": "integer"}},
                    },
                    "m": {"type": "object", "additionalProperties": {"type": "integer"}},
                    "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
                    "atomic": {"type": "array", "items": {"type": "integer"}},
                    "items": {
                        "type": "array",
                        "x-kubernetes-list-type": "map",
                        "x-kubernetes-list-map-keys": ["name"],
                        "items": {
                            "type": "object",
                            "required": ["name"],
                            "properties": {
                                "name": {"type": "string"},
                                "v": {"type": "integer"},
                                "w": {"type": "integer"},
                            },
                        },
                    },
                    "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                },
            }
        },
    }
)
small = st.integers(0, 2)
names = st.sampled_from("pqr")
item = st.fixed_dictionaries({"name": names}, optional={"v": small, "w": small})
specs = st.fixed_dictionaries(
    {},
    optional={
        "a": small,
        "s": st.fixed_dictionaries({}, optional={"x": small, "y": small}),
        "m": st.dictionaries(names, small, max_size=3),
        # An empty keyed list or set is owned by nobody, so laws about owners say nothing about it.
        "set": st.lists(names, unique=True, min_size=1, max_size=3),
        "atomic": st.lists(small, max_size=2),
        "items": st.lists(item, unique_by=lambda each: str(each["name"]), min_size=1, max_size=3),
        "free": st.dictionaries(names, small | st.dictionaries(names, small, max_size=2), max_size=2),
    },
)
managers = st.sampled_from(["one", "two", "three"])
writes = st.lists(st.tuples(managers, st.booleans(), specs), min_size=1, max_size=6)


def thing(spec: Json) -> Json:
    return {"apiVersion": "e.com/v1", "kind": "Thing", "metadata": {"name": "t"}, "spec": copy_json(spec)}


def applied(live: Json | None, manager: str, spec: Json, *, force: bool = True) -> Json:
    return apply(live, thing(spec), manager=manager, force=force, schema=SCHEMA, subresource="", now="n")


def owner(obj: Json, manager: str) -> FieldSet:
    for entry in obj["metadata"].get("managedFields", ()):
        if entry["manager"] == manager and entry["operation"] == "Apply":
            return from_v1(entry["fieldsV1"])
    return {}


def owners(obj: Json) -> list[FieldSet]:
    return [from_v1(entry["fieldsV1"]) for entry in obj["metadata"].get("managedFields", ())]


def written(steps: list[tuple[str, bool, Json]]) -> Json:
    """An object after some applies and updates."""
    live: Json | None = None
    for manager, by_apply, spec in steps:
        if by_apply:
            live = applied(live, manager, spec)
        else:
            new = copy_json(live) if live is not None else thing({})
            new["spec"] = copy_json(spec)
            live = track_update(live, new, manager=manager, subresource="", schema=SCHEMA, now="n")
        live["metadata"]["uid"] = "u"
    assert live is not None
    return live


def spec_of(obj: Json) -> Json:
    spec: Json = obj.get("spec") or {}
    return spec


@given(writes, managers, specs)
def test_applying_twice_is_applying_once(steps: list[Any], manager: str, spec: Json) -> None:
    once = applied(written(steps), manager, spec)
    assert applied(once, manager, spec) == once
    assert applied(once, manager, spec, force=False) == once, "what one owns never conflicts with oneself"


@given(writes, managers, specs)
def test_an_applier_owns_exactly_what_it_applied(steps: list[Any], manager: str, spec: Json) -> None:
    live = applied(written(steps), manager, spec)
    wanted = field_set({"spec": spec}, SCHEMA)
    assert to_v1(owner(live, manager)) == to_v1(wanted)
    assert not compare({"spec": spec}, {"spec": spec_of(live)}, SCHEMA).modified.get("f:spec", {}).get("f:a")


@given(writes)
def test_nobody_owns_what_is_not_there(steps: list[Any]) -> None:
    live = written(steps)
    everything = with_named_parents(field_set(live, SCHEMA), SCHEMA)
    empties = {("f:spec", f"f:{key}") for key, value in spec_of(live).items() if value in ([], {})}
    for fields in owners(live):
        left = {path for path in paths(difference(fields, everything)) if path not in empties}
        left -= {path[:length] for path in empties for length in (1, 2)}
        assert not left


@given(writes, managers)
def test_withdrawing_removes_only_what_nobody_else_owns(steps: list[Any], manager: str) -> None:
    before = written(steps)
    mine = owner(before, manager)
    others: FieldSet = {}
    for entry in before["metadata"].get("managedFields", ()):
        if (entry["manager"], entry["operation"]) != (manager, "Apply"):
            others = union(others, from_v1(entry["fieldsV1"]))
    after = applied(before, manager, {})
    changes = compare({"spec": spec_of(before)}, {"spec": spec_of(after)}, SCHEMA)
    assert not changes.added
    leaves = set(paths(changes.removed))
    for path in paths(intersection(changes.removed, others)):
        above = {path[:length] for length in range(1, len(path))}
        assert above & leaves, f"{path} went although it is owned by another, and nothing above it went"
    for path in paths(difference(changes.removed, with_named_parents(mine, SCHEMA))):
        parents = {path[:length] for length in range(1, len(path))}
        assert parents & set(paths(mine)), f"{path} was removed but {manager} owned nothing of it"


@given(writes, managers, specs)
def test_without_force_others_values_are_safe(steps: list[Any], manager: str, spec: Json) -> None:
    before = written(steps)
    others: FieldSet = {}
    for entry in before["metadata"].get("managedFields", ()):
        if (entry["manager"], entry["operation"]) != (manager, "Apply"):
            others = union(others, from_v1(entry["fieldsV1"]))
    try:
        after = applied(before, manager, spec, force=False)
    except ApplyConflict:
        return
    changes = compare({"spec": spec_of(before)}, {"spec": spec_of(after)}, SCHEMA)
    assert not intersection(changes.modified, others)


def unordered(spec: Json) -> Json:
    keys = {"set": str, "items": lambda item: str(item["name"])}
    return {name: sorted(value, key=keys[name]) if name in keys else value for name, value in spec.items()}


@given(specs, specs)
def test_comparison_covers_the_difference(old: Json, new: Json) -> None:
    before, after = {"spec": old}, {"spec": new}
    changes = compare(before, after, SCHEMA)
    # The order of sets and keyed lists is nobody's.
    assert bool(changes.added or changes.modified or changes.removed) == (unordered(old) != unordered(new))
    assert not intersection(changes.added, changes.removed)
    assert not intersection(changes.added, changes.modified)
    assert not intersection(changes.modified, changes.removed)


@given(specs)
def test_removing_everything_leaves_nothing(spec: Json) -> None:
    fields = with_named_parents(field_set({"spec": spec}, SCHEMA), SCHEMA)
    kept = {key: value for key, value in spec.items() if value == []}
    rest = remove({"spec": copy_json(spec)}, fields, SCHEMA)
    assert rest is MISSING or rest in ({"spec": kept}, {"spec": spec})


trees: st.SearchStrategy[FieldSet] = st.recursive(
    st.just({MEMBER: {}}),
    lambda below: st.dictionaries(st.sampled_from(["f:a", "f:b", 'v:"c"']), below, min_size=1, max_size=3),
    max_leaves=6,
)


@given(trees, trees)
@settings(max_examples=200)
def test_sets_obey_set_algebra(one: FieldSet, other: FieldSet) -> None:
    left, right = set(paths(one)), set(paths(other))
    assert set(paths(union(one, other))) == left | right
    assert set(paths(intersection(one, other))) == left & right
    assert set(paths(difference(one, other))) == left - right
    assert set(paths(from_v1(to_v1(one)))) == left or MEMBER in one
