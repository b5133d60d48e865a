"""What a cache holds and hands out, without a server."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest

from addon_framework.api.core import CONFIGMAPS
from addon_framework.kube import Client, Informer, Key
from addon_framework.kube.config import ClientConfig
from addon_framework.kube.packed import Packed

Json = dict[str, Any]


def config_map(name: str, value: str) -> Json:
    return {"metadata": {"name": name, "namespace": "ns", "managedFields": []}, "data": {"k": value}}


@pytest.mark.parametrize("packed", [False, True])
def test_holds_finds_and_tells(packed: bool) -> None:
    informer: Informer[Json] = Informer(
        Client(ClientConfig("https://nowhere.invalid")), CONFIGMAPS, packed=packed
    )
    told: list[tuple[Any, Any]] = []
    informer.add_index("value", lambda obj: [obj["data"]["k"]])
    informer.on_event(lambda old, new: told.append((old and old["data"]["k"], new and new["data"]["k"])))
    a, b = Key("ns", "a"), Key("ns", "b")
    informer._store(a, config_map("a", "1"))
    informer._store(b, config_map("b", "1"))
    informer._store(a, config_map("a", "2"))
    assert informer.get(a) == {"metadata": {"name": "a", "namespace": "ns"}, "data": {"k": "2"}}
    assert [obj["metadata"]["name"] for obj in informer.by_index("value", "1")] == ["b"]
    assert sorted(obj["metadata"]["name"] for obj in informer.in_namespace("ns")) == ["a", "b"]
    assert len(informer) == len(informer.items()) == len(list(informer)) == 2
    assert b in informer
    informer._store(b, None)
    assert b not in informer
    assert informer.get(b) is None
    assert informer.by_index("value", "1") == []
    assert told == [(None, "1"), (None, "1"), ("1", "2"), ("1", None)]


def test_packed_objects_take_little() -> None:
    """As the interpreter counts it: a text may keep a buffer that its length does not tell of."""

    def role(number: int) -> Json:
        rules = [{"apiGroups": ["work"], "resources": [f"r{n}" for n in range(30)], "verbs": ["get", "list"]}]
        return {"metadata": {"name": f"c{number}", "uid": f"{number * 7919:032x}"}, "rules": rules}

    keys = [Key("", f"c{number}") for number in range(1000)]
    packed = Packed()
    tracemalloc.start()
    try:
        for number, key in enumerate(keys):
            packed[key] = role(number)
        assert tracemalloc.get_traced_memory()[0] / len(keys) < 300
    finally:
        tracemalloc.stop()


def test_packed_objects_of_several_sorts_come_back_whole_and_small() -> None:
    sorts = "abcd"
    packed = Packed()
    objects = {
        Key("ns", f"{sort}{n}"): {
            "metadata": {"name": f"{sort}{n}"},
            sort * 40: [f"{sort}{m}" for m in range(200)],
        }
        for n in range(50)
        for sort in sorts
    }
    for key, obj in objects.items():
        packed[key] = obj
    assert dict(packed) == objects
    assert sum(map(len, packed._texts.values())) / len(objects) < 150


@pytest.mark.parametrize("size", [10, 3000, 70_000])
def test_packed_objects_are_what_was_put_in(size: int) -> None:
    packed, keys = Packed(), [Key("a", f"o{n}") for n in range(3)]
    objects = [{"metadata": {"name": key.name}, "text": f"{n}äx" * size} for n, key in enumerate(keys)]
    for key, obj in zip(keys, objects, strict=True):
        packed[key] = obj
    assert [packed[key] for key in keys] == objects
    packed[keys[0]] = objects[1]
    del packed[keys[1]]
    assert dict(packed) == {keys[0]: objects[1], keys[2]: objects[2]}
