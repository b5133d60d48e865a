"""Clients on a network that breaks without a word: no end of a connection comes, and no reset."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from addon_framework.api.core import CONFIGMAPS
from addon_framework.kube import Client, Informer, Key, Unreachable
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


async def make(client: Client, name: str, namespace: str) -> None:
    obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}}
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
