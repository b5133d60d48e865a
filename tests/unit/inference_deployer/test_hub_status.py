"""The status of an InferenceDeployment from feedback."""

from __future__ import annotations

import json

from addon_framework.api.conditions import get_condition
from addons.inference_deployer.controller.status import (
    cluster_status,
    deleting_status,
    failed_status,
    next_status,
)
from tests.unit.inference_deployer.objects import Json, deployment, said

PLACED = (True, "AllDecisionsScheduled", "All cluster decisions scheduled")
NOW = "2026-01-01T00:00:00Z"


def ready(cluster: str, revision: str = "r1", replicas: int = 1) -> Json:
    values = {"phase": "Ready", "readyReplicas": replicas, "revision": revision, "dataPhase": "Complete"}
    return cluster_status(cluster, said(cluster, **values), "r1")


def test_ready_when_every_cluster_is():
    status = next_status(deployment(), [ready("c1"), ready("c2")], placed=PLACED, now=NOW)
    assert (status["phase"], status["readyReplicas"], status["desiredReplicas"]) == ("Ready", 2, 2)
    assert get_condition(status["conditions"], "Ready")["message"] == "2 of 2 replicas answer"
    assert get_condition(status["conditions"], "DataReady")["status"] == "True"
    assert status["observedGeneration"] == 2


def test_what_a_cluster_said_of_an_older_spec_does_not_count():
    status = next_status(deployment(), [ready("c1", revision="r0")], placed=PLACED, now=NOW)
    assert status["phase"] == "Deploying"
    assert get_condition(status["conditions"], "Ready")["status"] == "False"


def test_surplus_on_one_cluster_does_not_hide_the_lack_on_another():
    waiting = cluster_status("c2", said("c2", phase="Loading", readyReplicas=0), "r1")
    status = next_status(deployment(), [ready("c1", replicas=2), waiting], placed=PLACED, now=NOW)
    assert status["phase"] != "Ready"
    assert get_condition(status["conditions"], "DataReady")["message"].endswith("c2")


def test_the_reason_of_a_cluster_comes_up():
    stuck = cluster_status("c1", said("c1", phase="Pending", message="Pod x is Unschedulable: no GPU"), "r1")
    status = next_status(deployment(), [stuck], placed=PLACED, now=NOW)
    assert get_condition(status["conditions"], "Ready")["message"] == (
        "0 of 1 replicas answer: Pod x is Unschedulable: no GPU"
    )


def test_a_source_that_is_dead_is_told_apart_from_one_that_is_read():
    values = {"phase": "Loading", "dataPhase": "SourceUnreadable", "message": "s3://m: nobody answers"}
    dead = cluster_status("c1", said("c1", readyReplicas=0, **values), "r1")
    status = next_status(deployment(), [dead, ready("c2")], placed=PLACED, now=NOW)
    data = get_condition(status["conditions"], "DataReady")
    assert (data["reason"], data["message"]) == ("SourceUnreadable", "c1: s3://m: nobody answers")


def test_a_work_that_cannot_be_applied_says_why():
    work = {
        "status": {
            "resourceStatus": {
                "manifests": [
                    {
                        "resourceMeta": {"kind": "Dataset", "name": "demo"},
                        "conditions": [{"type": "Applied", "status": "False", "message": "no such kind"}],
                    }
                ]
            }
        }
    }
    assert cluster_status("c1", work, "r1")["message"] == "Dataset demo: no such kind"


def test_why_a_manifest_was_refused_goes_before_what_is_missing_for_it():
    work = said("c1", phase="Pending", message="Deployment demo is not there yet")
    refused = {
        "resourceMeta": {"kind": "Deployment", "name": "demo"},
        "conditions": [{"type": "Applied", "status": "False", "message": "spec.template: Invalid value"}],
    }
    work["status"]["resourceStatus"]["manifests"].append(refused)
    assert cluster_status("c1", work, "r1")["message"] == "Deployment demo: spec.template: Invalid value"


def test_timelines_are_unpacked():
    text = json.dumps([{"replica": "p", "scheduled": 1.0}])
    assert cluster_status("c1", said("c1", timeline=text), "r1")["timeline"] == [
        {"replica": "p", "scheduled": 1.0}
    ]


def test_the_gateways_endpoint_is_kept_and_nothing_moves_without_a_change():
    before = {**deployment(), "status": {"endpoint": "http://g:1"}}
    first = next_status(before, [ready("c1")], placed=PLACED, now=NOW)
    again = next_status({**before, "status": first}, [ready("c1")], placed=PLACED, now="2027-01-01T00:00:00Z")
    assert first["endpoint"] == "http://g:1"
    assert first == again


def test_a_bad_spec_and_a_deletion_leave_the_rest_as_it_was():
    before = {**deployment(), "status": next_status(deployment(), [ready("c1")], placed=PLACED, now=NOW)}
    failed = failed_status(before, "InvalidSpec", "spec.engine.name: ...", now=NOW)
    assert failed["phase"] == "Failed"
    assert failed["clusters"] == before["status"]["clusters"]
    leaving = deleting_status(before, ["c1", "c2"], now=NOW)
    assert get_condition(leaving["conditions"], "Ready")["message"] == "Waiting for c1, c2 to remove it"


def test_a_slow_cache_is_a_condition_until_it_is_fast_again():
    slow = {**ready("c2"), "cacheAdvice": "the cache reads 1B/s, the source 2B/s"}
    first = next_status(deployment(), [ready("c1"), slow], placed=PLACED, now=NOW)
    condition = get_condition(first["conditions"], "CacheSlowerThanSource")
    assert (condition["status"], condition["message"]) == ("True", f"c2: {slow['cacheAdvice']}")
    after = next_status({**deployment(), "status": first}, [ready("c1"), ready("c2")], placed=PLACED, now=NOW)
    assert get_condition(after["conditions"], "CacheSlowerThanSource")["status"] == "False"
    never = next_status(deployment(), [ready("c1")], placed=PLACED, now=NOW)
    assert get_condition(never["conditions"], "CacheSlowerThanSource") is None
