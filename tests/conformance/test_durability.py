"""What was acknowledged survives kill -9, and readers go on, or are told that they must begin again."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing

import aiohttp
import pytest

from addon_framework.api.core import CONFIGMAPS
from addon_framework.api.meta import Json
from addon_framework.kube import Client, Informer, Key
from addon_framework.kube.config import load_kubeconfig
from addon_framework.testing import EmbeddedApiServer, eventually
from addon_framework.testing.servers import ApiServer, EnvtestApiServer
from tests.conformance.api import Api, take
from tests.conformance.objects import config_map, config_maps


async def write_until_it_fails(api: Api, writer: int, versions: dict[str, int]) -> None:
    for number in range(100_000):
        name = f"w{writer}-{number}"
        try:
            made = await api.post(config_maps("default"), config_map(name, {"k": "v"}))
        except (aiohttp.ClientError, OSError, TimeoutError):
            return
        versions[name] = int(made.ok(201)["metadata"]["resourceVersion"])


async def test_56_no_acknowledged_write_is_lost(own_server: ApiServer) -> None:
    for _ in range(3):
        api = Api(load_kubeconfig(own_server.kubeconfig))
        versions: dict[str, int] = {}
        writers = [asyncio.create_task(write_until_it_fails(api, n, versions)) for n in range(8)]

        async def under_load(versions: dict[str, int] = versions) -> bool:
            return len(versions) > 100

        await eventually(under_load)
        await asyncio.to_thread(own_server.kill)
        await asyncio.gather(*writers)
        await api.close()
        await asyncio.to_thread(own_server.start)
        api = Api(load_kubeconfig(own_server.kubeconfig))
        listed = (await api.get(config_maps("default"))).ok()
        found = {o["metadata"]["name"]: int(o["metadata"]["resourceVersion"]) for o in listed["items"]}
        assert versions.items() <= found.items()
        after = (await api.post(config_maps("default"), config_map("after"))).ok(201)
        assert int(after["metadata"]["resourceVersion"]) > max(found.values())
        (await api.delete(config_maps("default"))).ok()
        await api.close()


@pytest.fixture
async def own_api(own_server: ApiServer) -> AsyncIterator[Api]:
    api = Api(load_kubeconfig(own_server.kubeconfig))
    yield api
    await api.close()


async def lose_history(server: ApiServer, api: Api) -> None:
    """All that was before this moment, over a restart."""
    if isinstance(server, EnvtestApiServer):
        now = (await api.get(config_maps("default"))).ok()["metadata"]["resourceVersion"]
        url = f"http://127.0.0.1:{server.etcd_port}/v3/kv/compaction"
        async with aiohttp.ClientSession() as session, session.post(url, json={"revision": now}) as answer:
            assert answer.status == 200, await answer.text()
    await asyncio.to_thread(server.stop)
    if isinstance(server, EmbeddedApiServer):
        with closing(sqlite3.connect(server.directory / "store.db", isolation_level=None)) as database:
            database.execute("DELETE FROM history")
    await asyncio.to_thread(server.start)


async def test_10_watches_go_on_after_a_restart(own_server: ApiServer, own_api: Api) -> None:
    """A real one may also say 410: its memory of events begins with its process."""
    path, one = config_maps("default"), config_maps("default", "a")
    made = (await own_api.post(path, config_map("a", {"n": "1"}, labels={"l": "x"}))).ok(201)
    (await own_api.post(path, config_map("b"))).ok(201)
    (await own_api.patch(one, {"data": {"n": "2"}})).ok()
    (await own_api.patch(one, {"metadata": {"labels": {"l": "y"}}})).ok()
    (await own_api.patch(one, {"metadata": {"labels": {"l": "x"}}, "data": {"n": "3"}})).ok()
    last = (await own_api.delete(one)).ok()
    await asyncio.to_thread(own_server.kill)
    await asyncio.to_thread(own_server.start)
    start = made["metadata"]["resourceVersion"]
    async with own_api.watch(path, resourceVersion=start, labelSelector="l=x") as events:
        (await own_api.post(path, config_map("c", {"n": "4"}, labels={"l": "x"}))).ok(201)
        seen = await take(events, 1)
        if gone(seen[0]) and not isinstance(own_server, EmbeddedApiServer):
            return
        seen += await take(events, 4)
    brief = [(kind, obj["metadata"]["name"], obj["data"]["n"]) for kind, obj in seen]
    assert brief == [
        ("MODIFIED", "a", "2"), ("DELETED", "a", "2"), ("ADDED", "a", "3"), ("DELETED", "a", "3"),
        ("ADDED", "c", "4"),
    ]  # fmt: skip
    versions = [int(obj["metadata"]["resourceVersion"]) for _, obj in seen]
    assert versions == sorted(set(versions))
    assert versions[0] > int(start)
    assert last["status"] == "Success"


def gone(event: tuple[str, Json]) -> bool:
    kind, obj = event
    return (kind, obj.get("code"), obj.get("reason")) == ("ERROR", 410, "Expired")


async def test_10_versions_that_the_history_has_lost_are_gone(own_server: ApiServer, own_api: Api) -> None:
    path = config_maps("default")
    for name in "abc":
        made = (await own_api.post(path, config_map(name))).ok(201)
    version = made["metadata"]["resourceVersion"]
    page = (await own_api.get(path, limit=1)).ok()["metadata"]
    (await own_api.post(path, config_map("d"))).ok(201)
    await lose_history(own_server, own_api)
    async with own_api.watch(path, resourceVersion=version) as events:
        assert gone((await take(events, 1))[0])
    exact = await own_api.get(path, resourceVersion=version, resourceVersionMatch="Exact")
    exact.is_status(410, "Expired")
    (await own_api.get(path, limit=1, **{"continue": page["continue"]})).is_status(410, "Expired")
    listed = (await own_api.get(path, resourceVersion=version, resourceVersionMatch="NotOlderThan")).ok()
    assert {"a", "b", "c", "d"} <= {each["metadata"]["name"] for each in listed["items"]}


async def test_56_informers_go_on_after_a_restart(own_server: ApiServer) -> None:
    async with Client.from_kubeconfig(own_server.kubeconfig) as client:
        informer: Informer[Json] = Informer(client, CONFIGMAPS, namespace="default")
        running = asyncio.create_task(informer.run())
        await informer.synced()
        await client.create(CONFIGMAPS, config_map("before", namespace="default"))
        await asyncio.to_thread(own_server.kill)
        await asyncio.to_thread(own_server.start)
        await client.create(CONFIGMAPS, config_map("after", namespace="default"))
        for name in ("before", "after"):
            await eventually(lambda name=name: informer.get(Key("default", name)))
        await client.delete(CONFIGMAPS, "before", "default")
        await eventually(lambda: informer.get(Key("default", "before")) is None)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
