"""How works are read, and the rules that replica sets add for workloads, judged by the agent's own CEL."""

from __future__ import annotations

from typing import Any

import pytest

from addon_framework.hub.work.children import label_value, owner_value, work_name
from addon_framework.hub.work.progress import progress_of, with_rules
from addon_framework.hub.work.rollout import State
from addon_framework.kube import Key
from addon_framework.spoke.work.rules import evaluate

Json = dict[str, Any]


def work(generation: int = 2, **conditions: str) -> Json:
    said = []
    for kind, text in conditions.items():
        status, _, observed = text.partition("@")
        said.append({"type": kind, "status": status, "observedGeneration": int(observed or generation)})
    return {"metadata": {"generation": generation}, "status": {"conditions": said}}


@pytest.mark.parametrize(
    ("conditions", "state"),
    [
        ({}, State.TO_APPLY),
        ({"Applied": "True@1", "Available": "True"}, State.TO_APPLY),
        ({"Applied": "False", "Available": "True"}, State.TO_APPLY),
        ({"Applied": "True", "Available": "True"}, State.SUCCEEDED),
        ({"Applied": "True", "Available": "False"}, State.PROGRESSING),
        ({"Applied": "True", "Available": "True", "Progressing": "True"}, State.PROGRESSING),
        ({"Applied": "True", "Available": "True", "Progressing": "Unknown"}, State.PROGRESSING),
        ({"Applied": "True", "Progressing": "False"}, State.SUCCEEDED),
        ({"Applied": "True", "Progressing": "False@1"}, State.TO_APPLY),
        ({"Applied": "True", "Progressing": "True", "Degraded": "True"}, State.FAILED),
        ({"Applied": "True", "Progressing": "False", "Degraded": "True"}, State.SUCCEEDED),
        ({"Applied": "True", "Progressing": "False", "Degraded": "False@1"}, State.TO_APPLY),
        ({"Applied": "True", "Available": "False", "Degraded": "True"}, State.FAILED),
    ],
)
def test_works_are_read_as_ocm_reads_them(conditions: dict[str, str], state: State) -> None:
    assert progress_of(work(**conditions)).state is state


def judged(kind: str, api_version: str = "apps/v1", **obj: Any) -> dict[str, str]:
    manifest = {"apiVersion": api_version, "kind": kind, "metadata": {"name": "x"}}
    spec = with_rules({"workload": {"manifests": [manifest]}})
    live = {**manifest, "metadata": {"name": "x", "generation": 3}, **obj}
    return {r.condition: r.status for r in evaluate(live, spec["manifestConfigs"][0]["conditionRules"])}


READY = {"observedGeneration": 3, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}


def test_a_deployment_progresses_until_all_is_new_and_available() -> None:
    spec = {"replicas": 2}
    assert judged("Deployment", spec=spec) == {"Progressing": "True", "Degraded": "False"}
    assert judged("Deployment", spec=spec, status=READY) == {"Progressing": "False", "Degraded": "False"}
    for late in (
        {"observedGeneration": 2},
        {"replicas": 3},
        {"updatedReplicas": 1},
        {"availableReplicas": 0},
    ):
        assert judged("Deployment", spec=spec, status={**READY, **late})["Progressing"] == "True"
    assert judged("Deployment", spec={"replicas": 0}, status={"observedGeneration": 3}) == {
        "Progressing": "False",
        "Degraded": "False",
    }
    stuck = {"conditions": [{"type": "Progressing", "status": "False"}]}
    assert judged("Deployment", spec=spec, status=stuck) == {"Progressing": "True", "Degraded": "True"}


def test_other_workloads_have_their_own_rules() -> None:
    done = {"observedGeneration": 3, "updatedReplicas": 1, "readyReplicas": 1}
    assert judged("StatefulSet", spec={"replicas": 1}, status=done) == {"Progressing": "False"}
    nodes = {"observedGeneration": 3, "desiredNumberScheduled": 2, "updatedNumberScheduled": 2}
    assert judged("DaemonSet", spec={}, status=nodes) == {"Progressing": "True"}
    assert judged("DaemonSet", spec={}, status={**nodes, "numberAvailable": 2}) == {"Progressing": "False"}
    assert judged("Job", "batch/v1") == {"Progressing": "True", "Degraded": "False"}
    failed = {"conditions": [{"type": "Failed", "status": "True"}]}
    assert judged("Job", "batch/v1", status=failed) == {"Progressing": "True", "Degraded": "True"}
    complete = {"conditions": [{"type": "Complete", "status": "True"}]}
    assert judged("Job", "batch/v1", status=complete) == {"Progressing": "False", "Degraded": "False"}


def test_what_the_author_wrote_is_left_alone() -> None:
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x"}}
    rule = {"condition": "Progressing", "type": "CEL", "celExpressions": ["false"]}
    config = {"resourceIdentifier": {"resource": "deployments", "name": "x"}, "conditionRules": [rule]}
    spec = {"workload": {"manifests": [deployment]}, "manifestConfigs": [config]}
    assert with_rules(spec) is spec
    plain = {
        "workload": {"manifests": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}}]}
    }
    assert with_rules(plain) is plain


def test_names_and_labels_hold_whatever_a_namespace_and_a_name_may_be() -> None:
    assert owner_value(Key("ns", "a.b")) == "ns.a.b"
    long = Key("n" * 63, "x" * 253)
    assert len(owner_value(long)) <= 63
    assert len(work_name(long)) <= 188
    assert work_name(Key("a", "x")) != work_name(Key("b", "x"))
    assert label_value("p" * 64) == label_value("p" * 64) != label_value("q" * 64)
