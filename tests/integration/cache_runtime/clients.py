"""FUSE clients, and pods that go on reading through them while they die and come back."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
from pathlib import Path

from addon_framework.api.core import PODS
from addon_framework.api.meta import Json
from addon_framework.testing import eventually
from tests.integration.cache_runtime.fleet import Fleet

FILES = {"config.json": b"in the root", "deep/b.txt": b"in a directory"}  # what a reader reads
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


async def reading(fleet: Fleet, claim: str) -> Reader:
    """Once its pod reads."""
    pod = user(claim)
    pod["metadata"]["namespace"] = fleet.namespace
    await fleet.create(pod)
    await fleet.phase(PODS, f"reader-{claim}", "Running")
    reader = Reader(fleet, f"reader-{claim}")
    await eventually(reader.reads)
    return reader


def lives(client: Json) -> tuple[str, int]:
    """Which pod, and how often its client has started."""
    said = {each["name"]: each for each in client["status"].get("containerStatuses") or []}
    status = said.get(client["spec"]["containers"][0]["name"]) or {}
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


def processes_with(program: str, mount_point: str) -> list[int]:
    """Processes of a program that were told to mount there; some rewrite their arguments."""
    return processes_told(program, f"MOUNT_POINT={mount_point}")


def processes_told(program: str, word: str) -> list[int]:
    """Processes of a program with this in their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                name, told = (entry / "comm").read_text().strip(), (entry / "environ").read_bytes()
            except OSError:
                continue
            if name == program and f"{word}\0".encode() in told:
                found.append(int(entry.name))
    return found


async def survives_kills(fleet: Fleet, reader: Reader, dataset: str, program: str) -> None:
    """Kills the Dataset's client twice: the second time the dead mount is one that was carried there."""
    for _ in range(2):
        before = lives(await client_pod(fleet))
        killed = processes_with(program, f"/var/lib/boundaryless/mounts/{fleet.namespace}/{dataset}")
        assert killed
        for pid in killed:
            with contextlib.suppress(ProcessLookupError):  # one of two may end with the other
                os.kill(pid, signal.SIGKILL)
        await eventually(lambda b=before: came_back(fleet, b))
        await reader.mark()
        await eventually(reader.reads)
    assert await reader.restarts() == 0
