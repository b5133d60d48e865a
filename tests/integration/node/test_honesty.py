"""Where a real cluster says no, or says it in a certain way, and so does this one."""

from __future__ import annotations

from pathlib import Path

import pytest

from addon_framework.api.conditions import get_condition, is_true
from addon_framework.api.core import (
    DEPLOYMENTS,
    ENDPOINTS,
    EVENTS,
    HORIZONTALPODAUTOSCALERS,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    PODDISRUPTIONBUDGETS,
    PODS,
    SERVICES,
    STORAGECLASSES,
)
from addon_framework.api.meta import Json
from addon_framework.kube import ApiError
from addon_framework.testing import eventually

from .cluster import Cluster, pod, ready
from .test_workloads import pods_of, service, settled, workload


async def evict(cluster: Cluster, name: str) -> None:
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
    await cluster.client.request("POST", PODS.path(cluster.namespace, name, "eviction"), body=body)


async def test_a_budget_keeps_pods_from_being_evicted(cluster: Cluster) -> None:
    await cluster.create(workload("Deployment", "web", pod("web", "sleep 600"), replicas=2))
    await cluster.wait(DEPLOYMENTS, "web", settled(2))
    budget = {"selector": {"matchLabels": {"app": "web"}}, "minAvailable": "100%"}
    kind = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "web"}}
    await cluster.create({**kind, "spec": budget})
    shut = await cluster.wait(PODDISRUPTIONBUDGETS, "web", lambda b: _status(b).get("currentHealthy") == 2)
    assert (shut["status"]["desiredHealthy"], shut["status"]["disruptionsAllowed"]) == (2, 0)
    first = (await pods_of(cluster, "web"))[0]["metadata"]["name"]
    with pytest.raises(ApiError) as refused:
        await evict(cluster, first)
    assert refused.value.status == 429
    assert "would violate the pod's disruption budget" in refused.value.message
    looser = {"spec": {"minAvailable": "50%"}}
    await cluster.client.patch(PODDISRUPTIONBUDGETS, "web", looser, cluster.namespace)
    await cluster.wait(PODDISRUPTIONBUDGETS, "web", lambda b: _status(b).get("disruptionsAllowed") == 1)
    await evict(cluster, first)
    await cluster.gone(PODS, first)
    await cluster.wait(DEPLOYMENTS, "web", settled(2))


async def test_a_pod_that_names_its_node_and_asks_too_much_is_rejected(cluster: Cluster) -> None:
    much = {"resources": {"requests": {"cpu": "1000"}}}
    await cluster.pod("big", "sleep 600", nodeName=cluster.node.name, container=much)
    done = await cluster.ended("big")
    assert (done["status"]["phase"], done["status"]["reason"]) == ("Failed", "OutOfcpu")


async def test_readiness_waits_for_what_others_say(cluster: Cluster) -> None:
    gates = [{"conditionType": "example.org/connected"}]
    await cluster.pod("gated", "sleep 600", readinessGates=gates)
    shut = await cluster.wait(PODS, "gated", lambda p: is_true(p, "ContainersReady"))
    assert (get_condition(shut, "Ready") or {})["reason"] == "ReadinessGatesNotReady"
    opened = {"status": {"conditions": [{"type": "example.org/connected", "status": "True"}]}}
    await cluster.client.patch(
        PODS, "gated", opened, cluster.namespace, kind="strategic", subresource="status"
    )
    done = await cluster.running("gated")
    assert is_true(done, "example.org/connected")


async def test_services_are_in_the_environment_unless_the_pod_does_not_want_them(cluster: Cluster) -> None:
    made = await cluster.create(service("my-web"))
    address = made["spec"]["clusterIP"]
    script = "env | grep ^MY_WEB || true"
    await cluster.pod("told", script, restartPolicy="Never")
    await cluster.pod("untold", script, restartPolicy="Never", enableServiceLinks=False)
    lines = (await cluster.output("told")).splitlines()
    assert {f"MY_WEB_SERVICE_HOST={address}", f"MY_WEB_PORT=tcp://{address}:8080"} <= set(lines)
    assert await cluster.output("untold") == ""


async def test_services_have_endpoints_of_both_kinds(cluster: Cluster) -> None:
    await cluster.create(service("web"))
    container = {"ports": [{"name": "http", "containerPort": 8123}]}
    await cluster.pod("web", "sleep 600", labels={"app": "web"}, container=container)
    address = (await cluster.running("web"))["status"]["podIP"]
    await eventually(lambda: _contains(cluster, "endpoints", f"{address}:8123"))
    await cluster.client.delete(PODS, "web", cluster.namespace)
    await eventually(lambda: _contains(cluster, "endpoints", "<none>"))
    await cluster.client.delete(SERVICES, "web", cluster.namespace)
    await cluster.gone(ENDPOINTS, "web")


