"""The work queue: each key once, never twice at a time, back-off, priorities that age."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from addon_framework.kube import WorkQueue
from addon_framework.kube.queue import BASE_DELAY, MAX_DELAY
from addon_framework.testing import Clock


async def test_a_key_added_twice_is_handed_out_once() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    queue.add("a")
    assert await queue.get() == "a"
    queue.done("a")
    assert queue.idle


async def test_a_key_that_becomes_dirty_while_worked_on_comes_back_only_after_done() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    await queue.get()
    queue.add("a")
    waiting = asyncio.ensure_future(queue.get())
    await asyncio.wait([waiting], timeout=0.01)
    assert not waiting.done()
    queue.done("a")
    assert await waiting == "a"


async def test_urgent_keys_overtake_but_nobody_starves() -> None:
    clock = Clock()
    queue: WorkQueue[str] = WorkQueue(clock=clock)
    queue.add("old")
    clock.now = 0.5
    queue.add("urgent", priority=1)
    clock.now = 5.0
    queue.add("late and urgent", priority=1)
    assert [await queue.get() for _ in range(3)] == ["urgent", "old", "late and urgent"]


async def test_raising_the_priority_of_a_waiting_key_moves_it_forward() -> None:
    clock = Clock()
    queue: WorkQueue[str] = WorkQueue(clock=clock)
    queue.add("a")
    queue.add("b")
    queue.add("b", priority=5)
    assert [await queue.get() for _ in range(2)] == ["b", "a"]
    assert queue._heap == [] or await _drained(queue)


async def _drained(queue: WorkQueue[str]) -> bool:
    queue.done("a")
    queue.done("b")
    return queue.idle


async def test_back_off_doubles_to_a_limit_and_starts_anew_after_success() -> None:
    queue: WorkQueue[str] = WorkQueue(jitter=lambda: 0.5)
    delays = [queue.retry("a") for _ in range(12)]
    assert delays[:3] == [BASE_DELAY, BASE_DELAY * 2, BASE_DELAY * 4]
    assert delays[-1] == MAX_DELAY
    queue.forget("a")
    assert queue.retry("a") == BASE_DELAY
    queue.close()


async def test_a_delayed_key_keeps_its_earliest_time_and_an_add_overtakes_it() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after("a", 3600)
    queue.add_after("a", 0.001)
    queue.add_after("a", 7200)
    async with asyncio.timeout(30):  # not after an hour
        assert await queue.get() == "a"
    queue.done("a")
    queue.add_after("a", 3600)
    queue.add("a")
    assert await queue.get() == "a"
    queue.close()


@given(st.lists(st.tuples(st.sampled_from(["add", "get", "done"]), st.sampled_from("abc")), max_size=60))
def test_no_key_is_lost_or_worked_on_twice_at_a_time(steps: list[tuple[str, str]]) -> None:
    async def scenario() -> None:
        queue: WorkQueue[str] = WorkQueue()
        wanted: set[str] = set()
        working: set[str] = set()
        for step, key in steps:
            if step == "add":
                queue.add(key)
                wanted.add(key)
            elif step == "get" and wanted - working:
                got = await queue.get()
                assert got in wanted
                assert got not in working
                wanted.discard(got)
                working.add(got)
            elif step == "done" and key in working:
                working.discard(key)
                queue.done(key)
        for key in list(working):
            queue.done(key)
        while wanted:
            got = await queue.get()
            wanted.remove(got)
            queue.done(got)
        assert queue.idle

    asyncio.run(scenario())


async def test_hurry_brings_forward_what_failed_and_nothing_else() -> None:
    queue: WorkQueue[str] = WorkQueue(jitter=lambda: 1.0)
    queue.add_after("planned", 60)
    for _ in range(20):
        queue.retry("failed")
    assert queue.idle
    queue.hurry()
    assert await queue.get() == "failed"
    queue.done("failed")
    assert queue.idle
    queue.close()
