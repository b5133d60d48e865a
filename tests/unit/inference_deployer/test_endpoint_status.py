"""The status of an InferenceEndpoint from the objects on its cluster."""

from __future__ import annotations

import json
from typing import Any

from addons.inference_deployer.agent.status import Parts, endpoint_status
from addons.inference_deployer.kinds import REVISION_ANNOTATION, TIMELINE_ANNOTATION
from tests.unit.inference_deployer.objects import Json

NOW = "2026-01-01T00:00:00Z"
ENDPOINT: Json = {
    "metadata": {"name": "demo", "namespace": "team", "generation": 1},
    "spec": {"deployment": "demo", "service": "demo", "dataset": "demo", "dataLoad": "demo"},
}
COMPLETE: Json = {"status": {"phase": "Complete", "infos": {"startTime": "100.5", "finishTime": "103.25"}}}
BOUND: Json = {"status": {"phase": "Bound", "cacheStates": {"cachedPercentage": "100.0%"}}}
SERVICE: Json = {
    "spec": {"clusterIP": "10.0.0.1", "ports": [{"port": 8000}]},
    "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}},
}


def deployment(ready: int, *, replicas: int = 1, updated: int | None = None, observed: int = 3) -> Json:
    counts = {"replicas": replicas, "readyReplicas": ready, "updatedReplicas": ready}
    if updated is not None:
        counts["updatedReplicas"] = updated
    return {
        "metadata": {"name": "demo", "generation": 3, "annotations": {REVISION_ANNOTATION: "r1"}},
        "spec": {"replicas": replicas},
        "status": {"observedGeneration": observed, **counts},
    }


def pod(name: str = "p1", *, ready: bool = False, marks: Json | None = None, **status: Any) -> Json:
    conditions = [
        {"type": "PodScheduled", "status": "True", "lastTransitionTime": "1970-01-01T00:01:40Z"},
        {
            "type": "Ready",
            "status": "True" if ready else "False",
            "lastTransitionTime": "1970-01-01T00:01:50Z",
        },
    ]
    annotations = {TIMELINE_ANNOTATION: json.dumps(marks)} if marks else {}
    return {
        "metadata": {"name": name, "creationTimestamp": "1970-01-01T00:01:39Z", "annotations": annotations},
        "status": {"conditions": conditions, **status},
    }


def status(**parts: Any) -> Json:
    return endpoint_status(ENDPOINT, Parts(**parts), now=NOW)


def test_ready():
    marks = {"mode": "cold", "process_start": 101.2, "weights_seconds": 0.5, "serving": 110.4}
    marks["compiled"] = "all"
    parts = {"deployment": deployment(1), "service": SERVICE, "dataset": BOUND, "load": COMPLETE}
    result = status(**parts, pods=[pod(ready=True, marks=marks)])
    assert (result["phase"], result["readyReplicas"], result["revision"]) == ("Ready", 1, "r1")
    assert (result["endpoint"], result["dataPhase"], result["cachedPercentage"]) == (
        "http://192.0.2.7:8000",
        "Complete",
        "100.0%",
    )
    assert json.loads(result["timeline"]) == [
        {
            "replica": "p1",
            "scheduled": 100.0,
            "mode": "cold",
            "compiled": "all",
            "processStart": 101.2,
            "weightsSeconds": 0.5,
            "serving": 110.4,
            "dataLoadStart": 100.5,
            "dataLoaded": 103.25,
            "ready": 110.4,
        }
    ]
    assert "message" not in result


def test_a_replica_is_not_ready_in_the_timeline_before_its_launcher_has_said_when():
    """The pod's condition has whole seconds, cut off: alone it would say too early."""
    marks = {"mode": "cold", "process_start": 101.2, "weights_loaded": 110.2}
    (entry,) = json.loads(status(deployment=deployment(1), pods=[pod(ready=True, marks=marks)])["timeline"])
    assert "ready" not in entry
    (entry,) = json.loads(status(deployment=deployment(1), pods=[pod(ready=True)])["timeline"])
    assert entry["ready"] == 110.0  # no launcher of ours, no better word


def test_a_status_that_lags_behind_its_spec_has_no_revision():
    result = status(deployment=deployment(1, observed=2), load=COMPLETE, pods=[pod(ready=True)])
    assert "revision" not in result
    assert result["phase"] != "Ready"


def test_old_pods_do_not_make_a_new_spec_ready():
    parts = {"deployment": deployment(1, updated=0), "dataset": BOUND, "load": COMPLETE}
    assert status(**parts, pods=[pod(ready=True)])["phase"] == "Starting"


def test_loading_while_the_engine_starts():
    load = {"status": {"phase": "Executing"}}
    assert status(deployment=deployment(0), dataset=BOUND, load=load, pods=[pod()])["phase"] == "Loading"


def test_unschedulable():
    unscheduled = pod()
    unscheduled["status"]["conditions"][0] = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/1 nodes are available: 1 Insufficient nvidia.com/gpu",
    }
    result = status(deployment=deployment(0), dataset=BOUND, load=COMPLETE, pods=[unscheduled])
    assert result["phase"] == "Pending"
    assert result["message"] == (
        "Pod p1 is Unschedulable: 0/1 nodes are available: 1 Insufficient nvidia.com/gpu"
    )


