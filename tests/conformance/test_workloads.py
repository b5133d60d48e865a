"""Workloads: what their controllers make of them. A test plays the kubelet.

Beside kube-apiserver they are kube-controller-manager's, beside the embedded server ours. The scheduler is
ours on both, since kube-scheduler does not come with an API server.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable

import pytest

from addon_framework.api.conditions import get_condition, is_true
from addon_framework.api.meta import Json
from addon_framework.kube import Client, Controller, Manager
from addon_framework.local.events import Recorder
from addon_framework.local.workloads import controllers as ours
from addon_framework.local.workloads.scheduler import Scheduler
from addon_framework.testing import eventually
from addon_framework.testing.servers import ApiServer, EnvtestApiServer
from tests.conformance.api import Api
from tests.conformance.objects import deployment, deployments

CONTROLLERS = (
    *("deployment", "replicaset", "daemonset", "statefulset", "job", "cronjob"),
    *("endpoints", "endpointslice"),
)
NODES = "/api/v1/nodes"


async def run(client: Client, choose: Callable[[Controller], bool]) -> AsyncIterator[None]:
    """Our controllers, until the test ends."""
    recorder, manager = Recorder(client, "controllers"), Manager(client, name="workloads")
    for each in filter(choose, ours(recorder)):
        manager.add(each)
    tasks = [asyncio.create_task(work) for work in (manager.run(), recorder.run())]
    yield
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture(scope="module")
def real_controllers(api_server: ApiServer | None) -> bool:
    """Whether the cluster has workload controllers that are not ours; beside envtest they start here."""
    if isinstance(api_server, EnvtestApiServer) and api_server.has_controllers:
        api_server.start_controllers([f"{each}-controller" for each in CONTROLLERS])
        return True
    return api_server is None


@pytest.fixture
async def workloads(real_controllers: bool, client: Client) -> AsyncIterator[None]:
    """Controllers of workloads run."""
    if real_controllers:
        yield
    else:
        async for _ in run(client, lambda each: not isinstance(each, Scheduler)):
            yield


@pytest.fixture
async def scheduler(client: Client) -> AsyncIterator[None]:
    """Ours runs."""
    async for _ in run(client, lambda each: isinstance(each, Scheduler)):
        yield


class Kubelet:
    """Of no node: it says of pods what a test wants."""

    def __init__(self, api: Api, namespace: str) -> None:
        self._api, self._path = api, f"/api/v1/namespaces/{namespace}/pods"

    async def pods(self) -> list[Json]:
        """Those that stay."""
        items = (await self._api.get(self._path)).ok()["items"]
        return [each for each in items if not each["metadata"].get("deletionTimestamp")]

    async def names(self) -> list[str]:
        """Of those."""
        return [each["metadata"]["name"] for each in await self.pods()]

    async def say(self, phase: str) -> None:
        """All pods run and are ready, or have succeeded."""
        ready = {"type": "Ready", "status": "True" if phase == "Running" else "False"}
        for pod in await self.pods():
            if (pod.get("status") or {}).get("phase") != phase:
                path = f"{self._path}/{pod['metadata']['name']}/status"
                answer = await self._api.patch(path, {"status": {"phase": phase, "conditions": [ready]}})
                assert answer.code in (200, 404)  # it may have gone

    async def until(self, path: str, done: Callable[[Json], bool], phase: str = "Running") -> Json:
        """Says it of every pod there is, until an object is as a test wants it."""

        async def seen() -> Json | None:
            await self.say(phase)
            obj: Json = (await self._api.get(path)).ok()
            return obj if done(obj) else None

        found: Json = await eventually(seen)
        return found


@pytest.fixture
def kubelet(api: Api, namespace: str) -> Kubelet:
    """Of the test's namespace."""
    return Kubelet(api, namespace)


