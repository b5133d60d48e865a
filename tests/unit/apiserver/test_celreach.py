"""An expression sees of its variables what it can reach, and its result is that on the whole."""

from __future__ import annotations

from typing import Any

import pytest

from addon_framework.api.cel_engine import engine
from addon_framework.local.apiserver.schemas.celreach import reach, reached

OBJECT: dict[str, Any] = {
    "metadata": {"name": "a", "labels": {"app": "x"}, "managedFields": [{"manager": "m"}]},
    "spec": {
        "replicas": 3,
        "items": [{"name": "one"}, {"name": "two"}],
        "none": None,
        "map": {"k": {"v": 1}},
    },
}
EXPRESSIONS = [
    "object.metadata.name == 'a'",
    "object.metadata.name.startsWith('a')",
    "has(object.metadata.labels) && 'app' in object.metadata.labels",
    "has(object.metadata.labels.app)",
    "has(object.metadata.annotations)",
    "object != null && object.spec.replicas > 2",
    "object.spec.none == null",
    "object.spec.items[1].name == 'two'",
    "object.spec.items.all(each, each.name.size() == 3)",
    "object.spec.items.exists(each, each.name == 'two') && object.spec.items.size() == 2",
    "object.metadata.size() == 3",
    "object.spec.map.all(key, object.spec.map[key].v == 1)",
    "object.spec.map.k == {'v': 1}",
    "object.metadata == object.metadata && object.metadata.managedFields[0].manager == 'm'",
    "[object].all(each, each.metadata.labels.app == 'x')",
    "object['spec'].replicas == 3",
    "{'object.spec': 1}.size() == 1 && has(object.spec)",
    "has(object.spec.items) ? object.spec.items.map(i, i.name)[0] == 'one' : false",
]


@pytest.mark.parametrize("source", EXPRESSIONS)
def test_the_result_is_that_on_the_whole_object(source: str) -> None:
    bare = source.replace("'object.spec'", "''")
    seen = reached(OBJECT, reach(bare).get("object"))
    assert engine.evaluate(source, {"object": seen}) == engine.evaluate(source, {"object": OBJECT})


def test_only_fields_that_are_named_are_seen() -> None:
    found = reach("has(object.spec) && object.metadata.labels['app'] == 'x'")["object"]
    assert reached(OBJECT, found) == {"spec": {}, "metadata": {"labels": {"app": "x"}}}


def test_whoever_hands_on_an_object_sees_all_of_it() -> None:
    for source in ("object", "f(object)", "object == oldObject", "object.size()", "object.?spec"):
        assert reach(source)["object"] is None


def test_a_question_whether_something_is_there_reaches_nothing_in_it() -> None:
    assert reach("oldObject == null || has(oldObject.spec)")["oldObject"] == {"spec": {}}
