from __future__ import annotations

from addon_framework.kube import Key
from addon_framework.local.workloads.deployments import of_percent
from addon_framework.local.workloads.pods import Expectations


def test_percentages_round_towards_more_pods() -> None:
    assert of_percent("25%", 3, up=True) == 1
    assert of_percent("25%", 3, up=False) == 0
    assert of_percent(2, 3, up=True) == 2


def test_pods_that_never_appear_are_not_waited_for_for_ever() -> None:
    now = 0.0
    expectations = Expectations(clock=lambda: now)
    key = Key("a", "b")
    assert expectations.unmet(key, []) is None
    expectations.expect(key, "u1")
    expectations.expect(key, "u2")
    assert expectations.unmet(key, [{"metadata": {"uid": "u1"}}]) is not None
    now = 6.0
    assert expectations.unmet(key, []) is None
