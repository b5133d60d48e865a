"""Why pods of ours do not run, in words."""

from __future__ import annotations

from typing import Any

import pytest

from addon_framework.api.meta import Json
from addons.cache_runtime.agent.troubles import broken_pods, over_quota, waiting_for


def pod(name: str = "p", node: str = "", *, ending: bool = False, placement: str = "", **said: Any) -> Json:
    metadata: Json = {"name": name, "namespace": "demo"}
    if ending:
        metadata["deletionTimestamp"] = "2026-11-25T10:00:00Z"
    if placement:
        metadata["labels"] = {"fluid.io/dataset-placement": placement}
    return {"metadata": metadata, "spec": {"nodeName": node} if node else {}, "status": said}


def unscheduled(why: str) -> list[Json]:
    return [{"type": "PodScheduled", "status": "False", "message": why}]


def test_broken_pods_are_named_with_their_node() -> None:
    def one(name: str, ready: str, **state: Any) -> Json:
        container = {"name": "cache", "ready": ready == "True", "state": state}
        status = {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": ready}],
            "containerStatuses": [container],
        }
        return pod(name, f"node-{name}", **status)

    waiting = {"reason": "CrashLoopBackOff", "message": "back-off 10s"}
    pods = [one("a", "True", running={}), one("b", "False", waiting=waiting)]
    assert broken_pods(pods) == (
        "pod b on node node-b is not ready: container cache: CrashLoopBackOff back-off 10s"
    )
    assert broken_pods(pods[:1]) == ""


def test_what_the_scheduler_says_is_said() -> None:
    why = 'persistentvolumeclaim "gone" not found'
    assert waiting_for([pod(conditions=unscheduled(why))]) == f"pod p is not scheduled: {why}"


@pytest.mark.parametrize(
    ("placement", "rule"),
    [
        ("Exclusive", "takes no node that has a cache"),
        ("Shared", "placement is Exclusive"),
        ("", "one of them"),
    ],
)
def test_which_rule_keeps_a_cache_from_a_node(placement: str, rule: str) -> None:
    why = "0/1 nodes are available: 1 node(s) didn't match pod anti-affinity rules."
    said = waiting_for([pod(placement=placement, conditions=unscheduled(why))])
    assert said.startswith(f"pod p is not scheduled: {why} (")
    assert rule in said
    assert broken_pods([pod(placement=placement, conditions=unscheduled(why))]) == said


def test_a_node_that_says_nothing_is_named() -> None:
    creating = [{"name": "c", "state": {"waiting": {"reason": "ContainerCreating"}}}]
    pulling = [{"name": "c", "state": {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}}]
    silent, starting = (
        pod("a", "n1", phase="Pending"),
        pod("b", "n2", phase="Pending", containerStatuses=creating),
    )
    assert waiting_for([silent]) == "pod a: node n1 has not started it yet"
    assert waiting_for([starting]).endswith("is starting; if that lasts: kubectl describe pod -n demo b")
    failing = pod("c", "n3", phase="Pending", initContainerStatuses=pulling)
    assert waiting_for([silent, starting, failing]) == "pod c: ErrImagePull: no such image"
    leaving = pod("d", "n4", ending=True, phase="Running")
    assert waiting_for([leaving]) == "pod d is to end, and its node n4 has not said that it has"
    for well in (pod("e", "n5", phase="Running"), pod("f", "n5", phase="Succeeded", ending=True)):
        assert waiting_for([well]) == ""


def test_what_a_container_said_before_it_failed_is_said() -> None:
    log = '{"report": "start"}\nmounting\n/backup has no metadata-backup-j-default.gz\n'
    container = {
        "name": "juicefs-fuse",
        "ready": False,
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}},
        "lastState": {"terminated": {"exitCode": 1, "message": log}},
    }
    crashing = pod("p", "n1", phase="Running", containerStatuses=[container])
    words = "/backup has no metadata-backup-j-default.gz"
    assert waiting_for([crashing]) == (
        f"pod p: CrashLoopBackOff: back-off 10s; container juicefs-fuse said last: {words}"
    )
    assert broken_pods([crashing]).endswith(f"CrashLoopBackOff back-off 10s, exit code 1 {words}")


def test_the_last_word_of_a_program_of_ours_is_its_failure() -> None:
    def said(*lines: str) -> str:
        terminated = {"exitCode": 1, "message": "\n".join(lines)}
        container = {"name": "cache", "ready": False, "state": {"terminated": terminated}}
        return broken_pods([pod("p", "n1", containerStatuses=[container])])

    before = "pod p on node n1 is not ready: container cache: exit code 1"
    failed = '{"report": "failed", "reason": "DiskError", "message": "/cache: somebody removed the cache"}'
    state = '{"report": "state", "cached": 3}'
    assert said("a port is taken", state, failed, "") == f"{before} /cache: somebody removed the cache"
    assert said("a port is taken", state) == f"{before} a port is taken"
    assert said(state, failed[:40]) == before
    assert said("", '{"report": "failed"}') == before


def test_what_holds_more_than_its_quota_is_named() -> None:
    states = {
        "a": {"cache": "x", "cached": 3 << 20, "capacity": 2 << 20},
        "b": {"cache": "y", "cached": 3 << 20, "capacity": 3 << 20},
        "c": {"cached": 9, "capacity": 1},  # of a cache that sees to its quota itself
    }
    assert over_quota(states) == (
        "on node a the cache holds 3.00MiB and its quota is 2.00MiB: nothing goes until a DataLoad of "
        "something else needs room"
    )
    assert over_quota({"b": states["b"]}) == ""
