"""An object of several works, while our copy of it is behind."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest

from addon_framework.api.core import CONFIGMAPS
from addon_framework.api.meta import Json
from addon_framework.kube import Client
from addon_framework.spoke.work import bookkeeping, ownership
from addon_framework.spoke.work.apply import Applier, Wish
from addon_framework.spoke.work.objects import SpokeObjects
from addon_framework.spoke.work.targets import Options, Target
from tests.integration.spoke.objects import config_map


class Behind(SpokeObjects):
    """Sees an object as it was at some time."""

    seen: Json | None = None

    async def live(self, target: Target) -> Json | None:
        return self.seen


class Scene:
    """Two works' books, and an object that both may name."""

    def __init__(self, client: Client, namespace: str) -> None:
        self.client, self.namespace = client, namespace
        self.objects = Behind(client)
        self.applier = Applier(self.objects)
        self.target = Target(CONFIGMAPS, namespace, "shared")
        self.books: dict[str, Json] = {}

    async def book(self, name: str) -> None:
        hash_ = secrets.token_hex(8)
        work: Json = {"metadata": {"name": name}}
        full_name = bookkeeping.applied_name(hash_, name)
        self.books[name] = await bookkeeping.create(self.client, full_name, work, hash_, "agent")

    async def apply(self, book: str, **data: str) -> Json:
        owner = self.books[book]
        wish = Wish(
            self.target,
            config_map("shared", self.namespace, **data),
            Options(),
            owner["metadata"]["uid"],
            ownership.reference_to(owner),
            False,
        )
        made = await self.applier.apply(wish)
        assert made is not None
        return made

    async def release(self, book: str) -> None:
        entry = bookkeeping.entry_of(self.target, None)
        await ownership.let_go(self.client, entry, self.books[book]["metadata"]["uid"])

    async def owners(self) -> list[str]:
        names = {book["metadata"]["uid"]: name for name, book in self.books.items()}
        obj = await self.client.get(CONFIGMAPS, "shared", self.namespace)
        return sorted(names[reference["uid"]] for reference in ownership.references(obj))


@pytest.fixture
async def scene(client: Client, namespace: str, crds_installed: None) -> AsyncIterator[Scene]:
    it = Scene(client, namespace)
    for name in ("one", "other"):
        await it.book(name)
    yield it
    await it.applier.close()
    await it.objects.close()
    for book in it.books.values():
        gone: Any = {"metadata": {"finalizers": None}}
        await client.patch(bookkeeping.RESOURCE, book["metadata"]["name"], gone)
        await client.delete(bookkeeping.RESOURCE, book["metadata"]["name"])


async def test_a_work_that_has_let_go_does_not_come_back_with_what_another_writes(scene: Scene) -> None:
    scene.objects.seen = await scene.apply("one", v="1")
    scene.objects.seen = await scene.apply("other", v="1")
    assert await scene.owners() == ["one", "other"]
    await scene.release("one")  # of which `seen` knows nothing
    made = await scene.apply("other", v="2")
    assert made["data"] == {"v": "2"}
    assert await scene.owners() == ["other"]


async def test_a_work_that_has_come_stays_whatever_another_writes(scene: Scene) -> None:
    scene.objects.seen = before = await scene.apply("one", v="1")
    await scene.apply("other", v="1")
    scene.objects.seen = before
    await scene.apply("one", v="2")
    assert await scene.owners() == ["one", "other"]


async def test_an_object_that_is_gone_is_made_again(scene: Scene) -> None:
    scene.objects.seen = await scene.apply("one", v="1")
    await scene.client.delete(CONFIGMAPS, "shared", scene.namespace)
    await scene.apply("one", v="2")
    assert await scene.owners() == ["one"]
