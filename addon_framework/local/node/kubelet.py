"""The kubelet: pods of this node from the API to processes, and their status back."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Coroutine
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import structlog

from addon_framework.api.core import (
    CONFIGMAPS,
    ENDPOINTSLICES,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    PODS,
    SECRETS,
    SERVICEACCOUNTS,
    SERVICES,
)
from addon_framework.api.meta import Json
from addon_framework.api.time import now_rfc3339
from addon_framework.kube import Client, Informer, Key
from addon_framework.local.events import Recorder
from addon_framework.local.node.cgroups import Cgroups
from addon_framework.local.node.config import NodeConfig
from addon_framework.local.node.environment import service_variables
from addon_framework.local.node.hosts import service_lines
from addon_framework.local.node.logs import LogFile
from addon_framework.local.node.mounts import remove_tree, share, unmount_all
from addon_framework.local.node.pod import PodWorker
from addon_framework.local.node.podstatus import statuses_of
from addon_framework.local.node.registration import capacity
from addon_framework.local.node.reports import Reports
from addon_framework.local.node.sandbox import end_sandboxes
from addon_framework.local.node.volumes import memory_directory
from addon_framework.local.workloads.fit import lacking
from addon_framework.local.workloads.pods import has_ended

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
        self.host = directory / "host"
        self.memory = memory_directory(directory)
        self.capacity = capacity(config)
        self.hidden = [*config.hidden, str(directory)]  # other pods' volumes and logs among it
        self.cgroups = Cgroups.find(directory)
        self.addresses = Addresses(config.addresses)
        self.recorder = Recorder(client, "kubelet", name)
        self.workers: dict[str, PodWorker] = {}
        self._pods: Informer[Json] = Informer(client, PODS, field_selector=f"spec.nodeName={name}")
        sources = (
            CONFIGMAPS, SECRETS, PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, SERVICEACCOUNTS, SERVICES,
            ENDPOINTSLICES,
        )  # fmt: skip
        self._sources: dict[str, Informer[Json]] = {r.plural: Informer(client, r) for r in sources}
        self._reports = Reports(client)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._hosts_timer: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        """Until cancelled; then the processes end and the objects stay."""
        self._prepare_host()
        try:
            async with asyncio.TaskGroup() as group:
                for informer in self._sources.values():
                    group.create_task(informer.run())
                for informer in self._sources.values():
                    await informer.synced()
                for plural in ("configmaps", "secrets", "persistentvolumeclaims", "persistentvolumes"):
                    self._sources[plural].on_event(self._source_changed)
                for plural in ("services", "endpointslices"):
                    self._sources[plural].on_event(self._names_changed)
                group.create_task(self._reports.run())
                group.create_task(self.recorder.run())
                self._pods.on_event(self._pod_changed)
                group.create_task(self._pods.run())
                await self._pods.synced()
                self._remove_old_logs()
        finally:
            await asyncio.gather(*(worker.shut_down() for worker in list(self.workers.values())))
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self._tidy()
            self.cgroups.remove()

    def _prepare_host(self) -> None:
        """Nothing is left of an earlier life; mounts in hostPaths and in pods' volumes are shared."""
        end_sandboxes(self.directory / "pods")
        self._tidy()
        share(self.host)
        share(self.directory / "pods")

    def _tidy(self) -> None:
        """What pods mounted on the host goes with the node: without their processes it is dead."""
        unmount_all(self.host)
        remove_tree(self.directory / "pods")
        remove_tree(self.memory)

    def _remove_old_logs(self) -> None:
        present = {self.log_directory(pod).name for pod in self._pods}
        logs = self.directory / "logs"
        for leftover in logs.iterdir() if logs.exists() else ():
            if leftover.name not in present:
                remove_tree(leftover)

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

    def service_environment(self, pod: Json) -> dict[str, str]:
        """Where the services are; the embedded fleet has no virtual address for the API server."""
        url = urlsplit(self.client.server)
        found: dict[str, str] = {}
        if pod["spec"].get("enableServiceLinks", True):
            for service in self._sources["services"].in_namespace(pod["metadata"]["namespace"]):
                found |= service_variables(service)
        return found | {
            "KUBERNETES_SERVICE_HOST": url.hostname or "",
            "KUBERNETES_SERVICE_PORT": str(url.port or 443),
            "KUBERNETES_SERVICE_PORT_HTTPS": str(url.port or 443),
        }

    def host_lines(self, namespace: str) -> str:
        """The names that pods of a namespace see."""
        return service_lines(self._sources["services"], self._sources["endpointslices"], namespace)

    def background(self, work: Coroutine[Any, Any, Any]) -> None:
        """Runs something to its end that nobody waits for."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # What people ask

    def worker(self, namespace: str, name: str) -> PodWorker | None:
        """Who runs a pod."""
        pod = self._pods.get(Key(namespace, name))
        return self.workers.get(pod["metadata"]["uid"]) if pod else None

    def log_directory(self, pod: Json) -> Path:
        """Where a pod's logs are, as kubelets name it."""
        metadata = pod["metadata"]
        return self.directory / "logs" / f"{metadata['namespace']}_{metadata['name']}_{metadata['uid']}"

    def find_log(
        self, namespace: str, name: str, container: str, *, previous: bool
    ) -> tuple[Path, LogFile | None] | None:
        """A container's log, and the run that still writes it."""
        pod = self._pods.get(Key(namespace, name))
        if pod is None:
            return None
        worker = self.workers.get(pod["metadata"]["uid"])
        runner = worker.runner(container) if worker else None
        if runner is not None:
            path = runner.log_path(previous=previous)
            running = runner.process.log if runner.process and not previous else None
        else:  # it ended in an earlier life of the node
            attempt = statuses_of(pod).get(container, {}).get("restartCount", 0)
            path, running = self.log_directory(pod) / container / f"{attempt - previous}.log", None
        return (path, running) if path.exists() else None

    # Changes

    def _pod_changed(self, old: Json | None, new: Json | None) -> None:
        if new is None:
            # Deleted by force: the process must not outlive the object.
            assert old is not None
            uid = old["metadata"]["uid"]
            self._reports.forget(uid)
            if worker := self.workers.pop(uid, None):
                self.background(worker.shut_down())
            remove_tree(self.log_directory(old))
            return
        uid, metadata = new["metadata"]["uid"], new["metadata"]
        if old is not None and old["metadata"]["uid"] != uid:
            self._pod_changed(old, None)  # its end was not seen, its name is another's now
        self._reports.seen(new)
        if worker := self.workers.get(uid):
            worker.update(new)
        elif metadata.get("deletionTimestamp"):
            if metadata.get("deletionGracePeriodSeconds") != 0:
                self.background(self._reports.delete(metadata))
        elif not has_ended(new):
            if refusal := self._refusal(new):
                self._refuse(new, refusal)
            else:
                self.workers[uid] = PodWorker(self, new)

    def _refusal(self, pod: Json) -> str:
        """What a pod that no scheduler has looked at, since it names its node itself, asks too much of."""
        others = [p for p in self._pods if p["metadata"]["uid"] in self.workers and not has_ended(p)]
        return next(iter(lacking(pod["spec"], self.capacity, [p["spec"] for p in others])), "")

    def _refuse(self, pod: Json, name: str) -> None:
        reason = f"OutOf{name}"
        message = f"Pod was rejected: Node didn't have enough resource: {name}"
        self.recorder.event(pod, "Warning", reason, message.removeprefix("Pod was rejected: "))
        status: Json = {"phase": "Failed", "reason": reason, "message": message, "conditions": []}
        self._reports.report(pod, status | {"startTime": now_rfc3339()})

    def waits_for(self, namespace: str, name: str, container: str) -> str:
        """Why a container has not written anything yet."""
        worker = self.worker(namespace, name)
        runner = worker.runner(container) if worker else None
        reason = ((runner.state.state if runner else {}).get("waiting") or {}).get(
            "reason", "ContainerCreating"
        )
        return "trying and failing to pull image" if "Image" in reason else str(reason)

    def _source_changed(self, old: Json | None, new: Json | None) -> None:
        obj = new or old
        assert obj is not None
        namespace = obj["metadata"].get("namespace")
        for worker in self.workers.values():
            if namespace in (None, worker.namespace):
                worker.sources_changed()

    def _names_changed(self, old: Json | None, new: Json | None) -> None:
        """Soon, since changes come in bunches."""
        if self._hosts_timer is None:
            self._hosts_timer = asyncio.get_running_loop().call_later(0.02, self._write_hosts)

    def _write_hosts(self) -> None:
        self._hosts_timer = None
        for worker in self.workers.values():
            worker.write_hosts()

    # Back to the API

    def report(self, worker: PodWorker, status: Json) -> None:
        """Sends a pod's status soon."""
        self._reports.report(worker.pod, status)

    async def gone(self, worker: PodWorker) -> None:
        """A deleted pod's processes have ended; the object may go."""
        await self._reports.delete(worker.pod["metadata"])
        self.workers.pop(worker.uid, None)
