"""The store's history, over restarts."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from addon_framework.api.meta import Json
from addon_framework.local.apiserver.store import Store, TooOldError, Watcher

Steps = list[tuple[str, str]]
steps = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["put", "remove"])), max_size=20)


def seen(watcher: Watcher) -> list[tuple[int, str, str, Json, Json | None]]:
    return [(e.version, e.type, e.key[1], e.obj, e.old) for e in watcher.events]


def write(store: Store, done: Steps) -> None:
    for number, (name, verb) in enumerate(done):
        key = ("n", name)
        if verb == "put":
            store.put("things", key, {"metadata": {"name": name, "uid": name}, "n": number})
        elif store.get("things", key):
            store.remove("things", key)


@given(steps, steps, st.integers(1, 30))
@settings(max_examples=50, deadline=None)
def test_events_are_the_same_after_a_restart(
    tmp_path_factory: pytest.TempPathFactory,
    first: list[tuple[str, str]],
    then: list[tuple[str, str]],
    since: int,
) -> None:
    path = tmp_path_factory.mktemp("store") / "store.db"
    store = Store(path)
    write(store, first)
    store.close()
    store = Store(path)
    write(store, then)
    since = min(since, store.version)
    before = seen(store.watch("things", since))
    store.close()
    assert [version for version, *_ in before] == list(range(since + 1, store.version + 1))
    assert seen(Store(path).watch("things", since)) == before


def test_the_history_is_bounded(tmp_path: Path) -> None:
    store = Store(tmp_path / "store.db", history=10)
    write(store, [("a", "put")] * 30)
    store.close()
    store = Store(tmp_path / "store.db", history=10)
    assert len(seen(store.watch("things", store.version - 10))) == 10
    with pytest.raises(TooOldError):
        store.watch("things", store.version - 11)


def test_a_list_is_of_one_namespace_or_of_all_in_order(tmp_path: Path) -> None:
    store = Store(tmp_path / "store.db")
    for namespace, name in (("b", "x"), ("a", "y"), ("a", "x"), ("", "z")):
        metadata = {"name": name, "namespace": namespace, "uid": f"{namespace}/{name}"}
        store.put("things", (namespace, name), {"metadata": metadata})
    store.remove("things", ("b", "x"))
    for again in (store, Store(tmp_path / "store.db")):
        assert [obj["metadata"]["uid"] for obj in again.list("things")] == ["/z", "a/x", "a/y"]
        assert [obj["metadata"]["uid"] for obj in again.list("things", "a")] == ["a/x", "a/y"]
        assert again.list("things", "b") == again.list("others") == []
        assert again.count("things") == 3
        again.close()
