"""Feedback, rules and conditions of a work."""

from __future__ import annotations

from typing import Any

from addon_framework.api.conditions import get_condition
from addon_framework.api.core import CONFIGMAPS, DEPLOYMENTS
from addon_framework.spoke.work.feedback import collect
from addon_framework.spoke.work.rules import evaluate
from addon_framework.spoke.work.status import (
    Outcome,
    complete_before,
    is_over,
    refuse_repeated,
    work_status,
)
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
    assert {found[k][0] for k in ("Broken", "Wrong", "Bad")} == {"Unknown"}
    assert "Complete" not in found  # the kind has no such condition
    assert evaluate(thing, [{"condition": "X", "type": "Magic"}])[0].reason == "ConditionRuleInvalid"
    job = obj("Job", "batch/v1", status={"conditions": [{"type": "Complete", "status": "True"}]})
    assert evaluate(job, [{"condition": "Complete", "type": "WellKnownConditions"}])[0].status == "True"


def test_rules_know_ocms_and_kubernetes_functions_and_stop_at_the_first_that_fails() -> None:
    thing = obj("Thing", spec={"memory": "2Gi"})
    expressions = {
        "Bare": ["has(object.status)", "object.status.x > 1"],  # the second is an error by itself
        "Said": ["hasConditions(object.status)"],
        "Big": ["quantity(object.spec.memory).isGreaterThan(quantity('1Gi'))"],
    }
    rules = [{"condition": k, "type": "CEL", "celExpressions": e} for k, e in expressions.items()]
    found = {r.condition: r.status for r in evaluate({**thing, "status": {"conditions": []}}, rules)}
    assert found == {"Bare": "Unknown", "Said": "False", "Big": "True"}
    bare = evaluate(thing, rules[:1])[0]
    assert (bare.status, bare.message) == ("False", "Manifest is not Bare")


def test_the_well_known_complete_and_its_authors_words() -> None:
    rule = {"condition": "Complete", "type": "WellKnownConditions"}
    pod = obj("Pod", status={"phase": "Failed"})
    assert evaluate(pod, [rule])[0] == (
        "Complete",
        "True",
        "ConditionRuleEvaluated",
        "Pod is in phase Failed",
    )
    job = obj("Job", "batch/v1", status={})
    assert evaluate(job, [rule])[0].message == "Job is not finished"
    assert evaluate(job, [{**rule, "messageExpression": "result ? 'yes' : 'no'"}])[0].message == "no"


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
    assert degraded["status"] == "True"  # and here: OCM would say False of a work half of which has failed
    status = work_status(work(status), [outcome(0), outcome(1)])
    assert get_condition(status["conditions"], "Progressing")["reason"] == "DerivedFromKinds"  # type: ignore[index]
    assert get_condition(status["resourceStatus"]["manifests"][0]["conditions"], "Progressing") is None


def test_a_complete_manifest_is_remembered() -> None:
    job = obj("Job", "batch/v1", status={"conditions": [{"type": "Complete", "status": "True"}]})
    rules = [{"condition": "Complete", "type": "WellKnownConditions"}]
    done = Outcome(0, job, Target(DEPLOYMENTS, "ns", "x"), Options(condition_rules=rules), job)
    status = work_status(work(), [done])
    assert complete_before(work(status), done.meta)
    assert not complete_before(work(), done.meta)
    assert get_condition(status["conditions"], "Complete") is not None


def workload(ordinal: int, kind: str, api_version: str = "apps/v1", **fields: Any) -> Outcome:
    live = obj(kind, api_version, **fields)
    live["metadata"] |= {"name": f"m{ordinal}", "generation": 1}
    return Outcome(ordinal, live, Target(DEPLOYMENTS, "ns", f"m{ordinal}"), Options(), live)


def said(outcomes: list[Outcome]) -> dict[str, str]:
    return {c["type"]: c["status"] for c in work_status(work(), outcomes)["conditions"]}


