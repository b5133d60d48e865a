"""Events do not stay: item 44 of what an API server does."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from addon_framework.api.meta import Json
from addon_framework.api.time import now_rfc3339
from addon_framework.local.apiserver.controllers.events import EVENTS, KEEP, EventExpiry
from addon_framework.local.apiserver.store import Store
from addon_framework.testing import Clock

START = datetime(2026, 1, 1, tzinfo=UTC).timestamp()


def event(name: str, at: float, written: float | None = None) -> Json:
    def told(seconds: float) -> str:
        return now_rfc3339(datetime.fromtimestamp(seconds, UTC))

    metadata: Json = {"namespace": "n", "name": name, "uid": name, "creationTimestamp": told(at)}
    if written is not None:
        metadata["managedFields"] = [{"time": told(at)}, {"time": told(written)}]
    return {"metadata": metadata}


def put(store: Store, name: str, at: float, written: float | None = None) -> None:
    store.put(EVENTS, ("n", name), event(name, at, written))


def names(store: Store) -> list[str]:
    return [each["metadata"]["name"] for each in store.list(EVENTS)]


def test_44_an_event_goes_an_hour_after_its_last_write() -> None:
    store, clock = Store(":memory:"), Clock(START)
    expiry = EventExpiry(store, clock)
    assert expiry.expire() is None
    put(store, "once", START)
    put(store, "again", START)
    clock.now += 60
    put(store, "again", START)
    assert expiry.expire() == KEEP - 60
    clock.now = START + KEEP
    assert expiry.expire() == 60
    assert names(store) == ["again"]
    clock.now += 60
    assert expiry.expire() is None
    assert names(store) == []


def test_44_what_is_found_at_a_start_is_as_old_as_it_is() -> None:
    store, clock = Store(":memory:"), Clock(START)
    put(store, "old", START - KEEP)
    put(store, "counted", START - KEEP, written=START - 10)
    put(store, "removed", START - 20)
    expiry = EventExpiry(store, clock)
    store.remove(EVENTS, ("n", "removed"))
    assert expiry.expire() == KEEP - 10
    assert names(store) == ["counted"]


def test_44_many_events_do_not_hold_up_requests() -> None:
    store, clock = Store(":memory:"), Clock(START)
    for number in range(100):
        put(store, f"e{number}", START - KEEP)
    assert EventExpiry(store, clock).expire() == 0
    assert 0 < len(names(store)) < 100


async def test_44_it_waits_for_the_first_event() -> None:
    store, clock = Store(":memory:"), Clock(START)
    task = asyncio.create_task(EventExpiry(store, clock).run())
    await asyncio.sleep(0)
    clock.now -= KEEP
    put(store, "old", START)
    clock.now = START
    gone = asyncio.Event()
    store.listen(lambda change: gone.set() if change.type == "DELETED" else None)
    await asyncio.wait_for(gone.wait(), 30)
    task.cancel()
