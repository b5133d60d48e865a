"""One pod on this node, from its volumes to its last status.

https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import structlog

from addon_framework.api.meta import Json
from addon_framework.kube import ApiError
from addon_framework.local.node.environment import MissingSourceError
from addon_framework.local.node.hosts import hosts_file
from addon_framework.local.node.mounts import remove_tree
from addon_framework.local.node.podstatus import PodStatus, statuses_of, terminated, waiting
from addon_framework.local.node.runner import ContainerRunner
from addon_framework.local.node.volumes import Surroundings, Volumes

if TYPE_CHECKING:
    from addon_framework.local.node.kubelet import Kubelet

log = structlog.get_logger(__name__)
_REFRESH = 600.0  # seconds between looks at tokens that will expire
_SHUTDOWN_GRACE = 2.0
_NEVER_SEEN = "The container could not be located when the pod was terminated"  # as kubelets say it
_HELD = 2.0  # seconds until volumes are looked at again that cannot be taken down


class PodWorker:
    """Runs one pod until it ends or is deleted."""

    def __init__(self, kubelet: Kubelet, pod: Json) -> None:
        self.kubelet, self.pod = kubelet, pod
        metadata, spec = pod["metadata"], pod["spec"]
        self.uid, self.namespace, self.name = metadata["uid"], metadata["namespace"], metadata["name"]
        self.address = kubelet.config.address if spec.get("hostNetwork") else kubelet.addresses.take(self.uid)
        self.directory = kubelet.directory / "pods" / self.uid
        self.hosts_path = self.directory / "etc-hosts"
        self.logs = kubelet.log_directory(pod)
        self.runners = [ContainerRunner(self, c, init=True) for c in spec.get("initContainers") or ()]
        self.runners += [ContainerRunner(self, c, init=False) for c in spec["containers"]]
        for runner in self.runners:
            behind = not runner.state.init and spec.get("initContainers")
            runner.state.state = waiting("PodInitializing" if behind else "ContainerCreating")
        self.volumes = Volumes(
            self.shown(),
            Surroundings(
                directory=self.directory / "volumes",
                memory=kubelet.memory / self.uid,
                host=kubelet.host,
                lookup=self.lookup,
                claim=lambda name: kubelet.claim(self.namespace, name),
                token=lambda account, seconds, audience: kubelet.token(pod, account, seconds, audience),
                capacity=kubelet.capacity,
            ),
        )
        self._status = PodStatus(pod, self.address, kubelet.config.address)
        self._source_waiters: set[asyncio.Event] = set()
        self._reported = False
        self._task = asyncio.create_task(self._run())
        self._ending: asyncio.Task[None] | None = None

    # From outside

    def update(self, pod: Json) -> None:
        """A newer state of the object: only labels, annotations and deletion matter to a running pod."""
        before, self.pod = self.pod["metadata"], pod
        if any(before.get(name) != pod["metadata"].get(name) for name in ("labels", "annotations")):
            self.sources_changed()
        if pod["metadata"].get("deletionTimestamp") and self._ending is None:
            self._ending = asyncio.create_task(self._end())
        elif self._reported:
            self.report()  # in case another has said something else of it

    def sources_changed(self) -> None:
        """A ConfigMap, Secret, claim or account of the namespace changed."""
        for waiter in self._source_waiters:
            waiter.set()

    async def source_change(self, timeout: float | None = None) -> None:
        """Waits for the next change of anything the pod may draw on, or for the time to pass."""
        changed = asyncio.Event()
        self._source_waiters.add(changed)
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await changed.wait()
        finally:
            self._source_waiters.discard(changed)

    def write_hosts(self) -> None:
        """In place: containers have the file itself."""
        if not self.directory.exists():
            return
        text = hosts_file(self.pod, self.address, self.kubelet.host_lines(self.namespace))
        with contextlib.suppress(FileNotFoundError):  # removed at this moment, in a thread
            if not self.hosts_path.exists() or self.hosts_path.read_text() != text:
                self.hosts_path.write_text(text)

    async def shut_down(self) -> None:
        """The node stops, or the object is gone: end the processes."""
        await self._cancel()
        await self._stop_all(_SHUTDOWN_GRACE)
        await self._clean_up()

    def runner(self, container: str) -> ContainerRunner | None:
        """Who runs a container."""
        return next((runner for runner in self.runners if runner.name == container), None)

    def lookup(self, kind: str, name: str) -> Json | None:
        """A ConfigMap or Secret of the pod's namespace."""
        return self.kubelet.lookup(kind, self.namespace, name)

    def event(self, kind: str, reason: str, message: str) -> None:
        """An Event on the pod."""
        self.kubelet.recorder.event(self.pod, kind, reason, message)

    def report(self) -> None:
        """Sends the status soon."""
        self._reported = True
        conditions = (self.pod.get("status") or {}).get("conditions") or ()
        self._status.opened = {c["type"] for c in conditions if c["status"] == "True"}
        self.kubelet.report(self, self._status.build([runner.state for runner in self.runners]))

    def container_runs(self, runner: ContainerRunner) -> None:
        """A container has started."""
        if not runner.state.init:
            self._status.phase = "Running"
        self.report()

    @property
    def grace(self) -> float:
        """Seconds between SIGTERM and SIGKILL."""
        return float(self.pod["spec"].get("terminationGracePeriodSeconds", 30))

    def shown(self) -> Json:
        """The pod as its containers see it by the downward API."""
        host = self.kubelet.config.address
        addresses: Json = {
            "podIP": self.address,
            "podIPs": self.address,
            "hostIP": host,
            "hostIPs": host,
        }
        return {**self.pod, "status": {**(self.pod.get("status") or {}), **addresses}}

    # Life

    async def _run(self) -> None:
        limit = self.pod["spec"].get("activeDeadlineSeconds")
        deadline = asyncio.timeout(None if limit is None else max(0.0, limit - self._status.age))
        try:
            async with deadline:
                if not self._resume():
                    await self._live()
        except Exception as error:
            await self._stop_all(self.grace)
            status = self._status
            status.phase, status.reason, status.message = "Failed", "NodeError", str(error)
            if deadline.expired():
                status.reason = "DeadlineExceeded"
                status.message = "Pod was active on the node longer than the specified deadline"
            else:
                log.exception("pod failed", pod=f"{self.namespace}/{self.name}")
        self.report()
        await self._clean_up()

    def _resume(self) -> bool:
        """Takes up what an earlier life of the node said; whether the pod's end follows from that."""
        before = statuses_of(self.pod)
        ran = [r for r in self.runners if "running" in (before.get(r.name, {}).get("state") or {})]
        policy = self.pod["spec"].get("restartPolicy")
        if policy == "Never" and ran:
            for runner in self.runners:
                state = runner.state.state = (before.get(runner.name) or {}).get(
                    "state"
                ) or runner.state.state
                if running := state.get("running"):
                    reason = "ContainerStatusUnknown"
                    runner.state.state = terminated(137, running.get("startedAt", ""), reason)
            self._status.phase = "Failed"
            return True
        for runner in self.runners:
            if status := before.get(runner.name):
                ended = (status.get("state") or {}).get("terminated") or {}
                if policy == "OnFailure" and ended.get("exitCode") == 0 and not runner.state.init:
                    runner.done, runner.state.state = True, status["state"]
                else:
                    runner.state.resume(status)
        return False

    async def _live(self) -> None:
        await self._prepare()
        refresher = asyncio.create_task(self._refresh())
        sidecars: list[asyncio.Task[None]] = []
        try:
            good = await self._run_init_containers(sidecars) and await self._run_containers()
        finally:
            for task in (refresher, *sidecars):
                task.cancel()
        await asyncio.gather(*sidecars, return_exceptions=True)
        await self._stop_all(self.grace)
        self._status.phase = "Succeeded" if good else "Failed"

    async def _prepare(self) -> None:
        """Volumes; waits for those whose source is not there yet."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self.write_hosts()
        while True:
            try:
                await self.volumes.prepare()
                return
            except (MissingSourceError, ApiError, OSError) as error:
                self.report()
                self.event("Warning", "FailedMount", f"MountVolume.SetUp failed: {error}")
                # A source that is missing announces itself when it comes; of the rest nobody tells.
                await self.source_change(timeout=_REFRESH if isinstance(error, MissingSourceError) else 1)

    async def _refresh(self) -> None:
        """Keeps volumes with content from the API current; renews tokens long before they expire."""
        while True:
            await self.source_change(timeout=min(_REFRESH, self.volumes.renewal))
            try:
                await self.volumes.refresh(self.shown())
            except Exception:  # the API server may be restarting; the next change or timer tries again
                log.debug("volumes not refreshed", pod=f"{self.namespace}/{self.name}", exc_info=True)

    async def _run_init_containers(self, sidecars: list[asyncio.Task[None]]) -> bool:
        """One after the other; those with restartPolicy Always are sidecars and stay."""
        policy = "Never" if self.pod["spec"].get("restartPolicy") == "Never" else "OnFailure"
        for runner in (r for r in self.runners if r.state.init):
            if runner.spec.get("restartPolicy") == "Always":
                sidecars.append(asyncio.create_task(runner.keep("Always")))
                await runner.running.wait()
                continue
            await runner.keep(policy)
            if (runner.state.state.get("terminated") or {}).get("exitCode"):
                return False
            runner.state.ready = True
            self.report()
        return True

    async def _run_containers(self) -> bool:
        """All at once, each kept by the restart policy, until none is left to run; whether all went well."""
        policy = self.pod["spec"].get("restartPolicy", "Always")
        mains = [runner for runner in self.runners if not runner.state.init]
        async with asyncio.TaskGroup() as group:
            for runner in mains:
                if not runner.done:
                    group.create_task(runner.keep(policy))
        return not _failed(mains)

    # End

    async def _end(self) -> None:
        """Deletion was asked for: preStop, SIGTERM, SIGKILL, then the object goes."""
        await self._cancel()
        for runner in self.runners:
            runner.state.ready = False
            if runner.process is not None:
                self.event("Normal", "Killing", f"Stopping container {runner.name}")
        self.report()
        await self._stop_all(float(self.pod["metadata"].get("deletionGracePeriodSeconds", 30)))
        if not self._status.finished:  # whoever holds the object by a finalizer wants to know
            for runner in self.runners:  # whether one that never ran would have succeeded nobody knows
                if "terminated" not in runner.state.state:
                    runner.state.state = terminated(137, "", "ContainerStatusUnknown", _NEVER_SEEN)
            self._status.phase = "Failed" if _failed(self.runners) else "Succeeded"
            self.report()
        while await asyncio.to_thread(self.volumes.held):
            await self.source_change(_HELD)
        await self._clean_up()
        await self.kubelet.gone(self)

    async def _cancel(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _stop_all(self, grace: float) -> None:
        """Sidecars after those whom they serve, the last one first; the grace period is for all of it."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + grace
        helpers = [r for r in self.runners if r.state.init and r.spec.get("restartPolicy") == "Always"]
        await asyncio.gather(*(runner.stop(grace) for runner in self.runners if runner not in helpers))
        for helper in reversed(helpers):
            await helper.stop(max(deadline - loop.time(), 2) if grace > 0 else 0)

    async def _clean_up(self) -> None:
        """In a thread: gigabytes of a volume take their time."""
        await asyncio.to_thread(self.volumes.remove)
        await asyncio.to_thread(remove_tree, self.directory)
        self.kubelet.addresses.release(self.uid)


def _failed(runners: Sequence[ContainerRunner]) -> bool:
    return any((r.state.state.get("terminated") or {}).get("exitCode") for r in runners)
