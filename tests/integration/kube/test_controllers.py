"""Informers, controllers and leader election against an API server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from addon_framework.api.core import CONFIGMAPS, LEASES
from addon_framework.api.meta import Json
from addon_framework.kube import (
    AlreadyExists,
    Client,
    Conflict,
    Controller,
    Gone,
    Informer,
    Key,
    LeaderElector,
    Manager,
    NotFound,
    Watch,
)
from addon_framework.testing import eventually


def config_map(name: str, namespace: str, **data: str) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": "kube-test"}},
        "data": data,
    }


@asynccontextmanager
async def running(informer: Informer[Json]) -> AsyncIterator[Informer[Json]]:
    task = asyncio.create_task(informer.run())
    try:
        await informer.synced()
        yield informer
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_errors_carry_the_servers_reason(client: Client, namespace: str) -> None:
    with pytest.raises(NotFound, match="not found"):
        await client.get(CONFIGMAPS, "none", namespace)
    created = await client.create(CONFIGMAPS, config_map("a", namespace))
    with pytest.raises(AlreadyExists):
        await client.create(CONFIGMAPS, config_map("a", namespace))
    await client.update(CONFIGMAPS, {**created, "data": {"x": "1"}})
    with pytest.raises(Conflict):
        await client.update(CONFIGMAPS, {**created, "data": {"x": "2"}})


async def test_lists_follow_every_page(
    client: Client, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("addon_framework.kube.client.PAGE_SIZE", 3)
    names = {f"page-{i}" for i in range(8)}
    await asyncio.gather(*(client.create(CONFIGMAPS, config_map(name, namespace)) for name in names))
    listed = await client.list(CONFIGMAPS, namespace, label_selector="app=kube-test")
    assert {item["metadata"]["name"] for item in listed["items"]} == names
    assert "continue" not in listed["metadata"]


async def test_an_informer_takes_a_list_page_by_page(
    client: Client, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("addon_framework.kube.client.PAGE_SIZE", 3)
    names = {f"page-{i}" for i in range(8)}
    await asyncio.gather(*(client.create(CONFIGMAPS, config_map(name, namespace)) for name in names))
    informer: Informer[Json] = Informer(
        client, CONFIGMAPS, namespace=namespace, label_selector="app=kube-test"
    )
    async with running(informer):
        assert {key.name for key in informer.keys_in_namespace(namespace)} == names
    for gone in ("page-0", "page-7"):
        await client.delete(CONFIGMAPS, gone, namespace)
    await client.create(CONFIGMAPS, config_map("new", namespace))
    informer._version = ""  # as after a history that is gone
    informer._synced.clear()
    async with running(informer):
        found = {key.name for key in informer.keys_in_namespace(namespace)}
        assert found == names - {"page-0", "page-7"} | {"new"}


async def test_an_informer_whose_snapshot_expires_between_pages_takes_all_at_once(
    client: Client, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("addon_framework.kube.client.PAGE_SIZE", 3)
    await asyncio.gather(*(client.create(CONFIGMAPS, config_map(f"p{i}", namespace)) for i in range(8)))
    send, sent = client.send, list[str]()

    async def expired(method: str, path: str, *, params: Any = None, **others: Any) -> Json:
        if "continue" in (params or {}):
            sent.append("continue")
            raise Gone(410, "Expired", "the provided continue parameter is too old")
        return await send(method, path, params=params, **others)

    monkeypatch.setattr(client, "send", expired)
    async with running(Informer(client, CONFIGMAPS, namespace=namespace)) as informer:
        assert {f"p{i}" for i in range(8)} <= {key.name for key in informer.keys_in_namespace(namespace)}
    assert sent == ["continue"]
    listed = await client.list(CONFIGMAPS, namespace, label_selector="app=kube-test")
    assert len(listed["items"]) == 8


async def test_an_informer_follows_additions_changes_and_removals(client: Client, namespace: str) -> None:
    await client.create(CONFIGMAPS, config_map("before", namespace))
    informer: Informer[Json] = Informer(
        client, CONFIGMAPS, namespace=namespace, label_selector="app=kube-test"
    )
    informer.add_index("colour", lambda obj: [(obj.get("data") or {}).get("colour", "")])
    seen: list[str] = []
    informer.on_event(lambda old, new: seen.append("+" if old is None else "-" if new is None else "~"))
    async with running(informer):
        assert Key(namespace, "before") in informer
        await client.create(CONFIGMAPS, config_map("after", namespace, colour="red"))
        await eventually(lambda: len(informer.by_index("colour", "red")) == 1)
        await client.patch(CONFIGMAPS, "after", {"data": {"colour": "blue"}}, namespace)
        await eventually(lambda: len(informer.by_index("colour", "blue")) == 1)
        assert informer.by_index("colour", "red") == []
        await client.delete(CONFIGMAPS, "after", namespace)
        await eventually(lambda: Key(namespace, "after") not in informer)
        assert informer.by_index("colour", "blue") == []
    assert seen[-3:] == ["+", "~", "-"]


async def test_selectors_move_objects_in_and_out_of_an_informer(client: Client, namespace: str) -> None:
    informer: Informer[Json] = Informer(client, CONFIGMAPS, namespace=namespace, label_selector="on=yes")
    async with running(informer):
        await client.create(CONFIGMAPS, config_map("a", namespace))
        await client.patch(CONFIGMAPS, "a", {"metadata": {"labels": {"on": "yes"}}}, namespace)
        await eventually(lambda: len(informer) == 1)
        await client.patch(CONFIGMAPS, "a", {"metadata": {"labels": {"on": "no"}}}, namespace)
        await eventually(lambda: len(informer) == 0)


class Copier(Controller):
    """Keeps `copy-of-<name>` equal to each source; fails the first time it sees a key."""

    name = "copier"
    workers = 4

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.failed: set[Key] = set()

    def watches(self) -> list[Watch]:
        return [Watch(CONFIGMAPS, namespace=self.namespace, label_selector="app=kube-test")]

    async def reconcile(self, key: Key) -> None:
        source = self.cache(CONFIGMAPS, namespace=self.namespace, label_selector="app=kube-test").get(key)
        if key not in self.failed:
            self.failed.add(key)
            raise RuntimeError("the first time fails")
        if source is None:
            return
        copy = config_map(f"copy-of-{key.name}", key.namespace, **(source.get("data") or {}))
        copy["metadata"].pop("labels")
        await self.client.apply(copy, field_manager="copier")


async def test_a_controller_retries_and_converges(client: Client, namespace: str) -> None:
    manager = Manager(client, name="copier")
    manager.add(Copier(namespace))
    task = asyncio.create_task(manager.run())
    try:
        for i in range(5):
            await client.create(CONFIGMAPS, config_map(f"s{i}", namespace, n=str(i)))

        async def copied() -> bool:
            items = (await client.list(CONFIGMAPS, namespace))["items"]
            copies = {o["metadata"]["name"]: o.get("data") for o in items}
            return all(copies.get(f"copy-of-s{i}") == {"n": str(i)} for i in range(5))

        await eventually(copied)
        assert b'controller_runtime_reconcile_total{controller="copier",result="error"} 5.0' in (
            manager.metrics.render()
        )
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_one_leader_at_a_time_and_the_next_takes_over(client: Client, namespace: str) -> None:
    leading: list[str] = []

    def contender(name: str) -> asyncio.Task[None]:
        async def work() -> None:
            leading.append(name)
            try:
                await asyncio.Event().wait()
            finally:
                leading.remove(name)

        elector = LeaderElector(client, namespace, "boss", identity=name, duration=3)
        return asyncio.create_task(elector.run(work))

    first = contender("first")
    await eventually(lambda: leading == ["first"])
    second = contender("second")
    lease = await client.get(LEASES, "boss", namespace)
    assert lease["spec"]["holderIdentity"] == "first"
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await eventually(lambda: leading == ["second"])
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    assert leading == []


async def test_losing_the_lease_cancels_the_work(client: Client, namespace: str) -> None:
    started, stopped = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    task = asyncio.create_task(LeaderElector(client, namespace, "boss", duration=1.5).run(work))
    async with asyncio.timeout(20):
        await started.wait()
        # A thief that ignores the protocol, and keeps renewing.
        while not stopped.is_set():
            await client.patch(LEASES, "boss", {"spec": {"holderIdentity": "thief"}}, namespace)
            await asyncio.wait([asyncio.ensure_future(stopped.wait())], timeout=0.1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


class Watcher(Controller):
    """Counts how often it has looked at each key; asks to look again in an hour."""

    name = "watcher"

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.looks: list[str] = []

    def watches(self) -> list[Watch]:
        return [Watch(CONFIGMAPS, namespace=self.namespace, label_selector="app=kube-test")]

    async def reconcile(self, key: Key) -> float | None:
        found = self.cache(CONFIGMAPS, namespace=self.namespace, label_selector="app=kube-test").get(key)
        self.looks.append(key.name if found is not None else f"no {key.name}")
        return 3600.0


async def test_who_leads_again_looks_at_everything_again(client: Client, namespace: str) -> None:
    """What it was to look at later is lost with the lease, and others have worked meanwhile."""
    manager = Manager(client, name="watcher", lease_namespace=namespace, lease_duration=1.5)
    watcher = Watcher(namespace)
    manager.add(watcher)
    await client.create(CONFIGMAPS, config_map("seen", namespace))
    await client.create(CONFIGMAPS, config_map("goes", namespace))
    task = asyncio.create_task(manager.run())
    try:
        await eventually(lambda: sorted(watcher.looks) == ["goes", "seen"])
        thief = {"spec": {"holderIdentity": "thief", "leaseDurationSeconds": 3600}}

        async def lost() -> bool:
            await client.patch(LEASES, "watcher", thief, namespace)
            return (
                manager.informer(CONFIGMAPS, namespace=namespace, label_selector="app=kube-test").is_synced
                is False
            )

        await eventually(lost)
        await client.delete(CONFIGMAPS, "goes", namespace)
        watcher.looks.clear()
        await client.patch(LEASES, "watcher", {"spec": {"holderIdentity": ""}}, namespace)
        await eventually(lambda: sorted(set(watcher.looks)) == ["no goes", "seen"])
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
