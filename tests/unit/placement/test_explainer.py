"""When explanations are written: decisions come first, but an explanation does not wait for ever."""

from __future__ import annotations

from datetime import timedelta

from addon_framework.hub.placement.explainer import APART, QUIET, Explainer
from addon_framework.hub.placement.model import Fleet
from addon_framework.hub.placement.scheduler import schedule
from addon_framework.kube import Key
from addon_framework.kube.queue import WorkQueue
from tests.unit.placement.strategies import NOW, placement

P, Q = Key("ns", "p"), Key("ns", "q")


class Clocked(Explainer):
    """One whose time a test sets."""

    def __init__(self) -> None:
        self.time = NOW
        super().__init__(lambda: self.time)
        self.queue = WorkQueue()

    def decide(self, key: Key) -> None:
        obj = placement({})
        self.changed(key, obj, schedule(obj, Fleet([], now=NOW)), ["one"])


async def test_it_waits_while_decisions_follow_one_another() -> None:
    explainer = Clocked()
    explainer.decide(P)
    assert await explainer.reconcile(P) == QUIET.total_seconds()
    explainer.time += QUIET / 2
    explainer.decide(Q)
    assert await explainer.reconcile(P) == QUIET.total_seconds()
    explainer.queue.close()


async def test_but_not_for_ever() -> None:
    explainer = Clocked()
    explainer.decide(P)
    explainer.time += APART - QUIET / 2
    explainer.decide(Q)
    assert await explainer.reconcile(P) == (QUIET / 2).total_seconds()
    explainer.time += QUIET / 2
    assert explainer._early(P, explainer.time) == timedelta(0)
    explainer.queue.close()


async def test_there_is_nothing_to_say_of_what_is_gone() -> None:
    explainer = Clocked()
    explainer.decide(P)
    explainer.forget(P)
    assert await explainer.reconcile(P) is None
    explainer.queue.close()