async def _contains(cluster: Cluster, kind: str, text: str) -> bool:
    return text in await cluster.kubectl("get", kind, "web")


async def test_files_have_the_modes_of_their_items(cluster: Cluster) -> None:
    data = {"run.sh": "echo ran", "plain": "x"}
    await cluster.create(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "files"}, "data": data}
    )
    items = [{"key": "run.sh", "path": "bin/run.sh", "mode": 0o755}, {"key": "plain", "path": "plain"}]
    await cluster.pod(
        "modes",
        "stat -Lc %a /files/bin/run.sh /files/plain; /bin/sh /files/bin/run.sh",
        container={"volumeMounts": [{"name": "files", "mountPath": "/files"}]},
        volumes=[{"name": "files", "configMap": {"name": "files", "items": items, "defaultMode": 0o400}}],
        restartPolicy="Never",
    )
    assert (await cluster.output("modes")).split() == ["755", "400", "ran"]


async def test_a_root_that_is_read_only_takes_no_files(cluster: Cluster) -> None:
    script = "touch /x || touch /tmp/x || touch /run/x || touch /data/x && echo only data"
    await cluster.pod(
        "sealed",
        script,
        container={
            "securityContext": {"readOnlyRootFilesystem": True},
            "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        },
        volumes=[{"name": "data", "emptyDir": {}}],
        restartPolicy="Never",
    )
    assert (await cluster.output("sealed")).splitlines()[-1] == "only data"


async def test_root_is_refused_where_nobody_may_be_root(cluster: Cluster) -> None:
    await cluster.pod("root", "id", securityContext={"runAsNonRoot": True, "runAsUser": 0})
    refused = await cluster.wait(PODS, "root", lambda p: _waiting(p) == "CreateContainerConfigError")
    assert refused["status"]["phase"] == "Pending"


async def test_an_image_that_is_not_there_is_backed_off_from(cluster: Cluster) -> None:
    await cluster.pod("lost", "id", container={"image": "example.org/none:1"})
    await cluster.wait(PODS, "lost", lambda p: _waiting(p) == "ImagePullBackOff")
    with pytest.raises(AssertionError, match="waiting to start: trying and failing to pull image"):
        await cluster.kubectl("logs", "lost")


async def test_args_alone_are_a_command_where_the_image_has_none(cluster: Cluster) -> None:
    await cluster.kubectl(
        "run", "x", "--image=busybox:1.36", "--restart=Never", "--", "sh", "-c", "echo hello"
    )
    assert await cluster.kubectl("wait", "pod/x", "--for=jsonpath={.status.phase}=Succeeded")
    assert await cluster.logs("x", "x") == "hello\n"


async def test_a_pod_that_a_finalizer_holds_tells_how_it_ended(cluster: Cluster) -> None:
    held = pod("held", "trap 'exit 3' TERM; while :; do sleep 0.05; done", terminationGracePeriodSeconds=20)
    held["metadata"]["finalizers"] = ["example.org/hold"]
    await cluster.create(held)
    await cluster.running("held")
    await cluster.client.delete(PODS, "held", cluster.namespace)
    ended = await cluster.ended("held")
    assert ended["status"]["phase"] == "Failed"
    assert not ready(ended)
    await cluster.client.patch(PODS, "held", {"metadata": {"finalizers": None}}, cluster.namespace)
    await cluster.gone(PODS, "held")


async def test_a_pod_that_was_deleted_before_it_ran_has_not_succeeded(cluster: Cluster) -> None:
    held = pod("never", "true", volumes=[{"name": "none", "secret": {"secretName": "not-there"}}])
    held["metadata"]["finalizers"] = ["example.org/hold"]
    await cluster.create(held)
    await cluster.wait(PODS, "never", lambda p: p["status"].get("containerStatuses"))
    await cluster.client.delete(PODS, "never", cluster.namespace)
    ended = await cluster.ended("never")
    assert ended["status"]["phase"] == "Failed"
    state = ended["status"]["containerStatuses"][0]["state"]["terminated"]
    assert (state["exitCode"], state["reason"]) == (137, "ContainerStatusUnknown")
    await cluster.client.patch(PODS, "never", {"metadata": {"finalizers": None}}, cluster.namespace)
    await cluster.gone(PODS, "never")


async def test_sidecars_end_after_whom_they_serve(cluster: Cluster) -> None:
    script = "trap 'echo bye >>/log/ends; exit' TERM; touch /log/{0}; while :; do sleep 0.05; done"
    mounts = {"volumeMounts": [{"name": "log", "mountPath": "/log"}]}
    side = {"name": "side", "image": "busybox:1.36", "restartPolicy": "Always", **mounts}
    side["command"] = ["sh", "-c", script.format("side").replace("bye", "side")]
    slow = script.format("main").replace("echo bye", "sleep 1; echo main")
    await cluster.pod(
        "pair",
        slow,
        container=mounts,
        initContainers=[side],
        volumes=[{"name": "log", "hostPath": {"path": f"/ends/{cluster.namespace}"}}],
        terminationGracePeriodSeconds=20,
    )
    await cluster.running("pair")
    log = cluster.node.host / "ends" / cluster.namespace
    await eventually(lambda: _there(log / "main", log / "side"))
    await cluster.client.delete(PODS, "pair", cluster.namespace)
    await cluster.gone(PODS, "pair")
    assert (log / "ends").read_text().split() == ["main", "side"]


def _reason(obj: Json, condition: str) -> str:
    return str((get_condition(obj, condition) or {}).get("reason"))


def _status(obj: Json) -> Json:
    return obj.get("status") or {}


async def _there(*paths: Path) -> bool:
    return all(path.exists() for path in paths)


def _waiting(pod: Json) -> str:
    statuses = _status(pod).get("containerStatuses") or ()
    return next((str((s["state"].get("waiting") or {}).get("reason")) for s in statuses), "")


async def test_a_claim_waits_for_its_first_user_and_says_what_it_waits_for(cluster: Cluster) -> None:
    name = f"{cluster.namespace}-late"
    storage = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name}}
    mode = {"provisioner": "kubernetes.io/no-provisioner", "volumeBindingMode": "WaitForFirstConsumer"}
    await cluster.create({**storage, **mode})
    spec: Json = {"accessModes": ["ReadWriteOnce"], "storageClassName": name}
    volume = {**spec, "capacity": {"storage": "1Mi"}, "hostPath": {"path": f"/late/{cluster.namespace}"}}
    kinds = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}}
    await cluster.create({**kinds, "spec": volume})
    kinds = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "late"}}
    await cluster.create({**kinds, "spec": {**spec, "resources": {"requests": {"storage": "1Mi"}}}})
    await eventually(lambda: _told(cluster, "WaitForFirstConsumer"))
    await cluster.wait(PERSISTENTVOLUMES, name, lambda v: v["status"]["phase"] == "Available")
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "late"}}]
    await cluster.pod("user", "sleep 600", volumes=volumes)
    await cluster.running("user")
    await cluster.client.delete(PODS, "user", cluster.namespace)
    await cluster.client.delete(PERSISTENTVOLUMECLAIMS, "late", cluster.namespace)
    await cluster.gone(PERSISTENTVOLUMECLAIMS, "late")
    await cluster.client.delete(PERSISTENTVOLUMES, name)
    await cluster.client.delete(STORAGECLASSES, name)


