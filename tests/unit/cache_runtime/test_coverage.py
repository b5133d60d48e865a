"""Which nodes a load covers: nobody who is on the way is forgotten, nobody who never comes is waited for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from addon_framework.api.meta import Json
from addon_framework.api.time import now_rfc3339
from addons.cache_runtime.agent.backends import Binding
from addons.cache_runtime.agent.operations.coverage import PATIENCE, Coverage, coverage
from addons.cache_runtime.agent.operations.inputs import of as inputs_of
from addons.cache_runtime.agent.operations.kinds import Part
from addons.cache_runtime.agent.operations.running import _named
from runtimes.interface import Cache, Task
from runtimes.local import LocalBackend

NOW = datetime(2026, 11, 25, 10, 0, 0, tzinfo=UTC)
EACH, CLIENTS = Task({}), Task({}, after="client")
FULL = "0/1 nodes are available: 1 node has another of its kind"


def pod(
    name: str, node: str = "", *, role: str = "worker", ready: bool = False, refused: bool = False
) -> Json:
    conditions = [{"type": "Ready", "status": "True"}] if ready else []
    if refused:
        conditions = [{"type": "PodScheduled", "status": "False", "message": FULL}]
    metadata = {"name": name, "labels": {"data.boundaryless.io/role": role}}
    spec = {"nodeName": node} if node else {}
    return {"metadata": metadata, "spec": spec, "status": {"conditions": conditions}}


def workload(
    replicas: int | None, *, role: str = "worker", seen: bool = True, desired: int = 0, age: float = 5
) -> Json:
    """A StatefulSet, or with None a DaemonSet."""
    metadata = {
        "labels": {"data.boundaryless.io/role": role},
        "generation": 2,
        "creationTimestamp": now_rfc3339(NOW - timedelta(seconds=age)),
    }
    if replicas is not None:
        return {"kind": "StatefulSet", "metadata": metadata, "spec": {"replicas": replicas}}
    said = {"desiredNumberScheduled": desired, "observedGeneration": 2 if seen else 1}
    return {"kind": "DaemonSet", "metadata": metadata, "spec": {}, "status": said}


def covered(task: Task, pods: list[Json], *workloads: Json, waited: float = 5) -> Coverage:
    return coverage(task, pods, workloads, NOW - timedelta(seconds=waited), NOW)


def test_all_workers_are_waited_for_and_what_is_known_is_told() -> None:
    two = [pod("w-0", "a"), pod("w-1")]
    assert covered(EACH, two, workload(3)) == Coverage(["a"], "waiting for 2 of 3 workers")
    assert covered(EACH, [pod("w-0", "a"), pod("w-1", "b")], workload(2)) == Coverage(["a", "b"])


def test_a_cluster_with_fewer_nodes_than_replicas_still_loads_and_says_who_is_left_out() -> None:
    found = covered(EACH, [pod("w-0", "a"), pod("w-1", refused=True)], workload(2))
    assert found.hosts == ["a"]
    assert not found.missing
    assert found.left_out == f"not on 1 worker that no node takes: pod w-1 is not scheduled: {FULL}"


def test_a_pod_that_is_refused_does_not_stand_for_one_that_is_not_there_yet() -> None:
    found = covered(EACH, [pod("w-0", "a"), pod("w-1", refused=True)], workload(3))
    assert found.missing.startswith("waiting for 2 of 3 workers")


def test_patience_ends_and_begins_with_a_new_workload() -> None:
    late = covered(EACH, [pod("w-0", "a")], workload(2, age=PATIENCE + 1), waited=PATIENCE + 1)
    assert late == Coverage(["a"], left_out="waiting for 1 of 2 workers")
    assert covered(EACH, [pod("w-0", "a")], workload(2, age=1), waited=PATIENCE + 1).missing


def test_a_cache_on_every_node_is_known_when_its_controller_has_counted_them() -> None:
    pods = [pod("w-a", "a")]
    unseen = covered(EACH, pods, workload(None, seen=False, desired=1))
    assert unseen.missing == "waiting until it is known how many workers there will be"
    assert covered(EACH, pods, workload(None, desired=2)).missing == "waiting for 1 of 2 workers"
    assert covered(EACH, pods, workload(None, desired=1)) == Coverage(["a"])


def test_a_load_through_clients_waits_until_they_mount() -> None:
    pods = [
        pod("w-0", "a"),
        pod("f-a", "a", role="client", ready=True),
        pod("f-b", "b", role="client"),
    ]
    sets = (workload(1), workload(None, role="client", desired=2))
    assert covered(CLIENTS, pods, *sets) == Coverage(
        ["a"], "waiting for 1 of 2 clients: pod f-b: node b has not started it yet"
    )
    pods[2] = pod("f-b", "b", role="client", ready=True)
    assert covered(CLIENTS, pods, *sets) == Coverage(["a", "b"])


def job(name: str, host: str, attempt: str = "x", created: int = 0) -> Json:
    labels = {"data.boundaryless.io/node": host, "data.boundaryless.io/inputs": attempt}
    moment = now_rfc3339(NOW + timedelta(seconds=created))
    return {"metadata": {"name": name, "labels": labels, "creationTimestamp": moment}}


def test_jobs_keep_their_names_when_nodes_join() -> None:
    parts = [Part("load-a", {}, "a"), Part("load-b", {}, "b")]
    assert [part.name for part in _named(parts, [], "x")] == ["load-a", "load-b"]
    assert [part.name for part in _named(parts, [job("load", "a")], "x")] == ["load", "load-b"]
    assert [part.name for part in _named(parts, [job("load", "a", "old")], "x")] == ["load-a", "load-b"]
    twice = [job("load-a", "a", created=1), job("load", "a")]
    assert _named(parts, twice, "x")[0].name == "load", "the first one goes on"
    assert _named([Part("load", {})], [job("other", "")], "x")[0].name == "load"


@pytest.mark.parametrize(("per_node", "same"), [(True, True), (False, False)])
def test_more_replicas_do_not_begin_a_load_of_nodes_anew(per_node: bool, same: bool) -> None:
    def attempt(spec: Json) -> str:
        metadata = {"name": "data", "namespace": "demo", "uid": "u"}
        dataset: Json = {"metadata": metadata, "spec": {"mounts": [{"mountPoint": "s3://b/d", "path": "/"}]}}
        runtime: Json = {"kind": "LocalRuntime", "metadata": metadata, "spec": spec}
        bound = Binding(dataset, runtime, LocalBackend(), Cache.of(dataset, runtime, image="agent"))
        return inputs_of({"spec": {}}, [bound], [], per_node=per_node)

    assert (attempt({"replicas": 1}) == attempt({"replicas": 2})) == same
    assert (attempt({"worker": {"replicas": 1}}) == attempt({"worker": {"replicas": 2}})) == same
    assert attempt({"worker": {"image": "a"}}) != attempt({"worker": {"image": "b"}})
