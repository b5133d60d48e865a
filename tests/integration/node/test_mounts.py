"""Mounts that reach other pods and the host, as FUSE clients make them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from addon_framework.api.core import PODS
from addon_framework.kube import ApiError
from addon_framework.testing import eventually

from .cluster import PYTHON_IMAGE, Cluster

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")]


def mount(path: str, propagation: str) -> list[dict[str, str]]:
    return [{"name": "shared", "mountPath": path, "mountPropagation": propagation}]


def volume(cluster: Cluster) -> list[dict[str, object]]:
    path = f"/var/lib/boundaryless/mounts/{cluster.namespace}"
    return [{"name": "shared", "hostPath": {"path": path, "type": "DirectoryOrCreate"}}]


def host_mounts(cluster: Cluster) -> list[str]:
    table = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line.split()[4] for line in table if f"/{cluster.namespace}/" in line]


async def test_a_mount_reaches_a_pod_that_runs_already_and_again_when_it_is_made_anew(
    cluster: Cluster,
) -> None:
    reader = (
        "until grep -qs one /data/m/file; do sleep 0.05; done; echo one; "
        "until grep -qs two /data/m/file; do sleep 0.05; done; echo two; sleep 1000"
    )
    await cluster.pod(
        "reader",
        reader,
        container={"volumeMounts": mount("/data", "HostToContainer")},
        volumes=volume(cluster),
    )
    await cluster.running("reader")
    for name in ("one", "two"):
        writer = (
            "trap 'until umount /mnt/x/m; do sleep 0.05; done; exit' TERM; "  # it may just be read
            "mkdir -p /mnt/x/m; mount -t tmpfs none /mnt/x/m; "
            f"echo {name} > /mnt/x/m/file; while :; do sleep 0.05; done"
        )
        await cluster.pod(
            f"writer-{name}",
            writer,
            container={
                "securityContext": {"privileged": True},
                "volumeMounts": mount("/mnt/x", "Bidirectional"),
            },
            volumes=volume(cluster),
            terminationGracePeriodSeconds=5,
        )
        await eventually(lambda name=name: _said(cluster, "reader", name))
        assert host_mounts(cluster)
        await cluster.client.delete(PODS, f"writer-{name}", cluster.namespace)
        await cluster.gone(PODS, f"writer-{name}")
        assert not host_mounts(cluster)


async def _said(cluster: Cluster, pod: str, word: str) -> bool:
    try:
        return word in (await cluster.logs(pod)).split()
    except ApiError:  # it has not started
        return False


async def test_without_propagation_a_mount_stays_in_its_pod(cluster: Cluster) -> None:
    script = "mount -t tmpfs none /data && mount | grep -c ' /data '"
    await cluster.pod(
        "alone",
        script,
        container={
            "securityContext": {"privileged": True},
            "volumeMounts": [{"name": "shared", "mountPath": "/data"}],
        },
        volumes=volume(cluster),
        restartPolicy="Never",
    )
    await cluster.output("alone")
    assert not host_mounts(cluster)


async def test_who_is_not_privileged_cannot_mount(cluster: Cluster) -> None:
    await cluster.pod("plain", "mount -t tmpfs none /mnt && echo mounted", restartPolicy="Never")
    assert "mounted" not in (await cluster.output("plain")).split()


async def test_a_fuse_client_that_was_killed_is_replaced(cluster: Cluster) -> None:
    """JuiceFS, with its data in a directory: the mount of the first client is dead when the second comes."""
    at = "/var/lib/fs"
    client = (
        f"set -e; cd /tmp; [ -e {at}/meta.db ] || juicefs format --storage file --bucket {at}/objects "
        f"sqlite3://{at}/meta.db demo; mkdir -p {at}/m || true; "
        f"juicefs mount --foreground --no-usage-report sqlite3://{at}/meta.db {at}/m"
    )
    mounted = cluster.node.host / f"var/lib/boundaryless/mounts/{cluster.namespace}/m"
    await cluster.pod(
        "reader",
        "until grep by /data/m/first; do sleep 0.05; done 2>/dev/null; "
        "until grep by /data/m/second; do sleep 0.05; done 2>/dev/null",
        container={"volumeMounts": mount("/data", "HostToContainer")},
        volumes=volume(cluster),
        restartPolicy="Never",
    )
    for name in ("first", "second"):
        await cluster.pod(
            name,
            client,
            container={
                "image": PYTHON_IMAGE,
                "securityContext": {"privileged": True},
                "volumeMounts": [*mount(at, "Bidirectional"), {"name": "fuse", "mountPath": "/dev/fuse"}],
            },
            volumes=[
                *volume(cluster),
                {"name": "fuse", "hostPath": {"path": "/dev/fuse", "type": "CharDevice"}},
            ],
            restartPolicy="Never",
        )
        await eventually(lambda name=name: _write(mounted / name), swallow=OSError)
        if name == "first":
            await eventually(lambda: _said(cluster, "reader", "first"))
            await cluster.client.delete(PODS, name, cluster.namespace, grace_period=0)
            await cluster.gone(PODS, name)
    assert await cluster.output("reader") == "by first\nby second\n"


def _write(path: Path) -> bool:
    """Into JuiceFS, whose root is inode 1, and not below it."""
    if not path.parent.is_mount() or path.parent.stat().st_ino != 1:
        return False
    path.write_text(f"by {path.name}\n")
    return True


async def test_a_container_whose_volume_has_gone_is_made_once_it_is_back(
    cluster: Cluster,
) -> None:
    """An engine cannot make a directory where a link is: the pod has not failed, though it never restarts."""
    parent = f"/var/lib/boundaryless/mounts/{cluster.namespace}"
    there = {"name": "there", "hostPath": {"path": f"{parent}/there", "type": "DirectoryOrCreate"}}
    taking = {
        "name": "taking",
        "image": PYTHON_IMAGE,
        "command": ["sh", "-c", "rmdir /parent/there && ln -s later /parent/there"],
        "volumeMounts": [{"name": "shared", "mountPath": "/parent"}],
    }
    await cluster.pod(
        "reader",
        "cat /data/file",
        container={"volumeMounts": [{"name": "there", "mountPath": "/data"}]},
        volumes=[*volume(cluster), there],
        initContainers=[taking],
        restartPolicy="Never",
    )

    async def waits() -> bool:
        pod = await cluster.client.get(PODS, "reader", cluster.namespace)
        state = ((pod.get("status") or {}).get("containerStatuses") or [{}])[0].get("state") or {}
        return (state.get("waiting") or {}).get("reason") == "CreateContainerError"

    await eventually(waits)
    back = cluster.node.host / f"{parent}/later".lstrip("/")
    back.mkdir()
    (back / "file").write_text("here\n")
    assert await cluster.output("reader") == "here\n"
