"""Jobs: each pod is counted once, and what the policies of failure and success make of that."""

from __future__ import annotations

from typing import Any

from addon_framework.api.conditions import get_condition, is_true
from addon_framework.api.core import JOBS, PODS
from addon_framework.api.meta import Json

from .cluster import Cluster, pod
from .test_workloads import pods_of, workload

FINALIZER = "batch.kubernetes.io/job-tracking"


async def job(cluster: Cluster, name: str, script: str, **spec: Any) -> None:
    template = pod("x", script, restartPolicy=spec.pop("restartPolicy", "Never"))
    await cluster.create(workload("Job", name, template, **spec))


async def ended(cluster: Cluster, name: str, kind: str) -> Json:
    found = await cluster.wait(JOBS, name, lambda j: is_true(j, "Complete") or is_true(j, "Failed"))
    condition = get_condition(found, kind)
    assert condition is not None, found["status"]
    return {**found["status"], "reason": condition["reason"], "message": condition["message"]}


async def test_a_pod_that_is_deleted_after_its_end_stays_counted(cluster: Cluster) -> None:
    script = 'test "$JOB_COMPLETION_INDEX" = 0 || test -e /gate/open || sleep 600'
    await job(cluster, "two", script, completions=2, parallelism=2, completionMode="Indexed")
    await cluster.wait(JOBS, "two", lambda j: j["status"].get("completedIndexes") == "0")
    done = next(p for p in await pods_of(cluster, "two") if p["status"]["phase"] == "Succeeded")
    name = done["metadata"]["name"]
    await cluster.wait(PODS, name, lambda p: FINALIZER not in p["metadata"].get("finalizers", ()))
    await cluster.client.delete(PODS, name, cluster.namespace)
    await cluster.gone(PODS, name)
    await cluster.wait(JOBS, "two", lambda j: (j["status"]["succeeded"], j["status"]["active"]) == (1, 1))


async def test_a_job_that_is_deleted_lets_its_pods_go(cluster: Cluster) -> None:
    await job(cluster, "long", "sleep 600")
    (running,) = [await cluster.running(p["metadata"]["name"]) for p in await _made(cluster, "long", 1)]
    assert FINALIZER in running["metadata"]["finalizers"]
    await cluster.kubectl("delete", "job", "long", "--cascade=orphan")
    left = await cluster.wait(
        PODS, running["metadata"]["name"], lambda p: not p["metadata"].get("finalizers")
    )
    assert not left["metadata"].get("deletionTimestamp")
    await job(cluster, "other", "sleep 600")
    (second,) = await _made(cluster, "other", 1)
    await cluster.kubectl("delete", "job", "other")
    await cluster.gone(PODS, second["metadata"]["name"])


async def test_pods_of_a_job_that_is_gone_go_though_another_has_its_name(cluster: Cluster) -> None:
    await job(cluster, "again", "sleep 600")
    (ours,) = await _made(cluster, "again", 1)
    owner = {**ours["metadata"]["ownerReferences"][0], "uid": "00000000-0000-4000-8000-000000000000"}
    former = pod("former", "sleep 600")
    former["metadata"] |= {"finalizers": [FINALIZER], "ownerReferences": [owner]}
    await cluster.create(former)
    await cluster.gone(PODS, "former")
    kept = await cluster.client.get(PODS, ours["metadata"]["name"], cluster.namespace)
    assert FINALIZER in kept["metadata"]["finalizers"]


async def test_a_rule_for_an_exit_code_fails_the_job_at_once(cluster: Cluster) -> None:
    rules = [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}]
    await job(cluster, "fatal", "exit 42", backoffLimit=6, podFailurePolicy={"rules": rules})
    status = await ended(cluster, "fatal", "Failed")
    assert (status["reason"], status["failed"]) == ("PodFailurePolicy", 1)
    assert "failed with exit code 42 matching FailJob rule at index 0" in status["message"]


async def test_failures_that_a_rule_ignores_are_not_counted(cluster: Cluster) -> None:
    rules = [{"action": "Ignore", "onExitCodes": {"operator": "In", "values": [42]}}]
    script = "test -e /data/x && exit 0; touch /data/x; exit 42"
    template = pod(
        "x",
        script,
        restartPolicy="Never",
        container={"volumeMounts": [{"name": "data", "mountPath": "/data"}]},
        volumes=[{"name": "data", "hostPath": {"path": f"/ignored/{cluster.namespace}"}}],
    )
    spec = {"backoffLimit": 0, "podFailurePolicy": {"rules": rules}}
    await cluster.create(workload("Job", "patient", template, **spec))
    status = await ended(cluster, "patient", "Complete")
    assert (status["succeeded"], status.get("failed", 0)) == (1, 0)


async def test_each_index_has_its_own_limit(cluster: Cluster) -> None:
    script = 'test "$JOB_COMPLETION_INDEX" != 1'
    limits = {"backoffLimitPerIndex": 1, "completions": 3, "parallelism": 3}
    await job(cluster, "some", script, completionMode="Indexed", **limits)
    status = await ended(cluster, "some", "Failed")
    assert (status["reason"], status["failedIndexes"], status["completedIndexes"]) == (
        "FailedIndexes",
        "1",
        "0,2",
    )
    assert status["failed"] == 2


async def test_a_success_policy_ends_what_is_not_needed(cluster: Cluster) -> None:
    script = 'test "$JOB_COMPLETION_INDEX" = 0 || sleep 600'
    rules = {"rules": [{"succeededIndexes": "0"}]}
    await job(
        cluster, "leader", script, completions=2, parallelism=2, completionMode="Indexed", successPolicy=rules
    )
    status = await ended(cluster, "leader", "Complete")
    assert (status["reason"], status["completedIndexes"]) == ("SuccessPolicy", "0")
    assert status.get("active", 0) == status["terminating"] == 0


async def test_a_suspended_job_has_no_pods_and_forgets_none(cluster: Cluster) -> None:
    await job(cluster, "later", "sleep 600", suspend=True)
    await cluster.wait(JOBS, "later", lambda j: is_true(j, "Suspended"))
    assert await pods_of(cluster, "later") == []
    await cluster.client.patch(JOBS, "later", {"spec": {"suspend": False}}, cluster.namespace)
    (first,) = await _made(cluster, "later", 1)
    await cluster.running(first["metadata"]["name"])
    await cluster.client.patch(JOBS, "later", {"spec": {"suspend": True}}, cluster.namespace)
    await cluster.gone(PODS, first["metadata"]["name"])
    stopped = await cluster.wait(
        JOBS, "later", lambda j: is_true(j, "Suspended") and not j["status"].get("active")
    )
    assert (stopped["status"].get("failed", 0), stopped["status"].get("startTime")) == (0, None)


async def _made(cluster: Cluster, name: str, count: int) -> list[Json]:
    await cluster.wait(JOBS, name, lambda j: (j.get("status") or {}).get("active") == count)
    return await pods_of(cluster, name)
