"""What the work agent believes is on its cluster, where watches break between a write and its event."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable

import pytest

from addon_framework.api.core import CONFIGMAPS
from addon_framework.api.meta import Json
from addon_framework.kube import Client, Informer
from addon_framework.spoke.work.objects import SpokeObjects
from addon_framework.spoke.work.targets import Target
from addon_framework.testing import eventually
from tests.integration.spoke.objects import config_map


class Scene:
    """One ConfigMap that somebody cares for, and its watch, which a test may break."""

    def __init__(self, client: Client, namespace: str) -> None:
        self.client, self.target = client, Target(CONFIGMAPS, namespace, "some")
        self.objects = SpokeObjects(client)
        self.told: list[Hashable] = []
        self.objects.listen(self.told.append)
        self.objects.watch("whoever", {self.target})

    async def live(self) -> Json | None:
        return await self.objects.live(self.target)

    async def deaf(self) -> None:
        """Nothing more is heard of the cluster."""
        task = self.objects._pool._tasks[self.target.scope]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    def listens(self, *, remembers: bool) -> None:
        """Again; the server remembers what there was meanwhile, or tells only what there is."""
        informer: Informer[Json] | None = self.objects._pool.get(self.target.scope)
        assert informer is not None
        if not remembers:
            informer._version = ""
        self.objects._pool._tasks[self.target.scope] = asyncio.create_task(informer.run())

    async def write(self, value: str) -> Json:
        name, namespace = self.target.name, self.target.namespace
        made = await self.client.apply(config_map(name, namespace, v=value), field_manager="test")
        self.objects.wrote(self.target, made)
        return made

    async def delete(self) -> None:
        await self.client.delete(CONFIGMAPS, self.target.name, self.target.namespace)


@pytest.fixture
async def scene(client: Client, namespace: str) -> AsyncIterator[Scene]:
    it = Scene(client, namespace)
    assert await it.live() is None
    yield it
    await it.objects.close()


async def test_our_own_write_counts_before_the_watch_shows_it(scene: Scene) -> None:
    await scene.deaf()
    made = await scene.write("1")
    assert await scene.live() == made
    await scene.client.patch(CONFIGMAPS, "some", {"data": {"v": "2"}}, scene.target.namespace)
    scene.listens(remembers=True)

    async def is_seen() -> bool:
        live = await scene.live()
        return live is not None and live["data"]["v"] == "2"

    await eventually(is_seen)


@pytest.mark.parametrize("remembers", [True, False], ids=["the watch goes on", "all is listed anew"])
async def test_what_was_deleted_before_the_watch_showed_it_is_gone_and_told(
    scene: Scene, remembers: bool
) -> None:
    await scene.deaf()
    await scene.write("1")
    await scene.delete()
    scene.told.clear()
    scene.listens(remembers=remembers)
    await eventually(lambda: scene.told)

    async def is_gone() -> bool:
        return await scene.live() is None

    await eventually(is_gone)


async def test_an_answer_that_comes_after_the_news_of_the_deletion_brings_nothing_back(scene: Scene) -> None:
    name, namespace = scene.target.name, scene.target.namespace
    made = await scene.client.apply(config_map(name, namespace, v="1"), field_manager="test")
    await eventually(lambda: scene.told)
    scene.told.clear()
    await scene.delete()
    await eventually(lambda: scene.told)
    scene.objects.wrote(scene.target, made)
    assert await scene.live() is None
