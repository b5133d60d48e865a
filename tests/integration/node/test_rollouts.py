"""What users of a real cluster know of its workloads: adoption, history, partitions, pauses, refusals."""

from __future__ import annotations

from addon_framework.api.conditions import get_condition, is_true
from addon_framework.api.core import (
    CONTROLLERREVISIONS,
    DAEMONSETS,
    DEPLOYMENTS,
    EVENTS,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    PODS,
    REPLICASETS,
    STATEFULSETS,
)
from addon_framework.api.meta import Json
from addon_framework.api.time import parse_time
from addon_framework.testing import eventually

from .cluster import Cluster, pod, ready
from .test_workloads import pods_of, settled, workload


async def sets_of(cluster: Cluster, name: str) -> dict[int, int]:
    """Revision and size of a Deployment's ReplicaSets."""
    listed = await cluster.client.list(REPLICASETS, cluster.namespace, label_selector=f"app={name}")
    revision = "deployment.kubernetes.io/revision"
    return {int(s["metadata"]["annotations"][revision]): s["spec"]["replicas"] for s in listed["items"]}


async def test_a_pod_whose_label_changes_is_let_go_and_taken_back(cluster: Cluster) -> None:
    await cluster.create(workload("Deployment", "web", pod("web", "sleep 600"), replicas=1))
    await cluster.wait(DEPLOYMENTS, "web", settled(1))
    (first,) = await pods_of(cluster, "web")
    name = first["metadata"]["name"]
    await cluster.kubectl("label", "pod", name, "app=quarantine", "--overwrite")
    freed = await cluster.wait(PODS, name, lambda p: not p["metadata"].get("ownerReferences"))
    assert ready(freed)
    await eventually(lambda: _is(len, pods_of(cluster, "web"), 1))
    await cluster.kubectl("label", "pod", name, "app=web", "--overwrite")
    await eventually(lambda: _is(len, pods_of(cluster, "web"), 1))  # of two, one is too much


async def test_replica_sets_that_were_left_are_adopted(cluster: Cluster) -> None:
    template = pod("web", "sleep 600")
    await cluster.create(workload("Deployment", "web", template, replicas=1))
    await cluster.wait(DEPLOYMENTS, "web", settled(1))
    before = [p["metadata"]["uid"] for p in await pods_of(cluster, "web")]
    await cluster.kubectl("delete", "deployment", "web", "--cascade=orphan")
    await cluster.create(workload("Deployment", "web", template, replicas=1))
    await cluster.wait(DEPLOYMENTS, "web", settled(1))
    assert [p["metadata"]["uid"] for p in await pods_of(cluster, "web")] == before


async def test_a_paused_rollout_stands_still_and_is_scaled_in_proportion(cluster: Cluster) -> None:
    template = pod("web", "sleep 600")
    await cluster.create(workload("Deployment", "web", template, replicas=4))
    await cluster.wait(DEPLOYMENTS, "web", settled(4))
    containers = [{"name": "main", "image": "example.org/none:1"}]
    bad = {"spec": {"template": {"spec": {"containers": containers}}}}
    await cluster.client.patch(DEPLOYMENTS, "web", bad, cluster.namespace, kind="strategic")
    await eventually(lambda: _is(dict, sets_of(cluster, "web"), {1: 3, 2: 2}))
    paused = {"spec": {"paused": True, "replicas": 8}}
    await cluster.client.patch(DEPLOYMENTS, "web", paused, cluster.namespace)
    await eventually(lambda: _is(dict, sets_of(cluster, "web"), {1: 6, 2: 4}))
    stopped = await cluster.wait(
        DEPLOYMENTS, "web", lambda d: (get_condition(d, "Progressing") or {})["reason"] == "DeploymentPaused"
    )
    assert stopped["status"]["observedGeneration"] == stopped["metadata"]["generation"]
    await cluster.client.patch(DEPLOYMENTS, "web", {"spec": {"paused": None}}, cluster.namespace)
    await cluster.kubectl("rollout", "undo", "deployment/web")
    await cluster.wait(DEPLOYMENTS, "web", settled(8))


async def test_recreate_waits_until_the_old_pods_are_gone(cluster: Cluster) -> None:
    slow = "trap 'sleep 2; exit' TERM; touch /tmp/x; while :; do sleep 0.05; done"
    template = pod("web", slow, terminationGracePeriodSeconds=20)
    await cluster.create(workload("Deployment", "web", template, replicas=1, strategy={"type": "Recreate"}))
    await cluster.wait(DEPLOYMENTS, "web", settled(1))
    (old,) = await pods_of(cluster, "web")
    await cluster.kubectl("rollout", "restart", "deployment/web")
    await cluster.gone(PODS, old["metadata"]["name"])
    await cluster.wait(DEPLOYMENTS, "web", settled(1))
    (new,) = await pods_of(cluster, "web")
    events = (await cluster.client.list(EVENTS, cluster.namespace))["items"]
    killed = next(e for e in events if e["reason"] == "Killing")
    made = parse_time(new["metadata"]["creationTimestamp"])
    assert (made - parse_time(killed["firstTimestamp"])).total_seconds() >= 1  # it took two to end
    assert new["metadata"]["name"] != old["metadata"]["name"]


async def test_what_cannot_be_created_is_told(cluster: Cluster) -> None:
    template = pod("web", "sleep 600", serviceAccountName="nobody")
    await cluster.create(workload("Deployment", "web", template, replicas=1))
    refused = await cluster.wait(DEPLOYMENTS, "web", lambda d: is_true(d, "ReplicaFailure"))
    assert 'serviceaccount "nobody" not found' in str(get_condition(refused, "ReplicaFailure"))
    await cluster.kubectl("create", "serviceaccount", "nobody")
    done = await cluster.wait(DEPLOYMENTS, "web", settled(1))
    assert get_condition(done, "ReplicaFailure") is None