READY = {
    "observedGeneration": 1,
    "updatedReplicas": 1,
    "replicas": 1,
    "availableReplicas": 1,
    "readyReplicas": 1,
    "conditions": [{"type": "Available", "status": "True"}, {"type": "Complete", "status": "True"}],
}


def test_without_rules_the_kinds_say_how_far_a_work_is() -> None:
    fine = {"Applied": "True", "Available": "True", "Progressing": "False", "Degraded": "False"}
    assert said([outcome(0)]) == fine
    ready = workload(1, "Deployment", spec={"replicas": 1}, status=READY)
    assert said([outcome(0), ready]) == fine
    late = workload(2, "StatefulSet", spec={"replicas": 2}, status=READY)
    assert said([ready, late]) == {**fine, "Available": "False", "Progressing": "True"}
    stuck = {"conditions": [{"type": "Progressing", "status": "False"}]}
    bad = workload(3, "Deployment", spec={"replicas": 1}, status=stuck)
    assert said([ready, bad]) == {**fine, "Available": "False", "Progressing": "True", "Degraded": "True"}
    assert said([ready, outcome(4, live=False, error="no")]) == {
        **fine,
        "Applied": "False",
        "Available": "False",
        "Progressing": "True",
    }


def test_a_work_is_complete_by_itself_when_all_that_it_runs_has_come_to_an_end() -> None:
    job = workload(0, "Job", "batch/v1", status=READY)
    assert said([outcome(1), job])["Complete"] == "True"
    assert said([job, workload(2, "Pod", "v1", status={"phase": "Running"})])["Complete"] == "False"
    assert "Complete" not in said([job, workload(2, "Deployment", spec={}, status=READY)])
    assert not is_over(work(work_status(work(), [job])))  # only its author's word stops it from being applied


def test_available_names_what_is_there_and_does_not_serve() -> None:
    daemon = workload(0, "DaemonSet", spec={}, status={"observedGeneration": 1, "desiredNumberScheduled": 2})
    status = work_status(work(), [daemon, outcome(1)])
    available = get_condition(status["conditions"], "Available")
    assert available is not None
    assert available["reason"] == "WorkloadsNotAvailable"
    assert "DaemonSet ns/m0" in available["message"]
    entries = [get_condition(m["conditions"], "Available") for m in status["resourceStatus"]["manifests"]]
    assert [e and e["status"] for e in entries] == ["False", "True"]


def test_the_same_object_twice_is_refused() -> None:
    outcomes = [outcome(0), outcome(1), outcome(0)]
    outcomes[2].ordinal = 2
    refuse_repeated(outcomes)
    assert [bool(o.error) for o in outcomes] == [False, False, True]
    assert "manifests[2] is the same object as manifests[0]" in outcomes[2].error


def test_a_new_spec_of_a_complete_work_is_work_again() -> None:
    job = workload(0, "Job", "batch/v1", status=READY)
    job.options = Options(condition_rules=[{"condition": "Complete", "type": "WellKnownConditions"}])
    done = work(work_status(work(), [job]))
    assert is_over(done)
    assert not is_over({**done, "metadata": {**done["metadata"], "generation": 3}})


def test_nothing_goes_back_of_what_an_executor_may_not_have() -> None:
    one = outcome(0, error="may not get", feedback_rules=[{"type": "JSONPaths", "jsonPaths": []}])
    one.options = Options(
        feedback_rules=[{"type": "JSONPaths", "jsonPaths": [{"name": "n", "path": ".data.n"}]}],
        condition_rules=[rule("Zero", "object.data.n == '0'")],
    )
    entry = work_status(work(), [one])["resourceStatus"]["manifests"][0]
    assert entry["statusFeedback"]["values"]
    assert get_condition(entry["conditions"], "Zero") is not None
    one.refused = True
    entry = work_status(work(), [one])["resourceStatus"]["manifests"][0]
    assert entry["statusFeedback"] == {}
    assert get_condition(entry["conditions"], "Zero") is None
