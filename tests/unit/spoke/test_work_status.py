"""Feedback, rules and conditions of a work."""

from __future__ import annotations

from typing import Any

from addon_framework.api.conditions import get_condition
from addon_framework.api.core import CONFIGMAPS, DEPLOYMENTS
from addon_framework.spoke.work.feedback import collect
from addon_framework.spoke.work.rules import evaluate
from addon_framework.spoke.work.status import Outcome, complete_before, work_status
from addon_framework.spoke.work.targets import Options, Target


def obj(kind: str, api_version: str = "v1", **fields: Any) -> dict[str, Any]:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": "x", "namespace": "ns"}, **fields}


def values(found: list[dict[str, Any]]) -> dict[str, Any]:
    return {v["name"]: v["fieldValue"] for v in found}


def test_well_known_status() -> None:
    rules = [{"type": "WellKnownStatus"}]
    replicas = {"replicas": 3, "readyReplicas": 2}
    for kind in ("Deployment", "StatefulSet"):
        found, problems = collect(obj(kind, "apps/v1", status=replicas), rules)
        assert values(found) == {
            "ReadyReplicas": {"type": "Integer", "integer": 2},
            "Replicas": {"type": "Integer", "integer": 3},
        }
        assert not problems
    daemons, _ = collect(obj("DaemonSet", "apps/v1", status={"numberReady": 1}), rules)
    assert values(daemons) == {"NumberReady": {"type": "Integer", "integer": 1}}
    job = {"conditions": [{"type": "Complete", "status": "True"}], "succeeded": 1}
    assert set(values(collect(obj("Job", "batch/v1", status=job), rules)[0])) == {
        "JobComplete",
        "JobSucceeded",
    }
    pod = {"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]}
    assert values(collect(obj("Pod", status=pod), rules)[0]) == {
        "PodReady": {"type": "String", "string": "False"},
        "PodPhase": {"type": "String", "string": "Running"},
    }
    assert "no well-known status of ConfigMap" in collect(obj("ConfigMap"), rules)[1][0]


def test_json_paths_have_types_and_limits() -> None:
    status = {"a": True, "b": 2.0, "c": 2.5, "d": [1, 2], "e": None, "f": "s", "g": ["x" * 2000]}
    paths = [{"name": name, "path": f".status.{name}"} for name in "abcdefgh"]
    paths += [{"name": "v", "path": ".status.a", "version": "v2"}, {"name": "bad", "path": ".status["}]
    found, problems = collect(
        obj("Thing", "x.io/v1", status=status), [{"type": "JSONPaths", "jsonPaths": paths}]
    )
    assert values(found) == {
        "a": {"type": "Boolean", "boolean": True},
        "b": {"type": "Integer", "integer": 2},
        "c": {"type": "String", "string": "2.5"},
        "d": {"type": "JsonRaw", "jsonRaw": "[1,2]"},
        "f": {"type": "String", "string": "s"},
    }
    text = "; ".join(problems)
    for part in ("v: is for version v2", "g: the value has 2004 bytes", "bad: '.status['"):
        assert part in text


def test_rules_by_cel_and_well_known() -> None:
    thing = obj("Thing", spec={"size": 2})
    rules = [
        {"condition": "Big", "type": "CEL", "celExpressions": ["object.spec.size > 1"], "message": "size"},
        {
            "condition": "Said",
            "type": "CEL",
            "celExpressions": ["true", "object.spec.size > 5"],
            "messageExpression": "'size ' + string(object.spec.size)",
        },
        {"condition": "Broken", "type": "CEL", "celExpressions": ["object.nothing.there"]},
        {"condition": "Wrong", "type": "CEL", "celExpressions": ["object.spec.size"]},
        {"condition": "Bad", "type": "CEL", "celExpressions": ["object..x"]},
        {"condition": "Complete", "type": "WellKnownConditions"},
    ]
    found = {r.condition: (r.status, r.message) for r in evaluate(thing, rules)}
    assert found["Big"] == ("True", "size")
    assert found["Said"] == ("False", "size 2")
    assert {found[k][0] for k in ("Broken", "Wrong", "Bad", "Complete")} == {"Unknown"}
    job = obj("Job", "batch/v1", status={"conditions": [{"type": "Complete", "status": "True"}]})
    assert evaluate(job, [{"condition": "Complete", "type": "WellKnownConditions"}])[0].status == "True"


def outcome(ordinal: int, live: bool = True, error: str = "", **options: Any) -> Outcome:
    manifest = obj("ConfigMap")
    manifest["metadata"]["name"] = f"m{ordinal}"
    target = Target(CONFIGMAPS, "ns", f"m{ordinal}")
    found = {**manifest, "data": {"n": str(ordinal)}} if live else None
    return Outcome(ordinal, manifest, target, Options(**options), found, error)


def work(status: dict[str, Any] | None = None, generation: int = 2) -> dict[str, Any]:
    return {"metadata": {"name": "w", "generation": generation}, "spec": {}, "status": status or {}}


def test_all_is_well() -> None:
    status = work_status(work(), [outcome(0), outcome(1)], "t0")
    for kind in ("Applied", "Available"):
        condition = get_condition(status["conditions"], kind)
        assert condition is not None
        assert (condition["status"], condition["observedGeneration"]) == ("True", 2)
    # The same again changes nothing, later or not.
    assert work_status(work(status), [outcome(0), outcome(1)], "t1") == status


def test_what_failed_is_named_and_times_move_only_with_status() -> None:
    first = work_status(work(), [outcome(0), outcome(1)], "t0")
    second = work_status(work(first, 3), [outcome(0), outcome(1, live=False, error="forbidden")], "t1")
    applied, available = (get_condition(second["conditions"], k) for k in ("Applied", "Available"))
    assert applied is not None
    assert available is not None
    assert applied["message"] == "Failed to apply manifest work: ConfigMap ns/m1: forbidden"
    assert available["message"] == "1 of 2 resources are not available: ConfigMap ns/m1"
    manifests = second["resourceStatus"]["manifests"]
    assert manifests[0] == first["resourceStatus"]["manifests"][0]
    assert get_condition(manifests[1]["conditions"], "Applied")["lastTransitionTime"] == "t1"  # type: ignore[index]


def rule(kind: str, expression: str) -> dict[str, Any]:
    return {"condition": kind, "type": "CEL", "celExpressions": [expression]}


def test_rules_are_aggregated_and_go_when_they_are_removed() -> None:
    rules = [rule("Progressing", "object.data.n == '1'"), rule("Degraded", "object.data.n == '1'")]
    status = work_status(work(), [outcome(0, condition_rules=rules), outcome(1, condition_rules=rules)])
    progressing, degraded = (get_condition(status["conditions"], k) for k in ("Progressing", "Degraded"))
    assert progressing is not None
    assert degraded is not None
    assert progressing["status"] == "True"  # one of two is enough
    assert degraded["status"] == "False"  # False wins
    status = work_status(work(status), [outcome(0), outcome(1)])
    assert get_condition(status["conditions"], "Progressing") is None
    assert get_condition(status["resourceStatus"]["manifests"][0]["conditions"], "Progressing") is None


def test_a_complete_manifest_is_remembered() -> None:
    job = obj("Job", "batch/v1", status={"conditions": [{"type": "Complete", "status": "True"}]})
    rules = [{"condition": "Complete", "type": "WellKnownConditions"}]
    done = Outcome(0, job, Target(DEPLOYMENTS, "ns", "x"), Options(condition_rules=rules), job)
    status = work_status(work(), [done])
    assert complete_before(work(status), done.meta)
    assert not complete_before(work(), done.meta)
    assert get_condition(status["conditions"], "Complete") is not None