def template(**spec: object) -> Json:
    containers = [{"name": "c", "image": "busybox"}]
    return {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": containers, **spec}}


def rolled_out(obj: Json) -> bool:
    """As `kubectl rollout status` sees it."""
    state, wanted = obj.get("status") or {}, obj["spec"]["replicas"]
    counts = [state.get(each) for each in ("replicas", "updatedReplicas", "availableReplicas")]
    return state.get("observedGeneration") == obj["metadata"]["generation"] and counts == [wanted] * 3


async def test_47_a_deployment_rolls_over(
    api: Api, namespace: str, workloads: None, kubelet: Kubelet
) -> None:
    one = deployments(namespace, "web")
    (await api.post(deployments(namespace), deployment("web", 2))).ok(201)
    first = await kubelet.until(one, rolled_out)
    assert is_true(first, "Available")
    old = set(await kubelet.names())
    assert len(old) == 2
    (await api.patch(one, {"spec": {"template": {"metadata": {"annotations": {"v": "2"}}}}})).ok()
    done = await kubelet.until(one, lambda obj: rolled_out(obj) and obj["metadata"]["generation"] == 2)
    assert done["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2"
    progress = get_condition(done["status"]["conditions"], "Progressing")
    assert progress is not None
    assert progress["reason"] == "NewReplicaSetAvailable"
    sets = (await api.get(f"/apis/apps/v1/namespaces/{namespace}/replicasets")).ok()["items"]
    assert sorted(each["spec"]["replicas"] for each in sets) == [0, 2]
    assert {each["metadata"]["ownerReferences"][0]["uid"] for each in sets} == {done["metadata"]["uid"]}
    assert not old & set(await kubelet.names())


async def test_47_a_stateful_set_goes_in_order(
    api: Api, namespace: str, workloads: None, kubelet: Kubelet
) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/statefulsets"
    selector = {"matchLabels": {"app": "x"}}
    spec = {"serviceName": "s", "replicas": 2, "selector": selector, "template": template()}
    (await api.post(path, {"metadata": {"name": "s"}, "spec": spec})).ok(201)

    async def first() -> bool:
        state = (await api.get(f"{path}/s")).ok().get("status") or {}
        return state.get("replicas") == 1 and await kubelet.names() == ["s-0"]

    await eventually(first)
    done = await kubelet.until(f"{path}/s", lambda obj: (obj.get("status") or {}).get("readyReplicas") == 2)
    assert done["status"]["currentRevision"]
    assert await kubelet.names() == ["s-0", "s-1"]


async def test_47_a_job_counts_what_succeeds(
    api: Api, namespace: str, workloads: None, kubelet: Kubelet
) -> None:
    path = f"/apis/batch/v1/namespaces/{namespace}/jobs"
    spec = {"completions": 3, "parallelism": 2, "template": template(restartPolicy="Never")}
    (await api.post(path, {"metadata": {"name": "j"}, "spec": spec})).ok(201)
    done = await kubelet.until(f"{path}/j", lambda obj: is_true(obj, "Complete"), "Succeeded")
    assert done["status"]["succeeded"] == 3
    assert done["status"]["completionTime"] >= done["status"]["startTime"]


async def test_47_a_cron_job_makes_up_for_what_it_missed(api: Api, namespace: str, workloads: None) -> None:
    """Though one that a user has made by hand still runs: of those it is not in charge."""
    path = f"/apis/batch/v1/namespaces/{namespace}/cronjobs"
    work = f"/apis/batch/v1/namespaces/{namespace}/jobs"
    jobs = {"spec": {"template": template(restartPolicy="Never")}}
    spec = {"schedule": "0 0 1 1 *", "suspend": True, "concurrencyPolicy": "Forbid", "jobTemplate": jobs}
    made = (await api.post(path, {"metadata": {"name": "c"}, "spec": spec})).ok(201)
    owner = {"apiVersion": "batch/v1", "kind": "CronJob", "name": "c", "uid": made["metadata"]["uid"]}
    by_hand = {
        "name": "hand",
        "annotations": {"cronjob.kubernetes.io/instantiate": "manual"},
        "ownerReferences": [owner | {"controller": True}],
    }
    (await api.post(work, {"metadata": by_hand, **jobs})).ok(201)
    (await api.patch(f"{path}/c/status", {"status": {"lastScheduleTime": "2025-06-01T00:00:00Z"}})).ok()
    (await api.patch(f"{path}/c", {"spec": {"suspend": False}})).ok()

    async def told() -> bool:
        found = (await api.get(work)).ok()["items"]
        by_schedule = [each["metadata"]["name"] for each in found if each["metadata"]["name"] != "hand"]
        status = (await api.get(f"{path}/c")).ok()["status"]
        running = [each["name"] for each in status.get("active") or ()]
        last = status["lastScheduleTime"]
        return running == by_schedule and len(running) == 1 and last.endswith("-01-01T00:00:00Z")

    await eventually(told)


@pytest.fixture
async def nodes(api: Api, namespace: str) -> AsyncIterator[str]:
    """Two nodes that nobody runs, with a device each; they are labelled with the test's namespace."""
    names = [f"node-{secrets.token_hex(4)}" for _ in range(2)]
    room = {"cpu": "2", "memory": "1Gi", "pods": "10", "example.com/gpu": "1"}
    for name in names:
        made = await api.post(NODES, {"metadata": {"name": name, "labels": {"of": namespace}}})
        made.ok(201)
        conditions = [{"type": "Ready", "status": "True"}]
        state = {"capacity": room, "allocatable": room, "conditions": conditions}
        (await api.patch(f"{NODES}/{name}/status", {"status": state})).ok()
        (
            await api.patch(f"{NODES}/{name}", {"spec": {"taints": None}})
        ).ok()  # of a node that is not ready yet
    yield namespace
    for name in names:
        (await api.delete(f"{NODES}/{name}")).ok()


async def daemon_set_has(pods: int, api: Api, nodes: str, kubelet: Kubelet) -> None:
    path = f"/apis/apps/v1/namespaces/{nodes}/daemonsets"
    selector = {"matchLabels": {"app": "x"}}
    spec = {"selector": selector, "template": template(nodeSelector={"of": nodes})}
    (await api.post(path, {"metadata": {"name": "d"}, "spec": spec})).ok(201)

    async def there() -> bool:
        state = (await api.get(f"{path}/d")).ok().get("status") or {}
        return state.get("desiredNumberScheduled") == pods and len(await kubelet.names()) == pods

    await eventually(there)


async def test_47_a_daemon_set_has_a_pod_on_every_node(
    api: Api, nodes: str, workloads: None, kubelet: Kubelet
) -> None:
    await daemon_set_has(2, api, nodes, kubelet)


async def test_46_endpoints_follow_the_pods_of_a_service(
    api: Api, nodes: str, workloads: None, kubelet: Kubelet
) -> None:
    pods, core = f"/api/v1/namespaces/{nodes}/pods", f"/api/v1/namespaces/{nodes}"
    node = (await api.get(NODES, labelSelector=f"of={nodes}")).ok()["items"][0]["metadata"]["name"]
    container = {"name": "c", "image": "i", "ports": [{"name": "web", "containerPort": 8080}]}
    for name, address in (("a", "10.1.0.1"), ("b", "10.1.0.2")):
        spec = {"nodeName": node, "containers": [container], "terminationGracePeriodSeconds": 0}
        pod = {"metadata": {"name": name, "labels": {"app": "x"}}, "spec": spec}
        (await api.post(pods, pod)).ok(201)
        status = {"podIP": address, "podIPs": [{"ip": address}], "phase": "Pending"}
        (await api.patch(f"{pods}/{name}/status", {"status": status})).ok()
    ports = [{"port": 80, "targetPort": "web"}]
    service = {"metadata": {"name": "s"}, "spec": {"selector": {"app": "x"}, "ports": ports}}
    (await api.post(f"{core}/services", service)).ok(201)

    async def seen(expected: dict[str, bool]) -> None:
        async def check() -> bool:
            path = f"/apis/discovery.k8s.io/v1/namespaces/{nodes}/endpointslices"
            slices = (await api.get(path, labelSelector="kubernetes.io/service-name=s")).ok()["items"]
            found = [each for one in slices for each in one.get("endpoints") or ()]
            numbers = {port["port"] for one in slices for port in one.get("ports") or ()}
            told = {each["targetRef"]["name"]: each["conditions"]["ready"] for each in found}
            return told == expected and numbers == {8080}

        await eventually(check)

    await seen({"a": False, "b": False})
    await kubelet.say("Running")
    await seen({"a": True, "b": True})
    await api.delete(f"{pods}/a")
    await seen({"b": True})
    (subset,) = (await api.get(f"{core}/endpoints/s")).ok()["subsets"]
    assert [each["ip"] for each in subset["addresses"]] == ["10.1.0.2"]


async def test_47_a_daemon_set_wants_no_pod_on_a_node_that_keeps_it_off(
    api: Api, nodes: str, workloads: None, kubelet: Kubelet
) -> None:
    found = (await api.get(NODES, labelSelector=f"of={nodes}")).ok()["items"]
    taint = {"key": "example.com/kept", "effect": "NoSchedule"}
    (await api.patch(f"{NODES}/{found[0]['metadata']['name']}", {"spec": {"taints": [taint]}})).ok()
    await daemon_set_has(1, api, nodes, kubelet)


async def test_44_what_is_refused_again_and_again_is_one_event(
    api: Api, namespace: str, workloads: None
) -> None:
    spec = {"replicas": 3, "selector": {"matchLabels": {"app": "x"}}}
    spec["template"] = template(serviceAccountName="nobody")
    sets = f"/apis/apps/v1/namespaces/{namespace}/replicasets"
    (await api.post(sets, {"metadata": {"name": "refused"}, "spec": spec})).ok(201)

    async def counted() -> list[Json] | None:
        chosen = "involvedObject.name=refused,reason=FailedCreate"
        events = (await api.get(f"/api/v1/namespaces/{namespace}/events", fieldSelector=chosen)).ok()["items"]
        return events if sum(each["count"] for each in events) >= 3 else None

    (event,) = await eventually(counted)
    assert event["message"].startswith('Error creating: pods "refused-" is forbidden: error looking up')
    assert event["lastTimestamp"] >= event["firstTimestamp"]


async def test_48_a_device_is_given_once(api: Api, nodes: str, scheduler: None) -> None:
    path = f"/api/v1/namespaces/{nodes}/pods"
    limits = {"resources": {"limits": {"example.com/gpu": "1"}}}
    for name in ("a", "b", "c"):
        spec = {"containers": [{"name": "c", "image": "i", **limits}], "nodeSelector": {"of": nodes}}
        (await api.post(path, {"metadata": {"name": name}, "spec": spec})).ok(201)

    async def settled() -> list[Json] | None:
        pods: list[Json] = (await api.get(path)).ok()["items"]
        told = [get_condition(each["status"].get("conditions") or [], "PodScheduled") for each in pods]
        return pods if all(told) and sum(each["status"] == "False" for each in told if each) == 1 else None

    pods = await eventually(settled)
    assert len({each["spec"]["nodeName"] for each in pods if each["spec"].get("nodeName")}) == 2
    (waiting,) = (each for each in pods if not each["spec"].get("nodeName"))
    why = get_condition(waiting["status"]["conditions"], "PodScheduled")
    assert why is not None
    assert why["reason"] == "Unschedulable"
    assert "Insufficient example.com/gpu" in why["message"]


async def test_48_taints_keep_pods_off(api: Api, nodes: str, scheduler: None) -> None:
    path = f"/api/v1/namespaces/{nodes}/pods"
    found = (await api.get(NODES, labelSelector=f"of={nodes}")).ok()["items"]
    kept, free = (each["metadata"]["name"] for each in found)
    taint = {"key": "example.com/kept", "effect": "NoSchedule"}
    change = {"metadata": {"labels": {"kept": "yes"}}, "spec": {"taints": [taint]}}
    (await api.patch(f"{NODES}/{kept}", change)).ok()
    tolerations = [{"key": "example.com/kept", "operator": "Exists"}]
    for name, spec in (
        ("plain", template(nodeSelector={"of": nodes})["spec"]),
        ("tolerant", template(nodeSelector={"of": nodes, "kept": "yes"}, tolerations=tolerations)["spec"]),
    ):
        (await api.post(path, {"metadata": {"name": name}, "spec": spec})).ok(201)

    async def bound() -> dict[str, str] | None:
        pods = (await api.get(path)).ok()["items"]
        where = {each["metadata"]["name"]: each["spec"].get("nodeName", "") for each in pods}
        return where if all(where.values()) else None

    assert await eventually(bound) == {"plain": free, "tolerant": kept}
