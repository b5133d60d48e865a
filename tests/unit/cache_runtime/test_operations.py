"""Turns, pipelines, refusals and plans of operations, without a cluster."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addon_framework.api.meta import Json
from addon_framework.kube import Key
from addons.cache_runtime.agent.backends import Binding
from addons.cache_runtime.agent.operations import runafter
from addons.cache_runtime.agent.operations.kinds import RefusedError
from addons.cache_runtime.agent.operations.migrate import Migrate
from addons.cache_runtime.agent.operations.schedule import check_policy
from addons.cache_runtime.agent.operations.status import PartState, progress
from addons.cache_runtime.agent.operations.turns import Claim, Turns
from addons.cache_runtime.agent.scores import score_name, score_of
from addons.cache_runtime.agent.secrets import Name
from runtimes.interface import Cache
from runtimes.local import LocalBackend

NOW = datetime(2026, 11, 25, 10, 0, 0, tzinfo=UTC)
DATA, OTHER = Key("demo", "data"), Key("demo", "other")


def claim(name: str, *, exclusive: bool = False, age: int = 0, data: Key = DATA) -> Claim:
    return Claim(("DataLoad", Key("demo", name)), frozenset({data}), exclusive, (f"{age:03}", name))


def test_readers_go_together_and_a_writer_alone_in_order_of_age() -> None:
    woken: list[Name] = []
    turns = Turns(woken.append)
    first, second, writer = claim("a", age=1), claim("b", age=2), claim("w", exclusive=True, age=3)
    assert turns.ask(first) is None
    assert turns.ask(second) is None
    assert turns.ask(writer) == first.name
    late = claim("late", age=4)
    assert turns.ask(late) == writer.name, "a writer that waits is not overtaken"
    assert turns.ask(claim("x", age=9, data=OTHER)) is None, "another Dataset is another matter"
    turns.end(first.name)
    turns.end(second.name)
    assert set(woken) == {writer.name, late.name}
    assert turns.ask(writer) is None
    assert turns.ask(late) == writer.name
    turns.end(writer.name)
    assert turns.ask(late) is None


def test_a_schedule_gives_way_and_is_woken() -> None:
    woken: list[Name] = []
    turns = Turns(woken.append)
    cron, writer = claim("cron", age=1), claim("w", exclusive=True, age=2)
    assert turns.idle(cron) is None
    assert turns.ask(writer) is None
    assert woken == [cron.name]
    assert turns.idle(cron) == writer.name
    woken.clear()
    turns.end(writer.name)
    assert woken == [cron.name]
    assert turns.idle(cron) is None


@given(
    st.lists(st.tuples(st.sampled_from(["ask", "end"]), st.integers(0, 7)), max_size=60), st.integers(0, 255)
)
def test_no_two_that_conflict_ever_run_and_somebody_always_does(
    steps: list[tuple[str, int]], exclusive: int
) -> None:
    turns = Turns(lambda name: None)
    claims = [claim(str(n), exclusive=bool(exclusive >> n & 1), age=n) for n in range(8)]
    running: set[int] = set()
    waiting: set[int] = set()
    for what, number in steps:
        if what == "ask":
            if turns.ask(claims[number]) is None:
                running.add(number)
                waiting.discard(number)
            else:
                waiting.add(number)
        else:
            turns.end(claims[number].name)
            running.discard(number)
            waiting.discard(number)
        assert not any(claims[a].conflicts(claims[b]) for a in running for b in running)
    for number in sorted(running):
        turns.end(claims[number].name)
    if waiting:
        assert turns.ask(claims[min(waiting)]) is None


def op(kind: str, name: str, *, namespace: str = "demo", age: float = 0, **fields: Any) -> Json:
    created = (NOW - timedelta(seconds=age)).strftime("%Y-%m-%dT%H:%M:%SZ")
    metadata = {"name": name, "namespace": namespace, "creationTimestamp": created}
    return {"kind": kind, "metadata": metadata, **fields}


def after(kind: str, name: str, **more: Any) -> Json:
    return {"runAfter": {"kind": kind, "name": name, **more}}


def test_a_step_of_another_namespace_and_what_becomes_of_it() -> None:
    step = op("DataLoad", "one", namespace="else")
    mine = op("DataProcess", "two", spec=after("DataLoad", "one", namespace="else"))
    there: dict[tuple[str, Key], Json] = {}

    def find(kind: str, key: Key) -> Json | None:
        return there.get((kind, key))

    early = runafter.before(mine, find, NOW)
    assert "does not exist yet" in early.waiting
    assert early.again == pytest.approx(30)
    with pytest.raises(RefusedError, match="DataLoad else/one does not exist") as caught:
        runafter.before(mine, find, NOW + timedelta(seconds=31))
    assert caught.value.reason == "DataOperationNotFound"
    there[("DataLoad", Key("else", "one"))] = step
    assert runafter.before(mine, find, NOW + timedelta(hours=1)).waiting == "waiting for DataLoad else/one"
    step["status"] = {"phase": "Failed", "infos": {"message": "no keys"}}
    with pytest.raises(RefusedError, match="DataLoad else/one failed: no keys"):
        runafter.before(mine, find, NOW)
    step["status"] = {"phase": "Complete"}
    assert runafter.before(mine, find, NOW) == runafter.Before()
    there.clear()
    mine["status"] = {"waitingFor": {"operationComplete": True}}
    assert "does not exist yet" in runafter.before(mine, find, NOW + timedelta(seconds=29)).waiting
    with pytest.raises(RefusedError, match="does not exist"):
        runafter.before(mine, find, NOW + timedelta(seconds=31))
    mine["status"] = {"waitingFor": {"operationComplete": False}}
    assert runafter.before(mine, find, NOW) == runafter.Before()


def test_near_the_step_before() -> None:
    nodes = [{"metadata": {"labels": {"kubernetes.io/hostname": n, "zone": "z"}}} for n in ("b", "a")]
    step = op("DataLoad", "one")
    step["metadata"]["annotations"] = {runafter.LABELS_ANNOTATION: "zone, absent"}
    step["status"] = {"nodeAffinity": runafter.where_it_ran(step, nodes)}
    host = {"key": "kubernetes.io/hostname", "operator": "In", "values": ["a", "b"]}

    def rule(strategy: Json) -> Json:
        spec = after("DataLoad", "one", affinityStrategy=strategy)
        return runafter.affinity(op("DataProcess", "two", spec=spec), lambda kind, key: step)

    required = rule({"policy": "Require"})
    far: Json = {"metadata": {"labels": {"kubernetes.io/hostname": "c", "zone": "y"}}}
    assert [runafter.allows(required, node) for node in [*nodes, far]] == [True, True, False]
    zone = rule({"policy": "Require", "requires": [{"name": "zone"}]})
    beside: Json = {"metadata": {"labels": {"kubernetes.io/hostname": "c", "zone": "z"}}}
    assert [runafter.allows(zone, node) for node in (beside, far)] == [True, False]
    preferred = rule({"policy": "Prefer"})["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert preferred == [{"weight": 100, "preference": {"matchExpressions": [host]}}]
    assert rule({}) == {}


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"policy": "Cron"}, "spec.schedule: policy Cron needs one"),
        ({"policy": "Cron", "schedule": "every day"}, "must be five fields"),
        ({"schedule": "@daily"}, "spec.schedule: has no meaning with policy Once"),
    ],
)
def test_schedules_that_mean_nothing(spec: Json, words: str) -> None:
    with pytest.raises(RefusedError, match=words):
        check_policy(op("DataLoad", "x", spec=spec))


def test_the_time_that_is_left_is_that_of_the_slowest() -> None:
    parts = [
        PartState("a", {"progress": {"bytes": 100, "total": 1000, "rate": 300}}),
        PartState("b", {"progress": {"bytes": 400, "total": 1000, "rate": 10}}),
    ]
    infos = progress(parts, None)
    assert (infos["etaSeconds"], infos["eta"], infos["rate"]) == ("60", "1m0s", "310.00B/s")
    stalled = [PartState("a", {"progress": {"bytes": 100, "total": 1000, "rate": 0}})]
    assert "eta" not in progress(stalled, None)


def binding(*, read_only: bool = False, source: str = "s3://bucket/data", path: str = "/") -> Binding:
    metadata = {"name": "data", "namespace": "demo", "uid": "u"}
    mount = {"mountPoint": source, "name": "m", "path": path, "readOnly": read_only}
    dataset: Json = {"metadata": metadata, "spec": {"mounts": [mount]}, "status": {"phase": "Bound"}}
    runtime: Json = {"kind": "LocalRuntime", "metadata": metadata, "spec": {}}
    return Binding(dataset, runtime, LocalBackend(), Cache.of(dataset, runtime, image="agent"))


def migrate(to: Json, source: Json, **spec: Any) -> Json:
    return op("DataMigrate", "m", spec={"from": source, "to": to, **spec})


INTO = {"dataset": {"name": "data", "namespace": "demo", "path": "/new"}}
OUTSIDE = {
    "externalStorage": {
        "uri": "minio://host:9000/there/sub/",
        "encryptOptions": [
            {"name": "access-key", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "id"}}}
        ],
    }
}


def test_a_migration_names_places_and_keeps_keys_in_secrets() -> None:
    plan = Migrate().plan(migrate(INTO, OUTSIDE, parallelism=3), [binding()], [], {})
    (part,) = plan.parts
    assert (part.name, part.pods) == ("m-migrate-migrate", 3)
    env = {each["name"]: each for each in part.pod["containers"][0]["env"]}
    said = json.loads(env["MIGRATION"]["value"])
    assert said["sources"][0] == {
        "url": "s3://there/sub/",
        "path": "/",
        "options": {"endpoint": "http://host:9000"},
    }
    assert said["to"] == {"url": "s3://bucket/data", "options": {}, "directory": "new"}
    assert env["SOURCE0_ACCESS_KEY"]["valueFrom"]["secretKeyRef"] == {"name": "keys", "key": "id"}
    assert env["PODS"]["value"] == "3"


@pytest.mark.parametrize(
    ("operation", "bound", "words"),
    [
        (migrate(INTO, INTO | OUTSIDE), binding(), "spec.from: give either dataset or externalStorage"),
        (migrate(OUTSIDE, OUTSIDE), binding(), "one of from and to must be a Dataset"),
        (migrate(INTO, OUTSIDE), binding(read_only=True), "mount m of data is readOnly"),
        (migrate(INTO, OUTSIDE), binding(source="https://h/f"), "spec.accessModes needs ReadWriteMany"),
        (migrate(INTO, OUTSIDE), binding(path="/sub"), "path must be in a mount that is a bucket: /sub"),
        (migrate(INTO, OUTSIDE, options={"speed": "1"}), binding(), "spec.options: unknown speed"),
        (migrate(INTO, {"externalStorage": {"uri": "nfs://h/d"}}), binding(), "spec.from: 'nfs://h/d'"),
        (migrate({"dataset": {"name": "data", "namespace": "no"}}, OUTSIDE), binding(), "must be the DataM"),
    ],
)
def test_migrations_that_cannot_work_name_the_field(operation: Json, bound: Binding, words: str) -> None:
    def judge() -> None:
        Migrate().check(operation)
        Migrate().plan(operation, [bound], [], {})

    with pytest.raises(RefusedError, match=words):
        judge()


def test_a_score_moves_by_tens_and_is_whole_only_at_the_end() -> None:
    def of(percentage: str) -> int | None:
        return score_of({"metadata": {}, "status": {"cacheStates": {"cachedPercentage": percentage}}})

    assert [of(text) for text in ("0.0%", "19.9%", "99.9%", "100.0%")] == [0, 10, 90, 100]
    assert score_of({"metadata": {}, "status": {}}) is None
    assert score_of({"metadata": {"deletionTimestamp": "now"}}) is None
    assert score_name(Key("demo", "m")) == "dataset-demo-m"
    assert len(score_name(Key("n" * 40, "m" * 40))) <= 63
