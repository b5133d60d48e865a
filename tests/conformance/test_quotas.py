"""ResourceQuotas (50): what they are charged, what they refuse, and what they say of themselves."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

from addon_framework.api.meta import Json
from addon_framework.testing import eventually
from tests.conformance.api import Api
from tests.conformance.conftest import Define, Kubectl
from tests.conformance.limited import at, claim, container, limit, noticed, pod, refusal
from tests.conformance.objects import Custom, deployment, deployments

pytestmark = pytest.mark.usefixtures("controllers")
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
LEASES = "count/leases.coordination.k8s.io"


def service(name: str, kind: str = "ClusterIP", ports: int = 1, **spec: Any) -> Json:
    said = [{"name": f"p{number}", "port": 80 + number} for number in range(ports)]
    return {"metadata": {"name": name}, "spec": {"type": kind, "ports": said, **spec}}


async def restrict(api: Api, namespace: str, hard: Json, **spec: Any) -> None:
    """A quota that is counted, and that the server has taken notice of."""
    await quota(api, namespace, "quota", hard, **spec)
    await quota(api, namespace, "marker", {LEASES: "0"})
    leases = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
    await noticed(api, leases, {"metadata": {"name": "m"}})


async def quota(api: Api, namespace: str, name: str, hard: Json, **spec: Any) -> None:
    body = {"metadata": {"name": name}, "spec": {"hard": hard, **spec}}
    (await api.post(at(namespace, "resourcequotas"), body)).ok(201)

    async def counted() -> bool:
        found = (await api.get(at(namespace, "resourcequotas", name))).ok()
        return set(found["status"].get("used") or {}) == set(hard)

    await eventually(counted)


async def used(api: Api, namespace: str) -> Json:
    status: Json = (await api.get(at(namespace, "resourcequotas", "quota"))).ok()["status"]
    return dict(status["used"])


async def gets(api: Api, namespace: str, expected: Json) -> None:
    async def told() -> bool:
        return await used(api, namespace) == expected

    await eventually(told)


async def test_50_a_quota_is_charged_and_given_back(api: Api, namespace: str) -> None:
    hard = {
        "pods": "5", "count/pods": "5", "requests.cpu": "1", "cpu": "1", "limits.cpu": "2",
        "memory": "1Gi", "requests.nvidia.com/gpu": "4",
    }  # fmt: skip
    await restrict(api, namespace, hard)
    none = dict.fromkeys(hard, "0")
    assert await used(api, namespace) == none
    resources: dict[str, Json] = {
        "requests": {"cpu": "0.3", "memory": "100Mi"},
        "limits": {"cpu": "600m", "memory": "100Mi", "nvidia.com/gpu": "2"},
    }
    early = {"requests": {"cpu": "400m", "memory": "1Mi"}, "limits": {"cpu": "400m", "memory": "1Mi"}}
    body = pod("a", container("c", **resources), initContainers=[container("i", **early)])
    (await api.post(at(namespace, "pods"), body)).ok(201)
    one = {
        "pods": "1", "count/pods": "1", "requests.cpu": "400m", "cpu": "400m", "limits.cpu": "600m",
        "memory": "100Mi", "requests.nvidia.com/gpu": "2",
    }  # fmt: skip
    assert await used(api, namespace) == one
    (await api.post(at(namespace, "pods"), {**body, "metadata": {"name": "dry"}}, dryRun="All")).ok(201)
    assert await used(api, namespace) == one
    (await api.post(at(namespace, "pods"), {**body, "metadata": {"name": "b"}})).ok(201)
    third = await api.post(at(namespace, "pods"), {**body, "metadata": {"name": "third"}})
    assert refusal(third, "pods", "third") == (
        "exceeded quota: quota, requested: cpu=400m,requests.cpu=400m,requests.nvidia.com/gpu=2, "
        "used: cpu=800m,requests.cpu=800m,requests.nvidia.com/gpu=4, "
        "limited: cpu=1,requests.cpu=1,requests.nvidia.com/gpu=4"
    )
    (await api.delete(at(namespace, "pods", "a"), gracePeriodSeconds=0)).ok()
    await gets(api, namespace, one)
    # One that has ended is there still, and needs nothing.
    ended = {"status": {"phase": "Succeeded"}}
    (await api.patch(at(namespace, "pods", "b") + "/status", ended)).ok()
    await gets(api, namespace, {**none, "count/pods": "1"})


async def test_50_what_is_limited_must_be_said(api: Api, namespace: str) -> None:
    await restrict(api, namespace, {"limits.cpu": "2", "requests.memory": "1Gi", "pods": "9"})
    body = pod("p", container("a", requests={"memory": "1Mi"}), container("b"))
    assert refusal(await api.post(at(namespace, "pods"), body), "pods", "p") == (
        "failed quota: quota: must specify limits.cpu for: a,b; requests.memory for: b"
    )


async def test_50_many_at_once_never_exceed_a_quota(api: Api, namespace: str) -> None:
    await restrict(api, namespace, {"configmaps": "10"})
    there = int((await used(api, namespace))["configmaps"])  # the cluster's CA
    bodies = [{"metadata": {"name": f"m{number}"}} for number in range(30)]
    answers = await asyncio.gather(*(api.post(at(namespace, "configmaps"), body) for body in bodies))
    codes = [answer.code for answer in answers]
    assert codes.count(201) == 10 - there
    assert codes.count(403) == 20 + there
    await gets(api, namespace, {"configmaps": "10"})


SCOPED: dict[str, tuple[Json, Json, Json]] = {
    "terminating": ({"scopes": ["Terminating"]}, {"activeDeadlineSeconds": 60}, {}),
    "not terminating": ({"scopes": ["NotTerminating"]}, {}, {"activeDeadlineSeconds": 60}),
    "best effort": (
        {"scopes": ["BestEffort"]}, {}, {"containers": [container(requests={"cpu": "1m"})]},
    ),
    "not best effort": (
        {"scopes": ["NotBestEffort"]}, {"containers": [container(requests={"cpu": "1m"})]}, {},
    ),
    "any priority": (
        {"scopes": ["PriorityClass"]}, {"priorityClassName": "system-node-critical"}, {},
    ),
    "a priority": (
        {"scopeSelector": {"matchExpressions": [
            {"scopeName": "PriorityClass", "operator": "In", "values": ["system-node-critical"]},
        ]}},
        {"priorityClassName": "system-node-critical"}, {"priorityClassName": "system-cluster-critical"},
    ),
    "other priorities": (
        {"scopeSelector": {"matchExpressions": [
            {"scopeName": "PriorityClass", "operator": "NotIn", "values": ["system-node-critical"]},
        ]}},
        {}, {"priorityClassName": "system-node-critical"},
    ),
    "affinity": (
        {"scopes": ["CrossNamespacePodAffinity"]},
        {"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
            {"topologyKey": "zone", "namespaces": ["default"]},
        ]}}},
        {"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
            {"topologyKey": "zone"},
        ]}}},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SCOPED)
async def test_50_a_quota_is_for_the_pods_in_its_scope(api: Api, namespace: str, case: str) -> None:
    scope, within, without = SCOPED[case]
    await restrict(api, namespace, {"pods": "1"}, **scope)
    for name, spec in (("out", without), ("also-out", without), ("in", within)):
        (await api.post(at(namespace, "pods"), pod(name, **spec))).ok(201)
    refused = await api.post(at(namespace, "pods"), pod("more", **within))
    assert refusal(refused, "pods", "more") == (
        "exceeded quota: quota, requested: pods=1, used: pods=1, limited: pods=1"
    )
    assert await used(api, namespace) == {"pods": "1"}


@pytest.mark.parametrize(
    ("hard", "scopes", "why"),
    [
        ("cpu", ["BestEffort"], "unsupported scope applied to resource"),
        ("services", ["Terminating"], "unsupported scope applied to resource"),
        ("pods", ["BestEffort", "NotBestEffort"], "conflicting scopes"),
    ],
)
async def test_50_scopes_are_of_what_is_limited(
    api: Api, namespace: str, hard: str, scopes: list[str], why: str
) -> None:
    body = {"metadata": {"name": "q"}, "spec": {"hard": {hard: "1"}, "scopes": scopes}}
    said = (await api.post(at(namespace, "resourcequotas"), body)).is_status(422, "Invalid")
    (cause,) = said["details"]["causes"]
    assert cause["field"] == "spec.scopes"
    assert cause["message"].endswith(why)


async def test_50_services_are_charged_when_their_type_changes(api: Api, namespace: str) -> None:
    await restrict(
        api, namespace, {"services": "3", "services.loadbalancers": "1", "services.nodeports": "3"}
    )
    services = at(namespace, "services")
    (await api.post(services, service("plain", ports=2))).ok(201)
    (await api.post(services, service("node", "NodePort", ports=2))).ok(201)
    assert await used(api, namespace) == {
        "services": "2", "services.loadbalancers": "0", "services.nodeports": "2",
    }  # fmt: skip
    changed = await api.patch(f"{services}/plain", {"spec": {"type": "LoadBalancer"}})
    assert refusal(changed, "services", "plain") == (
        "exceeded quota: quota, requested: services.nodeports=2, used: services.nodeports=2, "
        "limited: services.nodeports=3"
    )
    (await api.patch(f"{services}/node", {"spec": {"type": "ClusterIP"}})).ok()
    await gets(api, namespace, {"services": "2", "services.loadbalancers": "0", "services.nodeports": "0"})
    bare = service("bare", "LoadBalancer", 2, allocateLoadBalancerNodePorts=False)
    (await api.post(services, bare)).ok(201)
    assert await used(api, namespace) == {
        "services": "3", "services.loadbalancers": "1", "services.nodeports": "0",
    }  # fmt: skip


async def test_50_claims_are_charged_by_their_class(api: Api, namespace: str) -> None:
    gold = "gold.storageclass.storage.k8s.io/"
    hard = {
        "persistentvolumeclaims": "4", "requests.storage": "10Gi",
        f"{gold}requests.storage": "2Gi", f"{gold}persistentvolumeclaims": "3",
    }  # fmt: skip
    await restrict(api, namespace, hard)
    claims = at(namespace, "persistentvolumeclaims")
    (await api.post(claims, claim("plain", "5Gi"))).ok(201)
    (await api.post(claims, claim("fine", "1500Mi", "gold"))).ok(201)
    assert await used(api, namespace) == {
        "persistentvolumeclaims": "2", "requests.storage": "6620Mi",
        f"{gold}requests.storage": "1500Mi", f"{gold}persistentvolumeclaims": "1",
    }  # fmt: skip
    assert refusal(
        await api.post(claims, claim("more", "1Gi", "gold")), "persistentvolumeclaims", "more"
    ) == (
        f"exceeded quota: quota, requested: {gold}requests.storage=1Gi, "
        f"used: {gold}requests.storage=1500Mi, limited: {gold}requests.storage=2Gi"
    )


async def test_50_objects_of_any_kind_are_counted(api: Api, namespace: str, define: Define) -> None:
    custom = await define(Custom({}))
    name = f"count/{custom.name}"
    await quota(api, namespace, "quota", {"secrets": "0"})
    changes = itertools.count(1)

    # A real server looks for new kinds every half minute, and counts them in quotas that change.
    async def counted() -> bool:
        hard = {name: "2", "secrets": str(next(changes))}
        (await api.patch(at(namespace, "resourcequotas", "quota"), {"spec": {"hard": hard}})).ok()
        return name in await used(api, namespace)

    await eventually(counted, timeout=90)
    for each in ("first", "second"):
        (await api.post(custom.path(namespace), custom.object(each))).ok(201)
    more = await api.post(custom.path(namespace), custom.object("third"))
    assert more.is_status(403, "Forbidden")["message"] == (
        f'{custom.name} "third" is forbidden: exceeded quota: quota, requested: {name}=1, '
        f"used: {name}=2, limited: {name}=2"
    )
    (await api.delete(custom.path(namespace, "first"))).ok()

    async def given_back() -> bool:
        return bool((await used(api, namespace))[name] == "1")

    await eventually(given_back)


async def test_50_deployments_are_counted(api: Api, namespace: str) -> None:
    name = "count/deployments.apps"
    await restrict(api, namespace, {name: "1"})
    (await api.post(deployments(namespace), deployment("a"))).ok(201)
    assert (await api.post(deployments(namespace), deployment("b"))).is_status(403, "Forbidden")[
        "message"
    ] == (
        f'deployments.apps "b" is forbidden: exceeded quota: quota, requested: {name}=1, '
        f"used: {name}=1, limited: {name}=1"
    )
    (await api.delete(deployments(namespace, "a"))).ok()
    await gets(api, namespace, {name: "0"})


async def test_50_a_quota_that_is_changed_is_counted_anew(api: Api, namespace: str) -> None:
    await restrict(api, namespace, {"pods": "1"})
    (await api.post(at(namespace, "pods"), pod("a"))).ok(201)
    path = at(namespace, "resourcequotas", "quota")
    (await api.patch(path, {"spec": {"hard": {"pods": "0", "services": "3"}}})).ok()

    async def counted() -> bool:
        status = (await api.get(path)).ok()["status"]
        return bool(
            status == {"hard": {"pods": "0", "services": "3"}, "used": {"pods": "1", "services": "0"}}
        )

    await eventually(counted)


async def test_50_kubectl_describes_quotas_and_limits(api: Api, namespace: str, kubectl: Kubectl) -> None:
    await restrict(api, namespace, {"limits.cpu": "2", "pods": "3", "requests.memory": "1Gi"})
    item = {"type": "Container", "max": {"cpu": "1"}, "default": {"memory": "128Mi"}}
    await limit(api, namespace, item)
    (await api.post(at(namespace, "pods"), pod("a"))).ok(201)
    words = (await kubectl("describe", "quota", "quota", "-n", namespace)).split()
    assert words[words.index("limits.cpu") :] == [
        "limits.cpu", "1", "2", "pods", "1", "3", "requests.memory", "128Mi", "1Gi",
    ]  # fmt: skip
    words = (await kubectl("describe", "limits", "limits", "-n", namespace)).split()
    cpu = ["Container", "cpu", "-", "1", "1", "1", "-"]
    memory = ["Container", "memory", "-", "-", "128Mi", "128Mi", "-"]
    rows = words[words.index("PersistentVolumeClaim") + 7 :]
    assert rows in (cpu + memory, memory + cpu)
    told = await kubectl("describe", "ns", namespace)
    assert "Resource Quotas" in told
    assert "Resource Limits" in told
    table = (await api.get(at(namespace, "resourcequotas", "quota"), accept=TABLE)).ok()
    columns = [column["name"] for column in table["columnDefinitions"]]
    row = dict(zip(columns, table["rows"][0]["cells"], strict=True))
    assert row["Request"] == "pods: 1/3, requests.memory: 128Mi/1Gi"
    assert row["Limit"] == "limits.cpu: 1/2"
