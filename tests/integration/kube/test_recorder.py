"""Events of the embedded fleet's components: equal ones are counted, what is too much is not said."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from addon_framework.api.core import CONFIGMAPS, EVENTS
from addon_framework.api.meta import Json
from addon_framework.kube import Client
from addon_framework.local.events import Recorder
from addon_framework.testing import Clock, eventually


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def recorder(client: Client, clock: Clock) -> AsyncIterator[Recorder]:
    made = Recorder(client, "tests", clock=clock)
    running = asyncio.create_task(made.run())
    yield made
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@pytest.fixture
async def about(client: Client, namespace: str) -> Json:
    """Some object."""
    obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": namespace}}
    return await client.create(CONFIGMAPS, obj)


async def told(client: Client, about: Json, last: str) -> list[tuple[str, int]]:
    """Messages and counts, once the last one is there."""

    async def there() -> list[tuple[str, int]] | None:
        events = (await client.list(EVENTS, about["metadata"]["namespace"]))["items"]
        found = [(each["message"], each["count"]) for each in events]
        return sorted(found) if last in [message for message, _ in found] else None

    found: list[tuple[str, int]] = await eventually(there)
    return found


async def test_44_equal_events_are_counted(client: Client, recorder: Recorder, about: Json) -> None:
    for message in ("again", "again", "other", "again", "end"):
        recorder.event(about, "Warning", "Failed", message)
    assert await told(client, about, "end") == [("again", 3), ("end", 1), ("other", 1)]
    (first, *_) = (await client.list(EVENTS, about["metadata"]["namespace"]))["items"]
    await client.delete(EVENTS, first["metadata"]["name"], about["metadata"]["namespace"])
    recorder.event(about, "Warning", "Failed", first["message"])  # an hour later, say
    assert (first["message"], first["count"] + 1) in await told(client, about, first["message"])


async def test_44_events_that_differ_in_words_become_one(
    client: Client, recorder: Recorder, about: Json, clock: Clock
) -> None:
    for number in range(12):
        recorder.event(about, "Normal", "Created", f"pod {number}")
    recorder.event(about, "Normal", "Other", "end")
    found = await told(client, about, "end")
    assert found == [
        ("(combined from similar events): pod 11", 3),
        ("end", 1),
        *((f"pod {number}", 1) for number in range(9)),
    ]
    clock.now += 601
    recorder.event(about, "Normal", "Created", "pod 12")
    assert ("pod 12", 1) in await told(client, about, "pod 12")


async def test_44_one_object_does_not_fill_the_store(
    client: Client, recorder: Recorder, about: Json, clock: Clock
) -> None:
    for _ in range(40):
        recorder.event(about, "Normal", "Synced", "again")
    recorder.named("others").event(about, "Normal", "Other", "end")
    assert await told(client, about, "end") == [("again", 25), ("end", 1)]
    clock.now += 300
    for message in ("once more", "and more"):
        recorder.event(about, "Normal", "Synced", message)
    recorder.named("others").event(about, "Normal", "Other", "finally")
    assert ("once more", 1) in await told(client, about, "finally")
    assert "and more" not in [message for message, _ in await told(client, about, "finally")]
