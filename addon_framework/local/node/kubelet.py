"""The kubelet: pods of this node from the API to processes, and their status back."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import shutil
import subprocess
from collections.abc import Coroutine
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import structlog

from addon_framework.api.core import (
    CONFIGMAPS,
    EVENTS,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    PODS,
    SECRETS,
    SERVICEACCOUNTS,
    SERVICES,
)
from addon_framework.api.meta import Json
from addon_framework.api.time import now_rfc3339
from addon_framework.kube import ApiError, Client, Informer, Key, NotFound, merge_patch
from addon_framework.local.node.config import NodeConfig
from addon_framework.local.node.pod import PodWorker

log = structlog.get_logger(__name__)


class Addresses:
    """Pod IPs out of a network, each until its pod is gone."""

    def __init__(self, network: str) -> None:
        # The first few are left to the node itself.
        self._free = [str(address) for address in list(ipaddress.ip_network(network).hosts())[9:]]
        self._taken: dict[str, str] = {}

    def take(self, uid: str) -> str:
        """An address nobody has; the same for the same pod."""
        if uid not in self._taken:
            if not self._free:
                raise RuntimeError("the node has no free pod address left")
            self._taken[uid] = self._free.pop(0)
        return self._taken[uid]

    def release(self, uid: str) -> None:
        """To the end of the line, so that an address is not used again at once."""
        if address := self._taken.pop(uid, None):
            self._free.append(address)


class Kubelet:
    """Runs the pods that the scheduler gives to this node."""

    def __init__(self, client: Client, name: str, config: NodeConfig, directory: Path) -> None:
        self.client, self.name, self.config, self.directory = client, name, config, directory
        self.addresses = Addresses(config.addresses)
        self.hosts_file = directory / "hosts"
        self.workers: dict[str, PodWorker] = {}
        self._pods: Informer[Json] = Informer(client, PODS, field_selector=f"spec.nodeName={name}")
        sources = (CONFIGMAPS, SECRETS, PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, SERVICEACCOUNTS, SERVICES)
        self._sources: dict[str, Informer[Json]] = {r.plural: Informer(client, r) for r in sources}
        self._reports: asyncio.Queue[PodWorker] = asyncio.Queue()
        self._statuses: dict[str, Json] = {}
        self._events: asyncio.Queue[Json] = asyncio.Queue(maxsize=200)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._last_event: dict[tuple[str, str, str], float] = {}

    async def run(self) -> None:
        """Until cancelled; then the processes end and the objects stay."""
        self.prepare_host()
        try:
            async with asyncio.TaskGroup() as group:
                for informer in self._sources.values():
                    group.create_task(informer.run())
                for informer in self._sources.values():
                    await informer.synced()
                for plural in ("configmaps", "secrets", "persistentvolumeclaims", "persistentvolumes"):
                    self._sources[plural].on_event(self._source_changed)
                self._sources["services"].on_event(lambda old, new: self._write_hosts())
                self._write_hosts()
                group.create_task(self._send_reports())
                group.create_task(self._send_events())
                self._pods.on_event(self._pod_changed)
                group.create_task(self._pods.run())
        finally:
            await asyncio.gather(*(worker.shut_down() for worker in list(self.workers.values())))

    def prepare_host(self) -> None:
        """The directory that hostPath means, with mounts shared, and nothing left of an earlier life."""
        host = self.directory / "host"
        host.mkdir(parents=True, exist_ok=True)
        for leftover in ("pods", "logs"):
            self.remove_tree(self.directory / leftover)
        if os.geteuid() == 0 and not os.path.ismount(host):
            subprocess.run(["mount", "--bind", str(host), str(host)], check=True)
            subprocess.run(["mount", "--make-shared", str(host)], check=True)

    def remove_tree(self, directory: Path) -> None:
        """Removes a directory unless something is mounted in it, which would be somebody's data."""
        prefix = f"{directory}/"
        with open("/proc/self/mountinfo") as mounts:
            points = [line.split()[4] for line in mounts]
        for point in sorted((p for p in points if p.startswith(prefix)), key=len, reverse=True):
            subprocess.run(["umount", "--lazy", point], check=False, capture_output=True)
        shutil.rmtree(directory, ignore_errors=True)

    # What pods ask

    def lookup(self, kind: str, namespace: str, name: str) -> Json | None:
        """A ConfigMap or Secret."""
        return self._sources["configmaps" if kind == "configmap" else "secrets"].get(Key(namespace, name))

    def claim(self, namespace: str, name: str) -> Json | None:
        """The volume that a claim is bound to."""
        claim = self._sources["persistentvolumeclaims"].get(Key(namespace, name))
        if claim is None or (claim.get("status") or {}).get("phase") != "Bound":
            return None
        return self._sources["persistentvolumes"].get(Key("", claim["spec"].get("volumeName", "")))

    async def token(self, pod: Json, account: str, seconds: int, audience: str) -> str:
        """A service account's token that lives no longer than the pod."""
        metadata = pod["metadata"]
        spec: Json = {
            "expirationSeconds": max(seconds, 600),
            "audiences": [audience] if audience else [],
            "boundObjectRef": {
                "apiVersion": "v1",
                "kind": "Pod",
                "name": metadata["name"],
                "uid": metadata["uid"],
            },
        }
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        path = SERVICEACCOUNTS.path(metadata["namespace"], account, "token")
        answer = await self.client.request("POST", path, body=body)
        return str(answer["status"]["token"])

    def service_environment(self) -> dict[str, str]:
        """Where the API server is; the embedded fleet has no virtual address for it."""
        url = urlsplit(self.client.server)
        return {
            "KUBERNETES_SERVICE_HOST": url.hostname or "",
            "KUBERNETES_SERVICE_PORT": str(url.port or 443),
            "KUBERNETES_SERVICE_PORT_HTTPS": str(url.port or 443),
        }

    def background(self, work: Coroutine[Any, Any, Any]) -> None:
        """Runs something to its end that nobody waits for."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # Changes

    def _pod_changed(self, old: Json | None, new: Json | None) -> None:
        if new is None:
            # Deleted by force: the process must not outlive the object.
            assert old is not None
            if worker := self.workers.pop(old["metadata"]["uid"], None):
                self._statuses.pop(worker.uid, None)
                self.background(worker.shut_down())
            return
        uid = new["metadata"]["uid"]
        if worker := self.workers.get(uid):
            worker.update(new)
            return
        phase = (new.get("status") or {}).get("phase")
        if new["metadata"].get("deletionTimestamp"):
            self.background(self._delete(new["metadata"]))
        elif phase not in ("Succeeded", "Failed"):
            self.workers[uid] = PodWorker(self, new)

    def _source_changed(self, old: Json | None, new: Json | None) -> None:
        obj = new or old
        assert obj is not None
        namespace = obj["metadata"].get("namespace")
        for worker in self.workers.values():
            if namespace in (None, worker.namespace):
                worker.sources_changed()

    def _write_hosts(self) -> None:
        """Names of services, since there is no DNS. Written in place: containers have the file itself."""
        lines = ["127.0.0.1 localhost", "::1 localhost"]
        for service in self._sources["services"]:
            address = service["spec"].get("clusterIP")
            if address and address != "None":
                name = f"{service['metadata']['name']}.{service['metadata']['namespace']}"
                lines.append(f"{address} {name}.svc.cluster.local {name}.svc {name}")
        self.hosts_file.write_text("\n".join(lines) + "\n")

    # Back to the API

    def report(self, worker: PodWorker, status: Json) -> None:
        """Sends a pod's status soon; of several only the last."""
        if self._statuses.get(worker.uid) is None:
            self._reports.put_nowait(worker)
        self._statuses[worker.uid] = status

    async def gone(self, worker: PodWorker) -> None:
        """The processes have ended; the object may go."""
        self.workers.pop(worker.uid, None)
        self._statuses.pop(worker.uid, None)
        await self._delete(worker.pod["metadata"])

    async def _delete(self, metadata: Json) -> None:
        for attempt in range(8):
            try:
                await self.client.delete(
                    PODS, metadata["name"], metadata["namespace"], uid=metadata["uid"], grace_period=0
                )
                return
            except NotFound:
                return
            except ApiError as error:
                if error.status == 409:
                    return
                await asyncio.sleep(0.1 * 2**attempt)

    async def _send_reports(self) -> None:
        while True:
            worker = await self._reports.get()
            status = self._statuses.pop(worker.uid, None)
            if status is None:
                continue
            current = self._pods.get(Key(worker.namespace, worker.name))
            if current is None or current["metadata"]["uid"] != worker.uid:
                continue
            patch = merge_patch(current.get("status") or {}, status | _kept(current))
            if not patch:
                continue
            try:
                body: Json = {"metadata": {"uid": worker.uid}, "status": patch}
                await self.client.patch(PODS, worker.name, body, worker.namespace, subresource="status")
            except NotFound:
                continue
            except ApiError as error:
                log.debug("status not sent", pod=worker.name, reason=error.message)
                if self._statuses.get(worker.uid) is None:
                    self._statuses[worker.uid] = status
                    asyncio.get_running_loop().call_later(0.5, self._reports.put_nowait, worker)

    def event(self, pod: Json, kind: str, reason: str, message: str) -> None:
        """An Event on a pod; the same one at most once in ten seconds, and none when there are too many."""
        metadata = pod["metadata"]
        now = asyncio.get_running_loop().time()
        key = (metadata["uid"], reason, message[:100])
        if now - self._last_event.get(key, -100.0) < 10 or self._events.full():
            return
        self._last_event[key] = now
        stamp = now_rfc3339()
        self._events.put_nowait(
            {
                "apiVersion": "v1",
                "kind": "Event",
                "metadata": {"generateName": f"{metadata['name']}.", "namespace": metadata["namespace"]},
                "involvedObject": {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "name": metadata["name"],
                    "namespace": metadata["namespace"],
                    "uid": metadata["uid"],
                },
                "type": kind,
                "reason": reason,
                "message": message[:1024],
                "source": {"component": "kubelet", "host": self.name},
                "firstTimestamp": stamp,
                "lastTimestamp": stamp,
                "count": 1,
            }
        )

    async def _send_events(self) -> None:
        while True:
            event = await self._events.get()
            try:
                await self.client.create(EVENTS, event)
            except ApiError as error:
                log.debug("event not sent", reason=error.message)


def _kept(pod: Json) -> Json:
    """What others say in a pod's status, and conditions of other owners."""
    status = pod.get("status") or {}
    return {name: status[name] for name in ("qosClass", "nominatedNodeName") if name in status}
