"""Who is told that a server answers again, and when."""

import asyncio

from addon_framework.kube.reach import A_WHILE, Reach
from addon_framework.testing import Clock


def outage(reach: Reach, clock: Clock, seconds: float) -> None:
    reach.answered()
    reach.failed()
    clock.now += seconds
    reach.failed()
    reach.answered()


def test_an_answer_after_a_while_without_any_is_told_once() -> None:
    clock, told = Clock(), []
    reach = Reach(clock)
    with reach.again(lambda: told.append(clock.now)):
        outage(reach, clock, A_WHILE)
        reach.answered()
        assert told == [A_WHILE]
    outage(reach, clock, A_WHILE)
    assert told == [A_WHILE]


def test_a_stumble_is_no_news() -> None:
    clock, told = Clock(), []
    reach = Reach(clock)
    with reach.again(lambda: told.append(clock.now)):
        for _ in range(5):
            outage(reach, clock, A_WHILE / 2)
    assert not told


async def test_a_pause_ends_with_the_outage() -> None:
    clock = Clock()
    reach = Reach(clock)
    pause = asyncio.create_task(reach.pause(3600))
    await asyncio.sleep(0)
    outage(reach, clock, A_WHILE)
    await asyncio.wait_for(pause, 30)


async def test_a_pause_ends_by_itself() -> None:
    await Reach().pause(0.01)