def test_a_load_that_failed():
    load = {
        "status": {
            "phase": "Failed",
            "conditions": [{"type": "Failed", "status": "True", "message": "403 Forbidden: models"}],
        }
    }
    result = status(deployment=deployment(0), dataset=BOUND, load=load, pods=[pod()])
    assert (result["phase"], result["message"]) == ("Failed", "DataLoad demo failed: 403 Forbidden: models")


def test_a_source_that_cannot_be_read():
    def condition(kind: str, status: str) -> Json:
        why = {"reason": "SourceUnreadable", "message": "s3://m: nobody answers"}
        return {"type": kind, "status": status, **why}

    unread = {"status": {"phase": "Pending", "conditions": [condition("Initialized", "False")]}}
    result = status(deployment=deployment(0), dataset=unread)
    assert (result["phase"], result["dataPhase"]) == ("Loading", "SourceUnreadable")
    assert result["message"] == "the source of the model cannot be read: s3://m: nobody answers"
    failed = {"status": {"phase": "Failed", "conditions": [condition("Failed", "True")]}}
    result = status(deployment=deployment(0), dataset=BOUND, load=failed)
    assert (result["phase"], result["dataPhase"]) == ("Failed", "SourceUnreadable")


def test_an_image_that_is_not_there():
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "x"'}}
    stuck = pod(containerStatuses=[{"state": waiting}])
    result = status(deployment=deployment(0), dataset=BOUND, load=COMPLETE, pods=[stuck])
    assert result["phase"] == "Failed"
    assert result["message"] == 'Pod p1: ImagePullBackOff: Back-off pulling image "x"'


def test_an_engine_that_ends():
    last = {"terminated": {"exitCode": 2, "reason": "Error"}}
    again = pod(containerStatuses=[{"state": {"running": {}}, "lastState": last, "restartCount": 1}])
    result = status(deployment=deployment(0), dataset=BOUND, load=COMPLETE, pods=[again])
    assert result["message"] == "Pod p1: the engine ended with exit code 2, 1 restarts"


def test_an_engine_that_ends_again_and_again_says_its_last_words():
    log = 'usage: serve [-h]\nserve: error: unrecognized arguments: --flag\n{"report": "x"}\n'
    last = {"terminated": {"exitCode": 2, "reason": "Error", "message": log}}
    waiting = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting"}}
    stuck = pod(containerStatuses=[{"state": waiting, "lastState": last, "restartCount": 1}])
    result = status(deployment=deployment(0), dataset=BOUND, load=COMPLETE, pods=[stuck])
    words = "serve: error: unrecognized arguments: --flag"
    assert result["message"] == f"Pod p1: CrashLoopBackOff, last exit code 2: {words}"


def test_degraded_when_one_of_two_is_stuck():
    waiting = {"waiting": {"reason": "CrashLoopBackOff"}}
    pods = [pod("p1", ready=True), pod("p2", containerStatuses=[{"state": waiting}])]
    result = status(deployment=deployment(1, replicas=2), dataset=BOUND, load=COMPLETE, pods=pods)
    assert (result["phase"], result["readyReplicas"]) == ("Degraded", 1)


def test_data_that_is_read_through_is_ready_when_bound():
    endpoint = {**ENDPOINT, "spec": {**ENDPOINT["spec"], "dataLoad": ""}}
    assert endpoint_status(endpoint, Parts(dataset=BOUND), now=NOW)["dataPhase"] == "Ready"
    assert endpoint_status(endpoint, Parts(), now=NOW)["dataPhase"] == "Pending"


def test_nothing_but_scalars_besides_conditions():
    result = status(deployment=deployment(1), service=SERVICE, load=COMPLETE, pods=[pod(ready=True)])
    assert all(isinstance(value, str | int) for name, value in result.items() if name != "conditions")


def test_a_spoilt_annotation_is_no_reason_to_fail():
    spoilt = pod(ready=True)
    spoilt["metadata"]["annotations"] = {TIMELINE_ANNOTATION: "[1, 2"}
    result = status(deployment=deployment(1), load=COMPLETE, pods=[spoilt])
    assert json.loads(result["timeline"])[0]["replica"] == "p1"


def test_a_cluster_address_without_a_load_balancer():
    service = {"spec": {"clusterIP": "fd00::1", "ports": [{"port": 80}]}}
    assert status(service=service)["endpoint"] == "http://[fd00::1]:80"
    assert "endpoint" not in status(service={"spec": {"clusterIP": "None"}})


def test_a_cache_that_is_slower_than_its_source_comes_with_advice():
    def advice(*conditions: tuple[str, str, str]) -> str:
        said = [{"type": kind, "status": value, "message": text} for kind, value, text in conditions]
        return str(status(dataset={"status": {"phase": "Bound", "conditions": said}}).get("cacheAdvice"))

    slower = ("CacheSlowerThanSource", "True", "the cache reads 1B/s, the source 2B/s")
    assert advice() == advice(("CacheSlowerThanSource", "False", "as fast")) == "None"
    assert advice(slower) == f"{slower[2]}; spec.cache.bypass: auto has replicas read a copy"
    assert advice(slower, ("Bypassed", "True", "pods read a copy")) == f"{slower[2]}; pods read a copy"
