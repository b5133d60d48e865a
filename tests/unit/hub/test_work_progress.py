"""How works are read, and the rules that replica sets add for workloads, judged by the agent's own CEL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from addon_framework.hub.work.children import label_value, owner_value, work_name
from addon_framework.hub.work.progress import Dates, progress_of, with_rules
from addon_framework.hub.work.rollout import Progress, State
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


def test_a_clusters_clock_does_not_date_what_changes_before_our_eyes() -> None:
    def told(status: str, hour: int) -> list[Json]:
        found = work(Applied="True", Progressing=status)
        found["metadata"] |= {"uid": "u", "namespace": "c1", "creationTimestamp": "2026-01-01T10:00:00Z"}
        found["status"]["conditions"][1]["lastTransitionTime"] = f"2026-01-01T{hour:02}:00:00Z"
        return [found]

    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    made, later = noon - timedelta(hours=2), noon + timedelta(minutes=1)
    # Not before the work was made, and never in the future.
    for hour, first in ((9, made), (11, noon - timedelta(hours=1)), (13, noon)):
        dates = Dates()
        progressing = dates.dated(told("True", hour), bool, noon)
        assert progressing == {"c1": Progress(State.PROGRESSING, first)}
        for moment in (later, later + timedelta(minutes=5)):
            done = dates.dated(told("False", hour), bool, moment)
            assert done == {"c1": Progress(State.SUCCEEDED, later)}
        assert dates.dated(told("False", hour), lambda _: False, later) == {}
        again = dates.dated(told("False", hour), bool, later + timedelta(hours=1))
        assert again == {"c1": Progress(State.SUCCEEDED, later + timedelta(hours=1))}


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


def test_workloads_that_nobody_moves_on_do_not_hold_a_rollout() -> None:
    status = {"observedGeneration": 3, "readyReplicas": 3, "updatedReplicas": 1}
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}
    for strategy in ({"type": "OnDelete"}, rolling):
        spec = {"replicas": 3, "updateStrategy": strategy}
        assert judged("StatefulSet", spec=spec, status=status) == {"Progressing": "False"}
    assert judged("StatefulSet", spec={"replicas": 3}, status=status) == {"Progressing": "True"}
    nodes = {"observedGeneration": 3, "desiredNumberScheduled": 2, "numberAvailable": 2}
    on_delete = {"updateStrategy": {"type": "OnDelete"}}
    assert judged("DaemonSet", spec=on_delete, status=nodes) == {"Progressing": "False"}
    assert judged("Job", "batch/v1", spec={"suspend": True})["Progressing"] == "False"


def rules_for(resource: str, **rules: str) -> Json:
    written = [{"condition": k, "type": "CEL", "celExpressions": [e]} for k, e in rules.items()]
    return {"resourceIdentifier": {"resource": resource, "name": "*"}, "conditionRules": written}


def conditions_of(spec: Json, at: int = 0) -> list[str]:
    return [rule["condition"] for rule in spec["manifestConfigs"][at]["conditionRules"]]


def test_what_the_author_wrote_stays_and_what_he_did_not_is_added() -> None:
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x"}}
    workload = {"manifests": [deployment]}
    both = rules_for("deployments", Progressing="false", Degraded="false")
    spec = {"workload": workload, "manifestConfigs": [both]}
    assert with_rules(spec) is spec
    other = rules_for("deployments", Complete="false")
    other["resourceIdentifier"] |= {"group": "apps", "namespace": "*"}
    other["feedbackScrapeType"] = "Watch"
    spec = with_rules({"workload": workload, "manifestConfigs": [other]})
    # Of several entries the first with rules counts, so ours holds the author's too.
    assert conditions_of(spec) == ["Complete", "Progressing", "Degraded"]
    assert spec["manifestConfigs"][1] is other
    half = with_rules({"workload": workload, "manifestConfigs": [rules_for("things", Progressing="false")]})
    assert conditions_of(half) == ["Degraded"]
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
