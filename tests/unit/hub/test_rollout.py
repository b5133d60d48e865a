"""The rollout library: OCM's published cases, and what must hold whatever the fleet does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addon_framework.hub.work.rollout import (
    Group,
    Progress,
    State,
    Strategy,
    StrategyError,
    duration,
    parse_strategy,
    plan,
    size,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CLUSTERS = [f"c{i}" for i in range(6)]
GROUPS = [
    Group("canary", 0, frozenset({"c4"})),
    Group("", 1, frozenset({"c0", "c1", "c2"})),
    Group("", 2, frozenset({"c3", "c5"})),
]


def was(state: State, ago: float = 0) -> Progress:
    return Progress(state, NOW - timedelta(seconds=ago))


def progressive(**options: Any) -> Strategy:
    return parse_strategy({"type": "Progressive", "progressive": options})


def per_group(**options: Any) -> Strategy:
    return parse_strategy({"type": "ProgressivePerGroup", "progressivePerGroup": options})


def test_all_gives_everybody_the_change_at_once() -> None:
    step = plan(parse_strategy({}), GROUPS, {"c1": was(State.FAILED)}, NOW)
    assert step.fresh == ["c0", "c2", "c3", "c4", "c5"]
    assert step.wanted == CLUSTERS
    assert not step.breached


def test_a_window_moves_over_the_clusters_by_name() -> None:
    strategy = progressive(maxConcurrency=2)
    assert plan(strategy, GROUPS, {}, NOW).fresh == ["c0", "c1"]
    given = {"c0": was(State.SUCCEEDED), "c1": was(State.PROGRESSING)}
    assert plan(strategy, GROUPS, given, NOW).fresh == ["c2"]
    given["c0"] = was(State.TO_APPLY)
    assert plan(strategy, GROUPS, given, NOW).fresh == []


def test_success_must_last_for_a_while() -> None:
    strategy = progressive(maxConcurrency=1, minSuccessTime="1m")
    step = plan(strategy, GROUPS, {"c0": was(State.SUCCEEDED, 20)}, NOW)
    assert (step.fresh, step.recheck) == ([], timedelta(seconds=40))
    assert plan(strategy, GROUPS, {"c0": was(State.SUCCEEDED, 60)}, NOW).fresh == ["c1"]


def test_after_the_deadline_a_place_is_free_and_counts_as_a_failure() -> None:
    slow = {"c0": was(State.PROGRESSING, 100)}
    step = plan(progressive(maxConcurrency=1, progressDeadline="2m"), GROUPS, slow, NOW)
    assert (step.fresh, step.timed_out, step.recheck) == ([], [], timedelta(seconds=20))
    step = plan(progressive(maxConcurrency=1, progressDeadline="90s"), GROUPS, slow, NOW)
    assert (step.fresh, step.timed_out, step.breached) == ([], ["c0"], True)
    step = plan(progressive(maxConcurrency=1, progressDeadline="90s", maxFailures="20%"), GROUPS, slow, NOW)
    assert (step.fresh, step.timed_out, step.breached) == (["c1"], ["c0"], False)


def test_too_many_failures_stop_the_rollout_but_take_nothing_back() -> None:
    given = {"c0": was(State.FAILED), "c1": was(State.FAILED), "c2": was(State.PROGRESSING)}
    step = plan(progressive(maxFailures=1), GROUPS, given, NOW)
    assert (step.fresh, step.wanted, step.breached) == ([], ["c0", "c1", "c2"], True)
    assert plan(progressive(maxFailures=2), GROUPS, given, NOW).fresh == ["c3", "c4", "c5"]


@pytest.mark.parametrize("reference", [{"groupName": "canary"}, {"groupIndex": 0}])
def test_mandatory_groups_come_first_and_may_not_fail(reference: dict[str, Any]) -> None:
    strategy = progressive(maxConcurrency=1, maxFailures=5, mandatoryDecisionGroups=[reference])
    assert plan(strategy, GROUPS, {}, NOW).fresh == ["c4"]
    assert plan(strategy, GROUPS, {"c4": was(State.PROGRESSING)}, NOW).fresh == []
    assert plan(strategy, GROUPS, {"c4": was(State.FAILED)}, NOW).breached
    assert plan(strategy, GROUPS, {"c4": was(State.SUCCEEDED)}, NOW).fresh == ["c0"]


def test_per_group_waits_for_the_whole_group() -> None:
    given = {"c4": was(State.SUCCEEDED)}
    assert plan(per_group(), GROUPS, {}, NOW).fresh == ["c4"]
    assert plan(per_group(), GROUPS, given, NOW).fresh == ["c0", "c1", "c2"]
    given |= {"c0": was(State.SUCCEEDED), "c1": was(State.SUCCEEDED), "c2": was(State.PROGRESSING)}
    assert plan(per_group(), GROUPS, given, NOW).fresh == []
    given["c2"] = was(State.FAILED)
    assert plan(per_group(), GROUPS, given, NOW).breached
    assert plan(per_group(maxFailures="30%"), GROUPS, given, NOW).fresh == ["c3", "c5"]


def test_clusters_that_left_the_placement_are_removed() -> None:
    step = plan(progressive(), GROUPS, {"gone": was(State.FAILED)}, NOW)
    assert (step.removed, step.breached) == (["gone"], False)
    assert "gone" not in step.wanted


@pytest.mark.parametrize(
    ("limit", "total", "expected"),
    [(2, 6, 2), ("25%", 6, 2), ("100%", 6, 6), (0, 6, 3), (-1, 6, 3), (7, 6, 3), ("0%", 6, 3)],
)
def test_sizes_are_ocms(limit: int | str, total: int, expected: int) -> None:
    assert size(limit, total, 3) == expected


@pytest.mark.parametrize(
    ("text", "seconds"), [("0", 0), ("0s", 0), ("1h30m", 5400), ("1.5s", 1.5), (2_000_000_000, 2)]
)
def test_durations_are_gos(text: object, seconds: float) -> None:
    assert duration(text, "x").total_seconds() == seconds


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        ({"type": "Sometimes"}, "rolloutStrategy.type"),
        ({"type": "Progressive", "progressive": {"maxConcurrency": "many"}}, "progressive.maxConcurrency"),
        ({"type": "Progressive", "progressive": {"maxFailures": "1.%"}}, "progressive.maxFailures"),
        ({"type": "All", "all": {"progressDeadline": "soon"}}, "all.progressDeadline"),
    ],
)
def test_a_bad_strategy_names_the_field(raw: dict[str, Any], field: str) -> None:
    with pytest.raises(StrategyError, match=field):
        parse_strategy(raw)


# Whatever the fleet does

names = st.sampled_from(CLUSTERS)
progresses = st.dictionaries(
    names, st.builds(was, st.sampled_from(State), st.integers(0, 200)), max_size=len(CLUSTERS)
)
limits = st.one_of(st.integers(0, 8), st.integers(0, 120).map(lambda n: f"{n}%"))
strategies = st.builds(
    Strategy,
    type=st.sampled_from(["All", "Progressive", "ProgressivePerGroup"]),
    min_success=st.integers(0, 100).map(lambda s: timedelta(seconds=s)),
    deadline=st.none() | st.integers(0, 100).map(lambda s: timedelta(seconds=s)),
    max_failures=limits,
    concurrency=st.none() | limits,
    mandatory=st.lists(st.sampled_from([{"groupName": "canary"}, {"groupIndex": 1}]), max_size=2).map(tuple),
)


@given(strategies, progresses)
def test_nobody_is_given_it_twice_and_nothing_is_taken_back(
    strategy: Strategy, progress: dict[str, Progress]
) -> None:
    step = plan(strategy, GROUPS, progress, NOW)
    assert not set(step.fresh) & progress.keys()
    assert set(step.wanted) == progress.keys() | set(step.fresh)
    assert set(step.timed_out) <= progress.keys()
    assert step.recheck is None or step.recheck > timedelta()
    assert step == plan(strategy, list(reversed(GROUPS)), progress, NOW)


@given(progresses, limits, limits)
def test_the_window_is_never_exceeded_by_those_it_adds(
    progress: dict[str, Progress], concurrency: int | str, failures: int | str
) -> None:
    strategy = Strategy("Progressive", concurrency=concurrency, max_failures=failures)
    step = plan(strategy, GROUPS, progress, NOW)
    window = size(concurrency, len(CLUSTERS), len(CLUSTERS))
    at_work = (State.TO_APPLY, State.PROGRESSING, State.FAILED)
    busy = [c for c, p in progress.items() if p.state in at_work]
    assert not step.fresh or len(busy) + len(step.fresh) <= window
    assert not (step.breached and step.fresh)


@given(strategies)
def test_a_rollout_that_always_succeeds_comes_to_its_end(strategy: Strategy) -> None:
    progress: dict[str, Progress] = {}
    for _ in range(len(CLUSTERS) + 1):
        step = plan(strategy, GROUPS, progress, NOW)
        if not step.fresh:
            break
        progress |= {cluster: was(State.SUCCEEDED, 1000) for cluster in step.fresh}
    assert sorted(progress) == CLUSTERS


@given(strategies, progresses)
def test_in_time_a_rollout_with_a_deadline_ends_or_says_that_it_is_stopped(
    strategy: Strategy, progress: dict[str, Progress]
) -> None:
    """Every cluster answers, and no state lasts for ever: then nothing stalls without a reason."""
    if strategy.deadline is None:
        return
    now, heard = NOW, dict(progress)
    for _ in range(4 * len(CLUSTERS)):
        step = plan(strategy, GROUPS, heard, now)
        answers = {c: Progress(State.SUCCEEDED, now) for c in step.fresh}
        answers |= {
            c: Progress(State.PROGRESSING, now) for c, p in heard.items() if p.state is State.TO_APPLY
        }
        if not answers and step.recheck is None:
            break
        heard |= answers
        now += step.recheck or timedelta()
    assert step.breached or set(heard) >= set(CLUSTERS)
