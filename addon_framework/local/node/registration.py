"""The Node object and its lease.

https://kubernetes.io/docs/concepts/architecture/nodes/#node-heartbeats
"""

from __future__ import annotations

import asyncio
import os
import platform
import time
from pathlib import Path

import structlog

from addon_framework.api.conditions import get_condition
from addon_framework.api.core import LEASES, NODES
from addon_framework.api.meta import Json
from addon_framework.api.time import micro_time, now_rfc3339
from addon_framework.kube import ApiError, Client, NotFound
from addon_framework.local.node.config import NodeConfig

log = structlog.get_logger(__name__)
LEASE_NAMESPACE = "kube-node-lease"
LEASE_SECONDS = 40
VERSION = "v1.37.0+boundaryless"
_REPORT_SECONDS = 300.0
_CONDITIONS = (
    ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    ("Ready", "True", "KubeletReady", "pods run as sandboxed processes"),
)


def capacity(config: NodeConfig) -> dict[str, str]:
    """What the machine has, and what the configuration adds or overrides, such as GPUs."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1024
    disk = os.statvfs(Path.cwd())
    found = {
        "cpu": str(os.cpu_count() or 1),
        "memory": f"{memory}Ki",
        "ephemeral-storage": f"{disk.f_blocks * disk.f_frsize // 1024}Ki",
        "pods": "110",
    }
    return found | dict(config.capacity)


def node_object(name: str, config: NodeConfig, port: int) -> Json:
    """The Node as this kubelet registers it."""
    size = capacity(config)
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    labels = {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": machine,
        **config.labels,
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "status": {
            "capacity": size,
            "allocatable": size,
            "addresses": [
                {"type": "InternalIP", "address": config.address},
                {"type": "Hostname", "address": name},
            ],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
            "nodeInfo": {
                "architecture": machine,
                "operatingSystem": "linux",
                "kernelVersion": platform.release(),
                "osImage": "the machine the embedded fleet runs on",
                "containerRuntimeVersion": "process://bubblewrap",
                "kubeletVersion": VERSION,
                "kubeProxyVersion": VERSION,
                "machineID": "",
                "systemUUID": "",
                "bootID": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
            },
        },
    }


def _conditions(node: Json) -> list[Json]:
    """What the kubelet says of its node; the time of a change stays while nothing changes."""
    now, found = now_rfc3339(), []
    for kind, status, reason, message in _CONDITIONS:
        before = get_condition(node, kind) or {}
        since = before.get("lastTransitionTime") if before.get("status") == status else now
        said = {"type": kind, "status": status, "reason": reason, "message": message}
        found.append({**said, "lastHeartbeatTime": now, "lastTransitionTime": since})
    return found


async def register(client: Client, name: str, config: NodeConfig, port: int) -> None:
    """Creates the Node or brings it up to date; labels that others set stay."""
    wanted = node_object(name, config, port)
    for attempt in range(60):
        try:
            try:
                node = await client.get(NODES, name)
            except NotFound:
                node = await client.create(NODES, wanted)
            await client.patch(NODES, name, {"metadata": {"labels": wanted["metadata"]["labels"]}})
            await client.patch(NODES, name, {"status": wanted["status"]}, subresource="status")
            await _say(client, node)
            return
        except ApiError as error:
            if attempt == 59:
                raise
            log.debug("node not registered yet", reason=error.message)
            await asyncio.sleep(0.2)


async def keep_alive(client: Client, name: str) -> None:
    """Until cancelled, every ten seconds: the node's lease, and its conditions if they are old or another's.

    A node that was silent for long is told to be lost, and nobody but itself says that it is back.
    """
    said = time.monotonic()
    while True:
        try:
            await _renew_lease(client, name)
            node = await client.get(NODES, name)
            lost = any(
                (get_condition(node, kind) or {}).get("status") != state for kind, state, *_ in _CONDITIONS
            )
            if lost or time.monotonic() - said > _REPORT_SECONDS:
                await _say(client, node)
                said = time.monotonic()
        except ApiError as error:
            log.debug("lease not renewed", reason=error.message)
        await asyncio.sleep(LEASE_SECONDS / 4)


async def _say(client: Client, node: Json) -> None:
    body = {"status": {"conditions": _conditions(node)}}
    await client.patch(NODES, node["metadata"]["name"], body, kind="strategic", subresource="status")


async def _renew_lease(client: Client, name: str) -> None:
    lease: Json = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name, "namespace": LEASE_NAMESPACE},
        "spec": {
            "holderIdentity": name,
            "leaseDurationSeconds": LEASE_SECONDS,
            "renewTime": micro_time(),
        },
    }
    await client.apply(lease, field_manager="kubelet", resource=LEASES)
