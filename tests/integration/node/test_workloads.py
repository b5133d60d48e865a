"""Workload controllers, scheduler, claims and services, with the pods they make."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp

from addon_framework.api.conditions import get_condition, is_true
from addon_framework.api.core import (
    CRONJOBS,
    DAEMONSETS,
    DEPLOYMENTS,
    JOBS,
    NODES,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    PODS,
    SERVICES,
    STATEFULSETS,
)
from addon_framework.api.meta import Json
from addon_framework.testing import eventually

from .cluster import Cluster, pod, ready
from .test_pods import web_container


def workload(kind: str, name: str, template: Json, **spec: Any) -> Json:
    labels = {"app": name}
    return {
        "apiVersion": "batch/v1" if kind == "Job" else "apps/v1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": {
            **({} if kind == "Job" else {"selector": {"matchLabels": labels}}),
            "template": {"metadata": {"labels": labels}, "spec": template["spec"]},
            **spec,
        },
    }


def service(name: str, **spec: Any) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": [{"port": 8080, "targetPort": "http"}], **spec},
    }


async def pods_of(cluster: Cluster, name: str) -> list[Json]:
    listed = await cluster.client.list(PODS, cluster.namespace, label_selector=f"app={name}")
    return list(listed["items"])


def settled(count: int) -> Any:
    def check(deployment: Json) -> bool:
        status = deployment.get("status") or {}
        return bool(
            status.get("observedGeneration") == deployment["metadata"]["generation"]
            and status.get("replicas", 0) == status.get("updatedReplicas", 0) == count
            and status.get("availableReplicas", 0) == count
        )

    return check


async def get(url: str) -> str:
    limit = aiohttp.ClientTimeout(total=5)
    async with aiohttp.ClientSession(timeout=limit) as session, session.get(url) as response:
        return await response.text()


async def test_deployment_scales_and_rolls_behind_its_service(cluster: Cluster) -> None:
    probe = {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1}
    container = web_container(readinessProbe=probe)
    await cluster.create(service("web"))
    await cluster.create(workload("Deployment", "web", pod("web", container=container), replicas=2))
    await cluster.wait(DEPLOYMENTS, "web", settled(2))
    address = (await cluster.client.get(SERVICES, "web", cluster.namespace))["spec"]["clusterIP"]
    names = {pod["metadata"]["name"] for pod in await pods_of(cluster, "web")}

    async def answered() -> set[str]:
        return set(await asyncio.gather(*(get(f"http://{address}:8080") for _ in range(8))))

    await eventually(lambda: _equal(answered, names), swallow=aiohttp.ClientError)

    await cluster.client.patch(DEPLOYMENTS, "web", {"spec": {"replicas": 3}}, cluster.namespace)
    await cluster.wait(DEPLOYMENTS, "web", settled(3))
    await cluster.client.patch(DEPLOYMENTS, "web", {"spec": {"replicas": 1}}, cluster.namespace)
    await cluster.wait(DEPLOYMENTS, "web", settled(1))

    old = {pod["metadata"]["name"] for pod in await pods_of(cluster, "web")}
    rolling = True
    failures = []

    async def ask_on() -> None:
        while rolling:
            try:
                await get(f"http://{address}:8080")
            except aiohttp.ClientError as error:
                failures.append(error)

    asking = asyncio.create_task(ask_on())
    patch = {"spec": {"template": {"metadata": {"annotations": {"version": "2"}}}}}
    await cluster.client.patch(DEPLOYMENTS, "web", patch, cluster.namespace)
    done = await cluster.wait(DEPLOYMENTS, "web", settled(1))
    rolling = False
    await asking
    assert done["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2"
    assert is_true(done, "Available")
    new = {pod["metadata"]["name"] for pod in await pods_of(cluster, "web") if ready(pod)}
    assert not old & new
    assert len(failures) <= 2  # connections cut while the old pod ends


async def _equal(call: Any, wanted: Any) -> bool:
    return bool(await call() == wanted)


async def test_service_names_resolve_and_load_balancers_have_an_address(cluster: Cluster) -> None:
    await cluster.create(service("web", type="LoadBalancer"))
    probe = {"httpGet": {"path": "/", "port": "http"}}
    await cluster.pod("web", labels={"app": "web"}, container=web_container(readinessProbe=probe))
    await cluster.running("web")
    balanced = await cluster.wait(
        SERVICES, "web", lambda s: (s["status"].get("loadBalancer") or {}).get("ingress")
    )
    outside = balanced["status"]["loadBalancer"]["ingress"][0]["ip"]
    node_port = balanced["spec"]["ports"][0]["nodePort"]
    for url in (f"http://{outside}:8080", f"http://127.0.0.1:{node_port}"):
        await eventually(lambda url=url: _equal(lambda: get(url), "web"), swallow=aiohttp.ClientError)
    await cluster.pod("names", f"getent hosts web web.{cluster.namespace}.svc names", restartPolicy="Never")
    lines = (await cluster.output("names")).splitlines()
    assert [line.split()[0] for line in lines[:2]] == [balanced["spec"]["clusterIP"]] * 2


async def test_job_completes(cluster: Cluster) -> None:
    script = "echo $JOB_COMPLETION_INDEX"
    template = pod("x", script, restartPolicy="Never")
    await cluster.create(
        workload("Job", "three", template, completions=3, parallelism=2, completionMode="Indexed")
    )
    job = await cluster.wait(JOBS, "three", lambda j: is_true(j, "Complete"))
    assert (job["status"]["succeeded"], job["status"]["completedIndexes"]) == (3, "0-2")
    names = [p["metadata"]["name"] for p in await pods_of(cluster, "three")]
    assert sorted([(await cluster.logs(name)).strip() for name in names]) == ["0", "1", "2"]


async def test_job_gives_up_at_its_backoff_limit(cluster: Cluster) -> None:
    template = pod("x", "exit 1", restartPolicy="Never")
    await cluster.create(workload("Job", "bad", template, backoffLimit=1))
    job = await cluster.wait(JOBS, "bad", lambda j: is_true(j, "Failed"))
    condition = get_condition(job, "Failed")
    assert condition is not None
    assert (condition["reason"], job["status"]["failed"]) == ("BackoffLimitExceeded", 2)


async def test_cron_job_starts_what_is_due_once(cluster: Cluster) -> None:
    template = {"spec": {"template": {"spec": pod("x", "echo tick", restartPolicy="Never")["spec"]}}}
    created = await cluster.create(
        {
            "apiVersion": "batch/v1",
            "kind": "CronJob",
            "metadata": {"name": "tick"},
            "spec": {"schedule": "0 0 1 1 *", "jobTemplate": template},
        }
    )
    assert not created.get("status")
    # As if the last New Year's job had been forgotten.
    status = {"status": {"lastScheduleTime": "2020-06-01T00:00:00Z"}}
    await cluster.client.patch(CRONJOBS, "tick", status, cluster.namespace, subresource="status")
    await cluster.wait(CRONJOBS, "tick", lambda c: (c.get("status") or {}).get("lastSuccessfulTime"))
    jobs = (await cluster.client.list(JOBS, cluster.namespace))["items"]
    assert len(jobs) == 1


async def test_daemon_set_runs_on_the_node_and_rolls(cluster: Cluster) -> None:
    await cluster.create(workload("DaemonSet", "agent", pod("x", "sleep 1000")))

    def rolled(daemon_set: Json) -> bool:
        status = daemon_set.get("status") or {}
        return bool(
            status.get("observedGeneration") == daemon_set["metadata"]["generation"]
            and status["numberReady"] == status.get("updatedNumberScheduled", 0) == 1
        )

    await cluster.wait(DAEMONSETS, "agent", rolled)
    (first,) = await pods_of(cluster, "agent")
    assert first["spec"]["nodeName"] == cluster.node.name
    patch = {"spec": {"template": {"metadata": {"annotations": {"version": "2"}}}}}
    await cluster.client.patch(DAEMONSETS, "agent", patch, cluster.namespace)
    await cluster.wait(DAEMONSETS, "agent", rolled)
    assert [p["metadata"]["uid"] for p in await pods_of(cluster, "agent")] != [first["metadata"]["uid"]]


async def test_stateful_set_in_order_with_names_of_its_own(cluster: Cluster) -> None:
    await cluster.create(service("db", clusterIP="None"))
    slow = web_container(readinessProbe={"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1})
    template = pod("x", container=slow)
    await cluster.create(workload("StatefulSet", "db", template, replicas=2, serviceName="db"))
    await cluster.wait(STATEFULSETS, "db", lambda s: (s.get("status") or {}).get("readyReplicas") == 2)
    first, second = [await cluster.client.get(PODS, f"db-{n}", cluster.namespace) for n in (0, 1)]
    became_ready = get_condition(first, "Ready")
    assert became_ready is not None
    assert became_ready["lastTransitionTime"] <= second["metadata"]["creationTimestamp"]
    script = f"until getent hosts db-1.db.{cluster.namespace}.svc.cluster.local; do sleep 0.05; done"
    await cluster.pod("names", script, restartPolicy="Never")
    assert second["status"]["podIP"] in await cluster.output("names")
    patch = {"spec": {"replicas": 1}}
    await cluster.client.patch(STATEFULSETS, "db", patch, cluster.namespace)
    await cluster.gone(PODS, "db-1")
    patch = {"spec": {"template": {"metadata": {"annotations": {"version": "2"}}}}}
    await cluster.client.patch(STATEFULSETS, "db", patch, cluster.namespace)
    await cluster.wait(PODS, "db-0", lambda p: p["metadata"]["uid"] != first["metadata"]["uid"] and ready(p))


async def test_gpus_are_counted(cluster: Cluster) -> None:
    gpus = {"resources": {"limits": {"nvidia.com/gpu": "2"}}}
    await cluster.pod("first", "sleep 1000", container=gpus)
    await cluster.running("first")
    await cluster.pod("second", "sleep 1000", container=gpus)
    waiting = await cluster.wait(PODS, "second", lambda p: get_condition(p, "PodScheduled"))
    condition = get_condition(waiting, "PodScheduled")
    assert condition is not None
    assert (condition["status"], condition["reason"]) == ("False", "Unschedulable")
    assert condition["message"] == "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."
    await cluster.client.delete(PODS, "first", cluster.namespace)
    await cluster.running("second")


async def test_pods_keep_apart_and_together(cluster: Cluster) -> None:
    def near(app: str, field: str) -> Json:
        term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": app}}}
        return {field: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}

    async def refused(name: str, why: str) -> None:
        message = f"0/1 nodes are available: 1 node(s) didn't match {why}."
        await cluster.wait(
            PODS, name, lambda p: (get_condition(p, "PodScheduled") or {}).get("message") == message, message
        )

    apart = near("one", "podAntiAffinity")
    await cluster.pod("first", "sleep 600", labels={"app": "one"}, affinity=apart)
    await cluster.running("first")
    await cluster.pod("second", "sleep 600", labels={"app": "one"}, affinity=apart)
    await refused("second", "pod anti-affinity rules")
    await cluster.pod("friend", "sleep 600", affinity=near("liked", "podAffinity"))
    await refused("friend", "pod affinity rules")
    await cluster.pod("liked", "sleep 600", labels={"app": "liked"})
    await cluster.running("friend")
    await cluster.client.delete(PODS, "first", cluster.namespace)
    await cluster.running("second")


async def test_two_pods_never_get_the_same_gpu(cluster: Cluster) -> None:
    gpu = {"resources": {"limits": {"nvidia.com/gpu": "1"}}}
    await asyncio.gather(*(cluster.pod(f"p{n}", "sleep 1000", container=gpu) for n in range(5)))

    async def counted() -> bool:
        pods = (await cluster.client.list(PODS, cluster.namespace))["items"]
        refused = [p for p in pods if (get_condition(p, "PodScheduled") or {}).get("status") == "False"]
        return (len(refused), sum(map(ready, pods))) == (3, 2)

    await eventually(counted)


async def test_selectors_and_taints(cluster: Cluster) -> None:
    await cluster.pod("nowhere", "sleep 1000", nodeSelector={"gpu": "yes"})
    pod = await cluster.wait(PODS, "nowhere", lambda p: get_condition(p, "PodScheduled"))
    assert "didn't match Pod's node affinity/selector" in str(get_condition(pod, "PodScheduled"))
    await cluster.client.patch(NODES, cluster.node.name, {"metadata": {"labels": {"gpu": "yes"}}})
    await cluster.running("nowhere")


async def test_claim_is_bound_to_the_volume_made_for_it(cluster: Cluster) -> None:
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data"},
        "spec": {
            "accessModes": ["ReadOnlyMany"],
            "volumeName": f"{cluster.namespace}-data",
            "storageClassName": "",
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"{cluster.namespace}-data"},
        "spec": {
            "accessModes": ["ReadOnlyMany"],
            "capacity": {"storage": "1Gi"},
            "claimRef": {"namespace": cluster.namespace, "name": "data"},
            "hostPath": {"path": f"/data/{cluster.namespace}"},
            "persistentVolumeReclaimPolicy": "Retain",
        },
    }
    await cluster.pod(
        "reader",
        "cat /data/file; touch /data/x",
        container={"volumeMounts": [{"name": "data", "mountPath": "/data", "readOnly": True}]},
        volumes=[{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
        restartPolicy="Never",
    )
    pod = await cluster.wait(PODS, "reader", lambda p: get_condition(p, "PodScheduled"))
    assert 'persistentvolumeclaim "data" not found' in str(get_condition(pod, "PodScheduled"))
    directory = cluster.node.host / "data" / cluster.namespace
    directory.mkdir(parents=True)
    (directory / "file").write_text("content\n")
    await cluster.create(claim)
    await cluster.create(volume)
    output = await cluster.output("reader")
    assert output.startswith("content\n")
    assert "Read-only file system" in output
    bound = await cluster.client.get(PERSISTENTVOLUMECLAIMS, "data", cluster.namespace)
    assert bound["status"]["phase"] == "Bound"
    await cluster.client.delete(PODS, "reader", cluster.namespace)
    await cluster.client.delete(PERSISTENTVOLUMECLAIMS, "data", cluster.namespace)
    name = volume["metadata"]["name"]
    await cluster.wait(PERSISTENTVOLUMES, str(name), lambda v: v["status"]["phase"] == "Released")
    await cluster.client.delete(PERSISTENTVOLUMES, str(name))
