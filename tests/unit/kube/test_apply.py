"""Writing only what changed."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from addon_framework.kube import covers, merge_patch

names = st.sampled_from("abcd")
leaves = st.one_of(st.integers(-3, 3), st.booleans(), st.text(max_size=3))
values = st.recursive(
    leaves,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(names, inner, max_size=3)),
    max_leaves=8,
)
objects = st.dictionaries(names, values, max_size=4)


def rfc7386(target: Any, patch: Any) -> Any:
    """The algorithm of RFC 7386, section 2, as printed there."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = rfc7386(result.get(name), value)
    return result


@given(objects, objects)
def test_a_merge_patch_turns_the_old_object_into_the_new_one(
    old: dict[str, Any], new: dict[str, Any]
) -> None:
    assert rfc7386(old, merge_patch(old, new)) == new


@given(objects)
def test_equal_objects_need_no_patch(obj: dict[str, Any]) -> None:
    assert merge_patch(obj, obj) == {}


@given(objects, objects)
def test_a_live_object_covers_what_was_merged_into_it(live: dict[str, Any], desired: dict[str, Any]) -> None:
    assert covers(rfc7386(live, desired), desired)


def test_defaults_that_a_server_adds_are_no_difference() -> None:
    live = {"spec": {"ports": [{"port": 80, "protocol": "TCP"}], "clusterIP": "10.0.0.1"}}
    assert covers(live, {"spec": {"ports": [{"port": 80}]}})


def test_a_changed_missing_or_extra_item_is_a_difference() -> None:
    live = {"spec": {"ports": [{"port": 80}]}}
    assert not covers(live, {"spec": {"ports": [{"port": 81}]}})
    assert not covers(live, {"spec": {"ports": []}})
    assert not covers(live, {"spec": {"replicas": 1}})
    assert not covers({"on": 1}, {"on": True})