async def test_pods_are_available_once_they_have_been_ready_for_a_while(cluster: Cluster) -> None:
    await cluster.create(
        workload("Deployment", "web", pod("web", "sleep 600"), replicas=1, minReadySeconds=3)
    )
    early = await cluster.wait(DEPLOYMENTS, "web", lambda d: (d.get("status") or {}).get("readyReplicas"))
    assert not early["status"].get("availableReplicas")
    await cluster.wait(DEPLOYMENTS, "web", settled(1))


async def test_daemon_sets_and_stateful_sets_remember_their_templates(cluster: Cluster) -> None:
    for kind, resource, extra in (
        ("DaemonSet", DAEMONSETS, {}),
        ("StatefulSet", STATEFULSETS, {"replicas": 1, "serviceName": "x"}),
    ):
        name = kind.lower()
        await cluster.create(workload(kind, name, pod("x", "sleep 600"), **extra))
        await cluster.kubectl("rollout", "status", f"{kind}/{name}")
        change = {"spec": {"template": {"metadata": {"annotations": {"version": "2"}}}}}
        await cluster.client.patch(resource, name, change, cluster.namespace)
        await cluster.kubectl("rollout", "status", f"{kind}/{name}")
        assert (await cluster.kubectl("rollout", "history", f"{kind}/{name}")).splitlines()[2:4] == [
            "1         <none>",
            "2         <none>",
        ]
        await cluster.kubectl("rollout", "undo", f"{kind}/{name}")
        await cluster.kubectl("rollout", "status", f"{kind}/{name}")
        (back,) = await pods_of(cluster, name)
        assert "version" not in (back["metadata"].get("annotations") or {})
    kept = (await cluster.client.list(CONTROLLERREVISIONS, cluster.namespace))["items"]
    assert sorted(r["revision"] for r in kept) == [2, 2, 3, 3]


async def test_below_the_partition_pods_stay_what_they_were(cluster: Cluster) -> None:
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}
    await cluster.create(
        workload(
            "StatefulSet", "db", pod("x", "sleep 600"), replicas=2, serviceName="db", updateStrategy=rolling
        )
    )
    await cluster.wait(STATEFULSETS, "db", lambda s: (s.get("status") or {}).get("readyReplicas") == 2)
    change = {"spec": {"template": {"metadata": {"annotations": {"version": "2"}}}}}
    await cluster.client.patch(STATEFULSETS, "db", change, cluster.namespace)
    await cluster.wait(
        PODS, "db-1", lambda p: "version" in (p["metadata"].get("annotations") or {}) and ready(p)
    )
    first = await cluster.client.get(PODS, "db-0", cluster.namespace)
    await cluster.client.delete(PODS, "db-0", cluster.namespace)
    again = await cluster.wait(PODS, "db-0", lambda p: p["metadata"]["uid"] != first["metadata"]["uid"])
    assert "version" not in (again["metadata"].get("annotations") or {})
    await cluster.wait(STATEFULSETS, "db", lambda s: s["status"].get("readyReplicas") == 2)
    whole = {"spec": {"updateStrategy": {"rollingUpdate": {"partition": 0}}}}
    await cluster.client.patch(STATEFULSETS, "db", whole, cluster.namespace)
    done = await cluster.wait(
        STATEFULSETS, "db", lambda s: s["status"]["currentRevision"] == s["status"]["updateRevision"]
    )
    assert done["status"]["updatedReplicas"] == 2


async def test_claims_go_with_their_set_when_it_says_so(cluster: Cluster) -> None:
    claims = [
        {
            "metadata": {"name": "data"},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": "",
                "resources": {"requests": {"storage": "1Mi"}},
                "selector": {"matchLabels": {"for": cluster.namespace}},
            },
        }
    ]
    for number in range(2):
        volume = {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": f"{cluster.namespace}-{number}", "labels": {"for": cluster.namespace}},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "capacity": {"storage": "1Mi"},
                "hostPath": {"path": f"/data/{cluster.namespace}/{number}"},
            },
        }
        await cluster.create(volume)
    policy = {"whenDeleted": "Delete", "whenScaled": "Delete"}
    extra = {"volumeClaimTemplates": claims, "persistentVolumeClaimRetentionPolicy": policy}
    await cluster.create(
        workload("StatefulSet", "db", pod("x", "sleep 600"), replicas=2, serviceName="db", **extra)
    )
    await cluster.wait(STATEFULSETS, "db", lambda s: (s.get("status") or {}).get("readyReplicas") == 2)
    await cluster.kubectl("scale", "statefulset/db", "--replicas=1")
    await cluster.gone(PERSISTENTVOLUMECLAIMS, "data-db-1")
    kept = await cluster.client.get(PERSISTENTVOLUMECLAIMS, "data-db-0", cluster.namespace)
    assert not kept["metadata"].get("deletionTimestamp")
    await cluster.kubectl("delete", "statefulset", "db")
    await cluster.gone(PERSISTENTVOLUMECLAIMS, "data-db-0")
    for number in range(2):
        await cluster.client.delete(PERSISTENTVOLUMES, f"{cluster.namespace}-{number}")


def _reason(obj: Json, condition: str) -> str:
    return str((get_condition(obj, condition) or {}).get("reason"))


async def _is(of: object, coming: object, wanted: object) -> bool:
    return bool(of(await coming) == wanted)  # type: ignore[operator, misc]
