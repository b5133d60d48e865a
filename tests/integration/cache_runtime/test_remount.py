"""A FUSE client that dies is mounted again under the pods that use it, and they do not restart."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
from pathlib import Path

import pytest

from addon_framework.api.core import EVENTS, PODS
from addon_framework.api.meta import Json
from addon_framework.testing import eventually
from tests.integration.cache_runtime.fleet import DATALOADS, DATASETS, Fleet

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="FUSE needs root")
FILES = {"config.json": b"in the root", "deep/b.txt": b"in a directory"}
# The number of each attempt, so that what is read after a death is told from what was read before.
READ = """
n=0
while true; do
  n=$((n+1)); sleep 0.2
  echo "$n a $(md5sum < /whole/config.json || echo dead)"
  echo "$n b $(md5sum < /part/b.txt || echo dead)"
done
"""


def user(claim: str) -> Json:
    """A pod that reads for ever: one container mounts all, by default without propagation, and a subPath."""
    mounts: list[Json] = [
        {"name": "model", "mountPath": "/whole", "readOnly": True},
        {"name": "model", "mountPath": "/part", "subPath": "deep", "readOnly": True},
    ]
    container: Json = {
        "name": "main",
        "image": "busybox",
        "command": ["sh", "-c", READ],
        "volumeMounts": mounts,
    }
    volume = {"name": "model", "persistentVolumeClaim": {"claimName": claim, "readOnly": True}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"reader-{claim}"},
        "spec": {"containers": [container], "volumes": [volume], "terminationGracePeriodSeconds": 1},
    }


class Reader:
    """What the pod saw."""

    def __init__(self, fleet: Fleet, name: str) -> None:
        self.fleet, self.name = fleet, name
        self.sums = tuple(hashlib.md5(content).hexdigest() for content in FILES.values())
        self.since = 0

    async def attempts(self) -> dict[int, list[str]]:
        """By number."""
        text = await self.fleet.client.text(PODS.path(self.fleet.namespace, self.name, "log"))
        found: dict[int, list[str]] = {}
        for line in text.splitlines():
            if line[:1].isdigit():
                number, _, answer = line.split()[:3]
                found.setdefault(int(number), []).append(answer)
        return found

    async def reads(self) -> bool:
        """Whether the newest attempts since the last mark give the right bytes."""
        seen = await self.attempts()
        return any(n > self.since and tuple(answers) == self.sums for n, answers in seen.items())

    async def mark(self) -> None:
        """From now on."""
        self.since = max(await self.attempts(), default=0)

    async def restarts(self) -> int:
        """Of the container."""
        pod = await self.fleet.client.get(PODS, self.name, self.fleet.namespace)
        return int(pod["status"]["containerStatuses"][0]["restartCount"])


async def started(fleet: Fleet, kind: str, spec: Json) -> Reader:
    """A bound Dataset, and a pod that reads it."""
    for path, content in FILES.items():
        fleet.store.client().put_object(Bucket="models", Key=f"deep/{path}", Body=content)
    await fleet.secret()
    await fleet.create(
        fleet.dataset("llama", source="s3://models/deep"), fleet.runtime(kind, "llama", **spec)
    )
    if kind == "juicefs":
        await fleet.create(fleet.load("llama"))
        await fleet.phase(DATALOADS, "llama", "Complete")
    await fleet.phase(DATASETS, "llama", "Bound")
    pod = user("llama")
    pod["metadata"]["namespace"] = fleet.namespace
    await fleet.create(pod)
    await fleet.phase(PODS, "reader-llama", "Running")
    reader = Reader(fleet, "reader-llama")
    await eventually(reader.reads)
    return reader


def lives(client: Json) -> tuple[str, int]:
    """Which pod, and how often its client has started."""
    status = (client["status"].get("containerStatuses") or [{}])[0]
    return client["metadata"]["uid"], int(status.get("restartCount") or 0) if status.get("ready") else -1


async def came_back(fleet: Fleet, before: tuple[str, int]) -> bool:
    """Whether there is a client that is ready and is not the one of before."""
    now = lives(await client_pod(fleet))
    return now != before and now[1] >= 0


async def client_pod(fleet: Fleet) -> Json:
    selector = f"data.boundaryless.io/role=client,data.boundaryless.io/dataset-namespace={fleet.namespace}"
    pods = (await fleet.client.list(PODS, fleet.namespace, label_selector=selector))["items"]
    pods = [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]
    assert len(pods) == 1
    return dict(pods[0])


@pytest.mark.parametrize(
    ("kind", "spec", "program"),
    [
        pytest.param("thin", {"profileName": "s3fs"}, "s3fs", id="s3fs"),
        pytest.param("thin", {"profileName": "rclone"}, "rclone", id="rclone"),
        pytest.param("juicefs", {}, "juicefs", id="juicefs"),
    ],
)
async def test_a_killed_client_comes_back_under_its_users(
    fleet: Fleet, kind: str, spec: Json, program: str
) -> None:
    reader = await started(fleet, kind, spec)
    for _ in range(2):  # the second time the dead mount is one that was carried there
        before = lives(await client_pod(fleet))
        killed = processes_with(program, f"/var/lib/boundaryless/mounts/{fleet.namespace}/llama")
        assert killed
        for pid in killed:
            with contextlib.suppress(ProcessLookupError):  # one of two may end with the other
                os.kill(pid, signal.SIGKILL)
        await eventually(lambda b=before: came_back(fleet, b))
        await reader.mark()
        await eventually(reader.reads)
    assert await reader.restarts() == 0

    async def told() -> bool:
        events = (await fleet.client.list(EVENTS, fleet.namespace))["items"]
        return any(
            e["reason"] == "FuseRecoverSucceed" and e["involvedObject"]["name"] == "llama" for e in events
        )

    await eventually(told)


async def test_a_deleted_client_pod_comes_back_under_its_users(fleet: Fleet) -> None:
    reader = await started(fleet, "thin", {"profileName": "s3fs"})
    before = await client_pod(fleet)
    await fleet.delete(PODS, before["metadata"]["name"])
    await eventually(lambda: came_back(fleet, lives(before)))
    await reader.mark()
    await eventually(reader.reads)
    assert await reader.restarts() == 0


def processes_with(program: str, mount_point: str) -> list[int]:
    """Processes of a program that were told to mount there; some rewrite their arguments."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                name, told = (entry / "comm").read_text().strip(), (entry / "environ").read_bytes()
            except OSError:
                continue
            if name == program and f"MOUNT_POINT={mount_point}\0".encode() in told:
                found.append(int(entry.name))
    return found
