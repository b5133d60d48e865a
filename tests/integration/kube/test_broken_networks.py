"""Clients on a network that breaks without a word: no end of a connection comes, and no reset."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from addon_framework.api.core import CONFIGMAPS, LEASES
from addon_framework.kube import (
    Client,
    Controller,
    Informer,
    Key,
    LeaderElector,
    Manager,
    Unreachable,
    Watch,
)
from addon_framework.kube.reach import A_WHILE
from addon_framework.testing import eventually
from tests.integration.faults.link import Link

PATIENCE = 3.0
NOTICED = 4 * PATIENCE  # on a busy machine, and far less than the minutes after which a watch ends by itself


@pytest.fixture
async def link(client: Client) -> AsyncIterator[Link]:
    made = Link(urlsplit(client.server).port or 443)
    yield made
    await made.close()


@pytest.fixture
async def far(client: Client, link: Link) -> AsyncIterator[Client]:
    """The same API server, through the link."""
    config = replace(client.config, server=await link.start())
    async with Client(config, patience=PATIENCE) as it:
        yield it


@pytest.fixture
async def cache(far: Client, namespace: str) -> AsyncIterator[Informer[dict[str, object]]]:
    informer: Informer[dict[str, object]] = Informer(far, CONFIGMAPS, namespace=namespace)
    running = asyncio.create_task(informer.run())
    await informer.synced()
    yield informer
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def make(client: Client, name: str, namespace: str, **labels: str) -> None:
    metadata = {"name": name, "namespace": namespace, "labels": labels}
    obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
    await client.create(CONFIGMAPS, obj)


@pytest.mark.parametrize("forgetful", [False, True], ids=["goes on", "has forgotten the connections"])
async def test_a_cache_has_what_happened_meanwhile(
    far: Client,
    client: Client,
    link: Link,
    namespace: str,
    cache: Informer[dict[str, object]],
    forgetful: bool,
) -> None:
    await make(client, "before", namespace)
    await eventually(lambda: Key(namespace, "before") in cache)
    link.silence()
    await make(client, "meanwhile", namespace)
    link.mend(forgetful=forgetful)
    await eventually(lambda: Key(namespace, "meanwhile") in cache, timeout=NOTICED)


class Greeter(Controller):
    """Writes one ConfigMap, however often that fails."""

    name = "greeter"

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.attempts = 0

    def watches(self) -> list[Watch]:
        return [Watch(CONFIGMAPS, namespace=self.namespace, label_selector="greet")]

    async def reconcile(self, key: Key) -> None:
        self.attempts += 1
        await self.client.patch(CONFIGMAPS, key.name, {"data": {"greeting": "hello"}}, key.namespace)


async def test_what_failed_meanwhile_is_done_at_once_when_the_server_answers_again(
    far: Client, client: Client, link: Link, namespace: str
) -> None:
    greeter = Greeter(namespace)
    manager = Manager(far, name="greeter")
    manager.add(greeter)
    running = asyncio.create_task(manager.run())
    try:
        await make(client, "one", namespace, greet="me")
        await eventually(lambda: greeter.attempts > 0)
        link.cut()
        attempts = greeter.attempts
        for _ in range(20):
            greeter.queue.retry(Key(namespace, "one"))  # as after many: the next is in half a minute
        await eventually(lambda: greeter.attempts > attempts)
        await asyncio.sleep(A_WHILE)  # so long it must last
        attempts = greeter.attempts
        link.mend()
        await eventually(lambda: greeter.attempts > attempts, timeout=10)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_request_fails_soon(far: Client, link: Link, namespace: str) -> None:
    await far.list(CONFIGMAPS, namespace)  # so that there is a connection
    link.silence()
    with pytest.raises(Unreachable):
        await asyncio.wait_for(far.list(CONFIGMAPS, namespace), NOTICED)


async def test_a_watch_on_which_nothing_happens_stays(
    client: Client, link: Link, namespace: str, cache: Informer[dict[str, object]]
) -> None:
    before = link.opened
    with pytest.raises(AssertionError):
        await eventually(lambda: link.opened > before, timeout=2 * PATIENCE)
    await make(client, "at-last", namespace)
    await eventually(lambda: Key(namespace, "at-last") in cache)
    assert link.opened == before


async def test_a_leader_that_is_cut_off_stops_before_another_begins(
    far: Client, client: Client, link: Link, namespace: str
) -> None:
    """Its last answer came late, then one attempt was refused, and the last one was never answered."""
    at_work: list[str] = []
    at_once: list[list[str]] = []

    def contender(name: str, client: Client, duration: float) -> asyncio.Task[None]:
        async def work() -> None:
            at_work.append(name)
            at_once.append(list(at_work))
            try:
                await asyncio.Event().wait()
            finally:
                at_work.remove(name)

        elector = LeaderElector(client, namespace, "boss", identity=name, duration=duration)
        return asyncio.create_task(elector.run(work))

    async def version() -> str:
        return str((await client.get(LEASES, "boss", namespace))["metadata"]["resourceVersion"])

    async def is_renewed() -> bool:
        return await version() != before

    answers: list[str] = []
    far.on_date = answers.append
    first = contender("first", far, 3.0)
    await eventually(lambda: at_work == ["first"])
    link.slow(0.2)  # of the second that its attempts have, each with two requests
    before = await version()
    await eventually(is_renewed)
    second = contender("second", client, 0.3)  # looks often
    try:
        before = await version()
        await eventually(is_renewed)
        answered = len(answers)
        await eventually(lambda: len(answers) > answered)
        link.cut()
        await eventually(lambda: link.refused > 0)
        link.silence()
        await eventually(lambda: "second" in at_work)
    finally:
        for task in (first, second):
            task.cancel()
        await asyncio.gather(first, second, return_exceptions=True)
    # On a busy machine either may have to begin again.
    assert [names for names in at_once if len(names) > 1] == []
