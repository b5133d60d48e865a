"""One pod on this node, from its volumes to its last status.

https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from addon_framework.api.meta import Json
from addon_framework.api.time import now_rfc3339
from addon_framework.local.node import container as containers
from addon_framework.local.node.config import UnknownImageError, find_image
from addon_framework.local.node.container import ContainerProcess
from addon_framework.local.node.environment import MissingSourceError, environment, expand
from addon_framework.local.node.probes import probe_loop
from addon_framework.local.node.sandbox import SandboxError
from addon_framework.local.node.volumes import Volumes

if TYPE_CHECKING:
    from addon_framework.local.node.kubelet import Kubelet

log = structlog.get_logger(__name__)
_MIN_BACKOFF, _MAX_BACKOFF, _RESET_AFTER = 1.0, 300.0, 600.0


@dataclass
class ContainerState:
    """What the status says of one container."""

    spec: Json
    init: bool = False
    process: ContainerProcess | None = None
    state: Json = field(default_factory=lambda: {"waiting": {"reason": "PodInitializing"}})
    last: Json = field(default_factory=dict)
    restarts: int = 0
    started: bool = False
    ready: bool = False

    def status(self) -> Json:
        """As `containerStatuses` has it."""
        image = self.spec.get("image", "")
        status: Json = {
            "name": self.spec["name"],
            "image": image,
            "imageID": image,
            "restartCount": self.restarts,
            "ready": self.ready,
            "started": self.started,
            "state": self.state,
            "lastState": self.last,
        }
        return status


class PodWorker:
    """Runs one pod until it ends or is deleted."""

    def __init__(self, kubelet: Kubelet, pod: Json) -> None:
        self.kubelet, self.pod = kubelet, pod
        metadata = pod["metadata"]
        self.uid, self.namespace, self.name = metadata["uid"], metadata["namespace"], metadata["name"]
        self.address = kubelet.config.address if pod["spec"].get("hostNetwork") else kubelet.addresses.take(self.uid)
        self.directory = kubelet.directory / "pods" / self.uid
        self.logs = kubelet.directory / "logs" / f"{self.namespace}_{self.name}_{self.uid}"
        spec = pod["spec"]
        self.states = [ContainerState(c, init=True) for c in spec.get("initContainers") or ()]
        self.states += [ContainerState(c) for c in spec["containers"]]
        self._start_time = now_rfc3339()
        self._phase, self._reason, self._message = "Pending", "", ""
        self._transitions: dict[str, tuple[str, str]] = {}
        self._volumes = Volumes(
            self._shown(),
            self.directory / "volumes",
            kubelet.directory / "host",
            lookup=lambda kind, name: kubelet.lookup(kind, self.namespace, name),
            claim=lambda name: kubelet.claim(self.namespace, name),
            token=lambda account, seconds, audience: kubelet.token(pod, account, seconds, audience),
            capacity=kubelet.config.capacity,
        )
        self._sources_changed = asyncio.Event()
        self._task = asyncio.create_task(self._run())
        self._ending: asyncio.Task[None] | None = None

    # From outside

    def update(self, pod: Json) -> None:
        """A newer state of the object: only labels, annotations and deletion matter to a running pod."""
        self.pod = pod
        if pod["metadata"].get("deletionTimestamp") and self._ending is None:
            self._ending = asyncio.create_task(self._end())

    def sources_changed(self) -> None:
        """A ConfigMap, Secret, claim or account of the namespace changed."""
        self._sources_changed.set()

    async def shut_down(self) -> None:
        """The node stops: end the processes, leave the object."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._stop_all(2)
        self._clean_up()

    def log_file(self, container: str, previous: bool = False) -> Path | None:
        """Where a container's log is."""
        state = next((s for s in self.states if s.spec["name"] == container), None)
        if state is None:
            return None
        return self._log_path(state, state.restarts - 1 if previous else state.restarts)

    # Life

    async def _run(self) -> None:
        try:
            await self._prepare()
            refresher = asyncio.create_task(self._refresh())
            try:
                if await self._run_init_containers():
                    await self._run_containers()
            finally:
                refresher.cancel()
        except asyncio.CancelledError:
            raise
        except Exception:
            log.exception("pod failed", pod=f"{self.namespace}/{self.name}")
            self._phase, self._reason = "Failed", "NodeError"
        self._report()

    async def _prepare(self) -> None:
        """Volumes; waits for those whose source is not there yet."""
        while True:
            self._sources_changed.clear()
            try:
                self._volumes._pod = self._shown()  # noqa: SLF001 - the pod's own volumes
                await self._volumes.prepare()
                return
            except MissingSourceError as error:
                self._waiting("ContainerCreating", f"MountVolume.SetUp failed: {error}")
                self.kubelet.event(self.pod, "Warning", "FailedMount", str(error))
                await self._sources_changed.wait()

    async def _refresh(self) -> None:
        """Keeps volumes with content from the API current; renews tokens long before they expire."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1200):
                    await self._sources_changed.wait()
            self._sources_changed.clear()
            try:
                await self._volumes.refresh()
            except Exception:  # the API server may be restarting; the next change or timer tries again
                log.debug("volumes not refreshed", pod=f"{self.namespace}/{self.name}", exc_info=True)

    async def _run_init_containers(self) -> bool:
        """One after the other; those with restartPolicy Always are sidecars and stay."""
        for state in (s for s in self.states if s.init):
            if state.spec.get("restartPolicy") == "Always":
                self._keep(state)
                await self._until_started(state)
                continue
            backoff = _MIN_BACKOFF
            while True:
                code = await self._run_once(state)
                if code == 0:
                    state.ready = True
                    break
                if self.pod["spec"].get("restartPolicy") == "Never":
                    self._phase, self._reason = "Failed", ""
                    return False
                state.state = _waiting("CrashLoopBackOff", f"back-off {backoff:g}s restarting failed container")
                self._report()
                await asyncio.sleep(backoff)
                backoff = min(backoff * 2, _MAX_BACKOFF)
                state.restarts += 1
        return True

    async def _run_containers(self) -> None:
        """All at once, each kept by the restart policy, until none is left to run."""
        tasks = [self._keep(state) for state in self.states if not state.init]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
        failed = any((s.state.get("terminated") or {}).get("exitCode") for s in self.states if not s.init)
        self._phase = "Failed" if failed else "Succeeded"
        for state in self.states:
            if state.init and state.process is not None:
                await state.process.stop(2)

    def _keep(self, state: ContainerState) -> asyncio.Task[None]:
        return asyncio.create_task(self._restarting(state))

    async def _restarting(self, state: ContainerState) -> None:
        policy = self.pod["spec"].get("restartPolicy", "Always")
        if state.init:
            policy = "Always"
        backoff = _MIN_BACKOFF
        while True:
            began = datetime.now(UTC)
            code = await self._run_once(state)
            if policy == "Never" or (policy == "OnFailure" and code == 0):
                return
            if (datetime.now(UTC) - began).total_seconds() > _RESET_AFTER:
                backoff = _MIN_BACKOFF
            if "terminated" in state.state:
                state.last = state.state
            waiting = state.state.get("waiting") or {}
            reason = waiting.get("reason", "CrashLoopBackOff")
            message = waiting.get("message") or (
                f"back-off {backoff:g}s restarting failed container={state.spec['name']} pod={self.name}"
            )
            state.state = _waiting(reason, message)
            self._report()
            self.kubelet.event(self.pod, "Warning", "BackOff", message)
            await asyncio.sleep(backoff)
            backoff = min(backoff * 2, _MAX_BACKOFF)
            if reason == "CrashLoopBackOff":
                state.restarts += 1

    async def _run_once(self, state: ContainerState) -> int:
        """Starts the container and waits for its end; the exit code."""
        try:
            state.process = await self._start(state)
        except UnknownImageError as error:
            state.state = _waiting("ErrImagePull", str(error))
        except MissingSourceError as error:
            state.state = _waiting("CreateContainerConfigError", str(error))
        except SandboxError as error:
            state.state = _waiting("CreateContainerError", str(error))
        else:
            return await self._attend(state, state.process)
        self._report()
        self.kubelet.event(self.pod, "Warning", "Failed", state.state["waiting"]["message"])
        return 128

    async def _attend(self, state: ContainerState, process: ContainerProcess) -> int:
        """Probes a running container until it ends or a probe ends it."""
        state.state = {"running": {"startedAt": _seconds(process.started_at)}}
        spec = state.spec
        state.started = not spec.get("startupProbe")
        state.ready = state.started and not spec.get("readinessProbe")
        if not state.init:
            self._phase = "Running"
        self._report()
        probes = asyncio.create_task(self._probe(state, process))
        try:
            code = await asyncio.shield(process.exited)
        finally:
            probes.cancel()
        state.ready = state.started = False
        state.process = None
        state.state = {
            "terminated": {
                "exitCode": code,
                "reason": "Completed" if code == 0 else "Error",
                "startedAt": _seconds(process.started_at),
                "finishedAt": now_rfc3339(),
            }
        }
        self._report()
        return code

    async def _start(self, state: ContainerState) -> ContainerProcess:
        spec = state.spec
        image = find_image(self.kubelet.config.images, spec.get("image", ""))
        shown = self._shown()
        variables = environment(
            shown, spec, lambda kind, name: self.kubelet.lookup(kind, self.namespace, name), self.kubelet.config.capacity
        )
        path = [*image.path, "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
        base = {"PATH": ":".join(path), "HOME": "/tmp", "HOSTNAME": self.name, "LANG": "C.UTF-8"}
        variables = base | self.kubelet.service_environment() | image.env | variables
        command = [expand(str(part), variables) for part in spec.get("command") or ()]
        arguments = [expand(str(part), variables) for part in spec.get("args") or ()]
        argv = [*(command or image.entrypoint), *arguments]
        if not argv:
            raise SandboxError(f"image {spec.get('image')!r} has no entry point here; give the container a command")
        scratch = self.directory / "containers" / spec["name"]
        scratch.mkdir(parents=True, exist_ok=True)
        bidirectional = any(
            mount.get("mountPropagation") == "Bidirectional" for mount in spec.get("volumeMounts") or ()
        )
        binds = self._volumes.binds(spec)
        if self.kubelet.hosts_file.exists():
            binds.append(containers.Bind(self.kubelet.hosts_file, "/etc/hosts", read_only=True))
        return await containers.start(
            argv,
            variables,
            binds,
            cwd=spec.get("workingDir") or "/",
            log_path=self._log_path(state, state.restarts),
            scratch=scratch,
            hidden=self.kubelet.config.hidden,
            bidirectional=bidirectional,
        )

    async def _until_started(self, state: ContainerState) -> None:
        while not state.started:
            await asyncio.sleep(0.05)

    async def _probe(self, state: ContainerState, process: ContainerProcess) -> None:
        spec = state.spec

        async def execute(command: list[str], timeout: float) -> tuple[int, str]:
            return await containers.execute(process.pid, command, timeout)

        async def loop(probe: Json, report: object) -> None:
            assert callable(report)
            await probe_loop(probe, spec, self.address, execute, report)

        if startup := spec.get("startupProbe"):
            passed = asyncio.Event()

            def started(good: bool, why: str) -> None:
                if good:
                    passed.set()
                else:
                    self._unhealthy(state, process, "Startup", why)

            starting = asyncio.create_task(loop(startup, started))
            try:
                await passed.wait()
            finally:
                starting.cancel()
            state.started = True
            state.ready = not spec.get("readinessProbe")
            self._report()

        def readiness(good: bool, why: str) -> None:
            if state.ready != good:
                state.ready = good
                self._report()
                if not good:
                    self.kubelet.event(self.pod, "Warning", "Unhealthy", f"Readiness probe failed: {why}")

        def liveness(good: bool, why: str) -> None:
            if not good:
                self._unhealthy(state, process, "Liveness", why)

        async with asyncio.TaskGroup() as group:
            if probe := spec.get("readinessProbe"):
                group.create_task(loop(probe, readiness))
            if probe := spec.get("livenessProbe"):
                group.create_task(loop(probe, liveness))

    def _unhealthy(self, state: ContainerState, process: ContainerProcess, probe: str, why: str) -> None:
        self.kubelet.event(self.pod, "Warning", "Unhealthy", f"{probe} probe failed: {why}")
        self.kubelet.background(process.stop(self._grace()))

    # End

    async def _end(self) -> None:
        """Deletion was asked for: preStop, SIGTERM, SIGKILL, then the object goes."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        for state in self.states:
            state.ready = False
        self._report()
        grace = float(self.pod["metadata"].get("deletionGracePeriodSeconds", 30))
        await self._stop_all(grace)
        self._clean_up()
        await self.kubelet.gone(self)

    async def _stop_all(self, grace: float) -> None:
        async def stop(state: ContainerState) -> None:
            process = state.process
            if process is None:
                return
            hook = ((state.spec.get("lifecycle") or {}).get("preStop") or {}).get("exec")
            if hook and not process.exited.done():
                await containers.execute(process.pid, hook["command"], max(grace, 1))
            await process.stop(grace)

        await asyncio.gather(*(stop(state) for state in self.states))

    def _clean_up(self) -> None:
        self._volumes.remove()
        self.kubelet.remove_tree(self.directory)
        self.kubelet.addresses.release(self.uid)

    def _grace(self) -> float:
        return float(self.pod["spec"].get("terminationGracePeriodSeconds", 30))

    # Status

    def _waiting(self, reason: str, message: str) -> None:
        for state in self.states:
            if state.process is None:
                state.state = _waiting(reason, message)
        self._report()

    def _report(self) -> None:
        self.kubelet.report(self, self.status())

    def status(self) -> Json:
        """The pod's status as it is now."""
        inits = [state for state in self.states if state.init]
        mains = [state for state in self.states if not state.init]
        unready = [state.spec["name"] for state in mains if not state.ready]
        finished = self._phase in ("Succeeded", "Failed")
        initialized = all(s.ready or s.started for s in inits)
        ready = not unready and self._phase == "Running"
        message = "" if ready or finished else f"containers with unready status: [{' '.join(unready)}]"
        reason = "" if ready else "PodCompleted" if self._phase == "Succeeded" else "ContainersNotReady"
        conditions = [
            self._condition("PodReadyToStartContainers", not finished),
            self._condition("Initialized", initialized),
            self._condition("Ready", ready, reason, message),
            self._condition("ContainersReady", ready, reason, message),
            self._condition("PodScheduled", True),
        ]
        status: Json = {
            "phase": self._phase,
            "startTime": self._start_time,
            "hostIP": self.kubelet.config.address,
            "hostIPs": [{"ip": self.kubelet.config.address}],
            "podIP": self.address,
            "podIPs": [{"ip": self.address}],
            "conditions": conditions,
            "containerStatuses": [state.status() for state in mains],
        }
        if inits:
            status["initContainerStatuses"] = [state.status() for state in inits]
        if self._reason:
            status["reason"] = self._reason
        return status

    def _condition(self, kind: str, value: bool, reason: str = "", message: str = "") -> Json:
        text = "True" if value else "False"
        if self._transitions.get(kind, ("",))[0] != text:
            self._transitions[kind] = (text, now_rfc3339())
        condition: Json = {"type": kind, "status": text, "lastTransitionTime": self._transitions[kind][1]}
        if reason:
            condition["reason"] = reason
        if message:
            condition["message"] = message
        return condition

    def _shown(self) -> Json:
        """The pod as its containers see it by the downward API."""
        addresses = {"podIP": self.address, "hostIP": self.kubelet.config.address}
        return {**self.pod, "status": {**(self.pod.get("status") or {}), **addresses}}

    def _log_path(self, state: ContainerState, attempt: int) -> Path:
        return self.logs / state.spec["name"] / f"{attempt}.log"


def _waiting(reason: str, message: str) -> Json:
    return {"waiting": {"reason": reason, "message": message}}


def _seconds(moment: datetime) -> str:
    return now_rfc3339(moment)
