"""Watches: which events, in which order, from where and until when."""

from __future__ import annotations

import asyncio

from addon_framework.api.meta import Json
from tests.conformance.api import Api, take
from tests.conformance.objects import config_map, config_maps


async def version(api: Api, namespace: str) -> str:
    """Of now."""
    listed = (await api.get(config_maps(namespace))).ok()
    return str(listed["metadata"]["resourceVersion"])


def brief(events: list[tuple[str, Json]]) -> list[tuple[str, str, str | None]]:
    return [(kind, o["metadata"]["name"], (o.get("data") or {}).get("n")) for kind, o in events]


async def test_08_events_come_in_order(api: Api, namespace: str) -> None:
    path = config_maps(namespace)
    async with api.watch(path, resourceVersion=await version(api, namespace)) as events:
        await api.post(path, config_map("a", {"n": "1"}))
        await api.patch(config_maps(namespace, "a"), {"data": {"n": "2"}})
        await api.delete(config_maps(namespace, "a"))
        await api.post(path, config_map("a", {"n": "3"}))
        seen = await take(events, 4)
    assert brief(seen) == [
        ("ADDED", "a", "1"), ("MODIFIED", "a", "2"), ("DELETED", "a", "2"), ("ADDED", "a", "3"),
    ]  # fmt: skip
    versions = [int(obj["metadata"]["resourceVersion"]) for _, obj in seen]
    assert versions == sorted(set(versions))


async def test_08_what_enters_or_leaves_a_selection(api: Api, namespace: str) -> None:
    path, one = config_maps(namespace), config_maps(namespace, "a")
    start = await version(api, namespace)
    async with api.watch(path, resourceVersion=start, labelSelector="l=x") as events:
        await api.post(path, config_map("a", {"n": "1"}, labels={"l": "y"}))
        await api.patch(one, {"metadata": {"labels": {"l": "x"}}})
        await api.patch(one, {"data": {"n": "2"}})
        await api.patch(one, {"metadata": {"labels": {"l": "y"}}, "data": {"n": "3"}})
        await api.patch(one, {"metadata": {"labels": {"l": "x"}}})
        await api.delete(one)
        seen = await take(events, 5)
    assert brief(seen) == [
        ("ADDED", "a", "1"), ("MODIFIED", "a", "2"), ("DELETED", "a", "2"), ("ADDED", "a", "3"),
        ("DELETED", "a", "3"),
    ]  # fmt: skip


async def test_08_one_object(api: Api, namespace: str) -> None:
    path, start = config_maps(namespace), await version(api, namespace)
    async with api.watch(path, resourceVersion=start, fieldSelector="metadata.name=b") as events:
        await api.post(path, config_map("a"))
        await api.post(path, config_map("b"))
        assert [obj["metadata"]["name"] for _, obj in await take(events, 1)] == ["b"]


async def test_08_without_a_version_the_present_comes_first(api: Api, namespace: str) -> None:
    path = config_maps(namespace)
    for name in "ab":
        await api.post(path, config_map(name, labels={"l": "x"}))
    async with api.watch(path, labelSelector="l=x") as events:
        assert sorted(brief(await take(events, 2))) == [("ADDED", "a", None), ("ADDED", "b", None)]
        await api.post(path, config_map("c", labels={"l": "x"}))
        assert brief(await take(events, 1)) == [("ADDED", "c", None)]


async def test_09_a_timeout_ends_the_stream(api: Api, namespace: str) -> None:
    query = {"resourceVersion": await version(api, namespace), "timeoutSeconds": 1}
    async with asyncio.timeout(60), api.watch(config_maps(namespace), **query) as events:
        assert [event async for event in events if event["type"] != "BOOKMARK"] == []


async def test_09_a_bookmark_brings_the_version_along(api: Api, namespace: str) -> None:
    start = await version(api, namespace)
    query = {"resourceVersion": start, "timeoutSeconds": 5, "allowWatchBookmarks": "true"}
    async with asyncio.timeout(60), api.watch(config_maps(namespace), **query) as events:
        made = (await api.post(config_maps(namespace), config_map("a"))).ok(201)
        found = [event["object"] async for event in events if event["type"] == "BOOKMARK"]
    assert found
    assert (found[-1]["kind"], found[-1]["apiVersion"]) == ("ConfigMap", "v1")
    assert int(found[-1]["metadata"]["resourceVersion"]) >= int(made["metadata"]["resourceVersion"])
    assert "data" not in found[-1]


async def test_11_list_by_watch(api: Api, namespace: str) -> None:
    path = config_maps(namespace)
    for name in "ab":
        await api.post(path, config_map(name, labels={"l": "x"}))
    query = {
        "sendInitialEvents": "true",
        "resourceVersionMatch": "NotOlderThan",
        "allowWatchBookmarks": "true",
        "labelSelector": "l=x",
    }
    async with api.watch(path, **query) as events:
        *initial, (kind, end) = await take(events, 3)
        assert sorted(brief(initial)) == [("ADDED", "a", None), ("ADDED", "b", None)]
        assert (kind, end["kind"]) == ("BOOKMARK", "ConfigMap")
        assert end["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
        await api.post(path, config_map("c", labels={"l": "x"}))
        ((kind, obj),) = await take(events, 1)
        assert (kind, obj["metadata"]["name"]) == ("ADDED", "c")
        assert int(obj["metadata"]["resourceVersion"]) > int(end["metadata"]["resourceVersion"])


async def test_11_list_by_watch_wants_a_match(api: Api, namespace: str) -> None:
    answer = await api.get(config_maps(namespace), watch="true", sendInitialEvents="true")
    answer.is_status(422, "Invalid")
    assert answer.causes == {"resourceVersionMatch": "FieldValueForbidden"}


async def test_12_a_reader_that_does_not_read_holds_nobody_up(api: Api, namespace: str) -> None:
    path = config_maps(namespace)
    async with api.watch(path, resourceVersion=await version(api, namespace)):
        await api.post(path, config_map("big"))
        async with asyncio.timeout(60):
            for number in range(60):
                data = {"n": str(number), "fill": "x" * 200_000}
                (await api.patch(config_maps(namespace, "big"), {"data": data})).ok()


async def test_32_watches_of_tables_and_metadata(api: Api, namespace: str) -> None:
    path, start = config_maps(namespace), await version(api, namespace)
    for form, check in (("Table", "rows"), ("PartialObjectMetadata", "metadata")):
        accept = f"application/json;as={form};g=meta.k8s.io;v=v1"
        async with api.watch(path, accept=accept, resourceVersion=start) as events:
            await api.post(path, config_map(form.lower()))
            ((_, obj),) = await take(events, 1)
            assert obj["kind"] == form
            assert check in obj