async def _told(cluster: Cluster, reason: str) -> bool:
    events = (await cluster.client.list(EVENTS, cluster.namespace))["items"]
    return any(event["reason"] == reason for event in events)


async def test_an_autoscaler_keeps_its_bounds_and_says_that_there_are_no_metrics(cluster: Cluster) -> None:
    await cluster.create(workload("Deployment", "web", pod("web", "sleep 600"), replicas=1))
    await cluster.kubectl("autoscale", "deployment", "web", "--min=2", "--max=3", "--cpu=50%")
    await cluster.wait(DEPLOYMENTS, "web", settled(2))
    await cluster.kubectl("scale", "deployment/web", "--replicas=3")
    await cluster.kubectl("label", "hpa", "web", "look=again")
    reason = "FailedGetResourceMetric"
    await cluster.wait(HORIZONTALPODAUTOSCALERS, "web", lambda h: _reason(h, "ScalingActive") == reason)
    await cluster.wait(DEPLOYMENTS, "web", settled(3))


async def test_a_host_path_is_of_the_type_that_its_pod_says(cluster: Cluster) -> None:
    where = f"typed/{cluster.namespace}"
    path = cluster.node.host / where
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("no directory")
    volumes = [{"name": "data", "hostPath": {"path": f"/{where}", "type": "Directory"}}]
    await cluster.pod("user", "sleep 600", volumes=volumes)

    async def refused() -> bool:
        events = (await cluster.client.list(EVENTS, cluster.namespace))["items"]
        return any(f"hostPath type check failed: /{where} is not a directory" in e["message"] for e in events)

    await eventually(refused)
    path.unlink()
    path.mkdir()
    await cluster.running("user")
