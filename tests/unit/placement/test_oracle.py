"""Strict mode decides as the oracle does, on any hub and any placement."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings

from tests.parity.oracle import Hub, decide
from tests.unit.placement.deciders import ours
from tests.unit.placement.strategies import NOW, beyond_ocm, decision, hubs, placement, specs

Json = dict[str, Any]
_SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]


@settings(max_examples=300, deadline=None, suppress_health_check=_SLOW)
@given(hubs, beyond_ocm)
def test_strict_mode_decides_as_the_oracle(hub: Hub, spec: Json) -> None:
    assert ours(placement(spec), hub, NOW, strict=True) == decide(placement(spec), hub, NOW)


@settings(max_examples=100, deadline=None, suppress_health_check=_SLOW)
@given(hubs, specs)
def test_a_second_look_agrees_too(hub: Hub, spec: Json) -> None:
    """Steady and NoSelectIfNew see the decision that the first look made."""
    first = decide(placement(spec), hub, NOW)
    hub.decisions = [
        d
        for d in hub.decisions
        if (d["metadata"]["namespace"], d["metadata"]["name"].rsplit("-", 2)[0]) != ("ns", "p")
    ] + [decision("ns", "p", i, names) for i, (_, names) in enumerate(first.groups)]
    assert ours(placement(spec), hub, NOW, strict=True) == decide(placement(spec), hub, NOW)
