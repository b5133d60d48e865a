"""Objects are packed into works below the limit, and stay where they are."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from addon_framework.hub.addons.packing import TooLarge, identity, pack


def config_map(name: str, size: int = 10) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"x": "y" * size}}


def test_all_in_one_work_in_the_order_rendered() -> None:
    objects = [config_map("b"), config_map("a")]
    assert pack(objects, {}) == {0: objects}


def test_nothing_to_ship_needs_no_work() -> None:
    assert pack([], {0: [identity(config_map("a"))]}) == {}


def test_an_object_stays_in_the_work_that_has_it() -> None:
    objects = [config_map("a"), config_map("b"), config_map("new")]
    works = pack(objects, {0: [identity(objects[0])], 3: [identity(objects[1])]})
    assert works[3] == [objects[1]]
    assert objects[0] in works[0]


def test_an_object_that_outgrew_its_work_moves() -> None:
    small, grown = config_map("a", 300), config_map("b", 400)
    works = pack([small, grown], {0: [identity(small), identity(grown)]}, limit=600)
    assert works == {0: [small], 1: [grown]}


def test_one_object_too_large_is_named() -> None:
    with pytest.raises(TooLarge, match=r"ConfigMap big has \d+ bytes"):
        pack([config_map("big", 1000)], {}, limit=500)


sizes = st.lists(st.integers(0, 400), max_size=12)


@given(sizes, sizes)
def test_every_object_once_no_work_too_full_and_a_second_packing_moves_nothing(
    first: list[int], second: list[int]
) -> None:
    def objects(of: list[int]) -> list[dict[str, Any]]:
        return [config_map(f"c{i}", size) for i, size in enumerate(of)]

    works = pack(objects(first), {}, limit=600)
    homes = {index: [identity(o) for o in inside] for index, inside in works.items()}
    assert pack(objects(first), homes, limit=600) == works
    changed = pack(objects(second), homes, limit=600)
    shipped = [o for inside in changed.values() for o in inside]
    assert sorted(map(identity, shipped)) == sorted(map(identity, objects(second)))
    for inside in changed.values():
        assert sum(len(orjson.dumps(o)) for o in inside) <= 600
