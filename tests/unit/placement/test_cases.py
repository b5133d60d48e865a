"""The parity cases: the oracle decides as they say, and so does our scheduler."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.parity.case import Case, Objects, load
from tests.parity.oracle import Hub, Outcome, decide
from tests.unit.placement.deciders import CEL, ours

NOW = datetime(2026, 8, 1, tzinfo=UTC)
CASES = load()


def test_names_are_unique() -> None:
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("decider", ["oracle", "strict", "default"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Case, decider: str) -> None:
    if case.strict and decider == "default":
        pytest.skip("OCM decides so; we decide better unless we are told to be strict")
    objects = Objects("ns")
    hub = Hub(
        clusters=[],
        sets=[objects.cluster_set(name, raw) for name, raw in case.sets.items()],
        bindings=[objects.binding(name) for name in case.bindings],
        cel=CEL,
    )

    def outcome(name: str, spec: dict[str, object]) -> Outcome:
        placement = objects.placement(name, spec)
        if decider == "oracle":
            return decide(placement, hub, NOW)
        return ours(placement, hub, NOW, strict=decider == "strict")

    for step in case.steps:
        hub.clusters = [
            objects.cluster(name, raw, NOW - timedelta(seconds=1)) for name, raw in step.clusters.items()
        ]
        hub.scores = objects.scores(step, NOW)
        if step is case.steps[0]:
            for number, spec in enumerate(case.others):
                name = f"other{number}"
                for i, (_, members) in enumerate(outcome(name, spec).groups):
                    hub.decisions.append(objects.decision(name, i + 1, members))
        found = outcome("p", step.spec)
        assert found.groups == step.expect["groups"]
        assert found.reason == step.expect["reason"]
        assert found.misconfigured == step.expect["misconfigured"]
        hub.decisions = [d for d in hub.decisions if not d["metadata"]["name"].startswith("p-")]
        hub.decisions += [objects.decision("p", i, members) for i, (_, members) in enumerate(found.groups)]
