"""Who may go where, and who has to make room."""

from __future__ import annotations

from addon_framework.api.conditions import get_condition
from addon_framework.api.core import EVENTS, PODS
from addon_framework.api.meta import Json, Resource

from .cluster import Cluster

CLASSES = Resource("scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", namespaced=False)
BOTH_GPUS = {"resources": {"limits": {"nvidia.com/gpu": "2"}}}


async def waits(cluster: Cluster, name: str, reason: str) -> Json:
    def refused(found: Json) -> bool:
        return (get_condition(found, "PodScheduled") or {}).get("reason") == reason

    return await cluster.wait(PODS, name, refused, reason)


async def test_a_gate_holds_a_pod_back(cluster: Cluster) -> None:
    await cluster.pod("gated", "sleep 600", schedulingGates=[{"name": "example.org/budget"}])
    await waits(cluster, "gated", "SchedulingGated")
    assert "SchedulingGated" in await cluster.kubectl("get", "pod", "gated")
    await cluster.client.patch(PODS, "gated", {"spec": {"schedulingGates": None}}, cluster.namespace)
    await cluster.running("gated")


async def test_a_port_of_the_host_is_one_pods_only(cluster: Cluster) -> None:
    port = {"ports": [{"containerPort": 8080, "hostPort": 23456}]}
    await cluster.pod("first", "sleep 600", container=port)
    await cluster.running("first")
    await cluster.pod("second", "sleep 600", container=port)
    second = await waits(cluster, "second", "Unschedulable")
    assert "didn't have free ports" in str(get_condition(second, "PodScheduled"))
    await cluster.client.delete(PODS, "first", cluster.namespace)
    await cluster.running("second")


async def test_a_pod_of_a_higher_priority_takes_the_place_of_a_lower_one(cluster: Cluster) -> None:
    for name, value in (("high", 1000), ("polite", 500)):
        kind = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass"}
        metadata = {"name": f"{cluster.namespace}-{name}"}
        policy = "Never" if name == "polite" else "PreemptLowerPriority"
        await cluster.create({**kind, "metadata": metadata, "value": value, "preemptionPolicy": policy})
    try:
        await cluster.pod("low", "sleep 600", container=BOTH_GPUS)
        await cluster.running("low")
        polite = f"{cluster.namespace}-polite"
        await cluster.pod("polite", "sleep 600", container=BOTH_GPUS, priorityClassName=polite)
        await waits(cluster, "polite", "Unschedulable")
        high = f"{cluster.namespace}-high"
        await cluster.pod("high", "sleep 600", container=BOTH_GPUS, priorityClassName=high)
        await cluster.gone(PODS, "low")
        await cluster.running("high")
        events = (await cluster.client.list(EVENTS, cluster.namespace))["items"]
        preempted = [e["involvedObject"]["name"] for e in events if e["reason"] == "Preempted"]
        assert preempted == ["low"]
    finally:
        for name in ("high", "polite"):
            await cluster.client.delete(CLASSES, f"{cluster.namespace}-{name}")
