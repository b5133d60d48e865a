"""One container of a pod over its restarts: started, probed, kept by the restart policy."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp

from addon_framework.api.meta import Json
from addon_framework.api.time import now_rfc3339
from addon_framework.local.node import container as containers
from addon_framework.local.node.config import Image, UnknownImageError, find_image
from addon_framework.local.node.container import ContainerProcess
from addon_framework.local.node.environment import MissingSourceError, environment, expand
from addon_framework.local.node.hosts import host_name
from addon_framework.local.node.podstatus import ContainerState, waiting
from addon_framework.local.node.probes import http, probe_loop
from addon_framework.local.node.sandbox import Bind, Sandbox, SandboxError

if TYPE_CHECKING:
    from addon_framework.local.node.pod import PodWorker

_MIN_BACKOFF, _MAX_BACKOFF, _RESET_AFTER = 1.0, 300.0, 600.0
_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
_MESSAGE_LIMIT = 4096
_HOOK_TIMEOUT = 60.0


class ContainerRunner:
    """Runs one container of `pod`. `running` is set while it runs and has passed its startup probe."""

    def __init__(self, pod: PodWorker, spec: Json, *, init: bool) -> None:
        self.pod, self.spec = pod, spec
        self.state = ContainerState(spec, init=init)
        self.running = asyncio.Event()
        self.process: ContainerProcess | None = None
        self.done = False  # it ended well in an earlier life of the node
        self._stopping = False
        self._refused = ""  # why the last start was

    @property
    def name(self) -> str:
        """The container's name."""
        return str(self.spec["name"])

    async def keep(self, policy: str) -> None:
        """Runs it again and again, as the restart policy says: at once first, then with a growing delay."""
        delay = 0.0
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            code = await self.run_once()
            if code is not None and (policy == "Never" or (policy == "OnFailure" and code == 0)):
                return
            if loop.time() - began > _RESET_AFTER:
                delay = 0.0
            if code is None:  # it could not be started; what it misses may come at any time
                delay = max(delay, _MIN_BACKOFF)
                await self.pod.source_change(timeout=delay)
            else:
                self.state.last = self.state.state
                if delay:
                    self._back_off(delay)
                    await asyncio.sleep(delay)
                self.state.restarts += 1
            delay = min(max(delay * 2, _MIN_BACKOFF), _MAX_BACKOFF)

    async def run_once(self) -> int | None:
        """Starts the container and waits for its end; the exit code, or None when it cannot be started."""
        try:
            process = await self._start()
        except UnknownImageError as error:
            problem = waiting("ErrImagePull", str(error))
        except MissingSourceError as error:
            problem = waiting("CreateContainerConfigError", str(error))
        except (SandboxError, OSError) as error:
            problem = waiting("CreateContainerError", str(error))
        else:
            self._refused = ""
            return await self._attend(process)
        reason = problem["waiting"]["reason"]
        if reason == self._refused == "ErrImagePull":
            problem["waiting"]["reason"] = "ImagePullBackOff"
        self.state.state, self._refused = problem, reason
        self.pod.report()
        self.pod.event("Warning", "Failed", problem["waiting"]["message"])
        return None

    async def stop(self, grace: float) -> None:
        """preStop, SIGTERM, SIGKILL; the grace period is for all of it."""
        process = self.process
        if process is None or process.exited.done():
            return
        loop = asyncio.get_running_loop()
        deadline = loop.time() + grace
        if (hook := (self.spec.get("lifecycle") or {}).get("preStop")) and grace > 0:
            try:
                async with asyncio.timeout(grace):
                    await self._hook(process, hook, grace)
            except Exception as error:  # whatever it is, the container has to end
                self.pod.event("Warning", "FailedPreStopHook", f"PreStopHook failed: {error}")
        left = deadline - loop.time()
        code = await process.stop(max(left, 2) if grace > 0 else 0)  # a hook that took all leaves two seconds
        if self.process is process:  # nobody attends to it any more
            self.ended(process, code)

    def log_path(self, *, previous: bool = False) -> Path:
        """Where the log of this run, or of the one before, is."""
        return self.pod.logs / self.name / f"{self.state.restarts - previous}.log"

    async def _attend(self, process: ContainerProcess) -> int:
        """Probes a running container until it ends or a probe ends it."""
        state, started_at = self.state, now_rfc3339(process.started_at)
        state.state = {"running": {"startedAt": started_at}}
        self._set_started(not self.spec.get("startupProbe"))
        self.pod.container_runs(self)
        self.pod.event("Normal", "Started", f"Started container {self.name}")
        probing = asyncio.create_task(self._probe(process))
        try:
            code = await asyncio.shield(process.exited)
        finally:
            probing.cancel()
        self.ended(process, code)
        self.pod.report()
        return code

    def ended(self, process: ContainerProcess, code: int) -> None:
        """Notes how a process has ended."""
        self._set_started(False)
        self.process = None
        message = self._termination_message(process, code)
        reason = "OOMKilled" if process.oom_killed and code == 137 else ""
        self.state.ended(code, now_rfc3339(process.started_at), reason, message)

    def _set_started(self, started: bool) -> None:
        self.state.started = started
        self.state.ready = started and not self.spec.get("readinessProbe")
        (self.running.set if started else self.running.clear)()

    def _back_off(self, delay: float) -> None:
        pod = f"{self.pod.name}_{self.pod.namespace}({self.pod.uid})"
        message = f"back-off {delay:g}s restarting failed container={self.name} pod={pod}"
        self.state.state = waiting("CrashLoopBackOff", message)
        self.pod.report()
        event = f"Back-off restarting failed container {self.name} in pod {pod}"
        self.pod.event("Warning", "BackOff", event)

    # Starting

    async def _start(self) -> ContainerProcess:
        spec, pod = self.spec, self.pod
        image = find_image(pod.kubelet.config.images, spec.get("image", ""))
        inherited = pod.pod["spec"].get("securityContext") or {}
        security = {**inherited, **(spec.get("securityContext") or {})}
        if security.get("runAsNonRoot") and security.get("runAsUser") == 0:
            raise MissingSourceError("container's runAsUser breaks non-root policy")
        said = f'Container image "{spec.get("image")}" already present on machine'
        pod.event("Normal", "Pulled", said)
        variables = environment(pod.shown(), spec, pod.lookup, pod.kubelet.capacity)
        hostname = host_name(pod.pod)
        base = {
            "PATH": ":".join((*image.path, *_PATH)),
            "HOME": "/tmp",
            "LANG": "C.UTF-8",
            "HOSTNAME": hostname,
        }
        variables = base | pod.kubelet.service_environment(pod.pod) | image.env | variables
        command = [expand(str(part), variables) for part in spec.get("command") or ()]
        arguments = [expand(str(part), variables) for part in spec.get("args") or ()]
        argv = [*(command or image.entrypoint), *(arguments or ([] if command else image.command))]
        if not argv:
            raise SandboxError(
                f"image {spec.get('image')!r} has no entry point here; give the container a command"
            )
        await asyncio.to_thread(pod.volumes.make_again, spec)
        sandbox = Sandbox(
            binds=self._binds(image, variables, security),
            hidden=pod.kubelet.hidden,
            hostname="" if pod.pod["spec"].get("hostNetwork") else hostname,
            cwd=spec.get("workingDir") or "/",
            security=security,
        )
        group = pod.kubelet.cgroups.make(f"{pod.uid}-{self.name}-{self.state.restarts}", spec)
        stdin, tty = bool(spec.get("stdin")), bool(spec.get("tty"))
        process = self.process = await containers.start(
            sandbox, argv, variables, self.log_path(), stdin=stdin, tty=tty, cgroup=group
        )
        pod.event("Normal", "Created", f"Created container: {self.name}")
        if hook := (spec.get("lifecycle") or {}).get("postStart"):
            good, why = await self._hook(process, hook, _HOOK_TIMEOUT)
            if not good:
                self.pod.event("Warning", "FailedPostStartHook", f"PostStartHook failed: {why}")
                await process.stop(0)
        return process

    def _binds(self, image: Image, variables: dict[str, str], security: Json) -> list[Bind]:
        own = self.pod.directory / "containers" / self.name
        scratch, message = own / "tmp", own / "termination-log"
        scratch.mkdir(parents=True, exist_ok=True)
        scratch.chmod(0o1777)
        message.write_bytes(b"")
        message.chmod(0o666)
        binds = [Bind(Path(path), path, read_only=True) for path in image.files if Path(path).exists()]
        binds += [Bind(Path(path), target, read_only=True) for target, path in image.root.items()]
        binds += self.pod.volumes.binds(self.spec, variables)
        taken = {bind.target for bind in binds}
        extra = [
            Bind(scratch, "/tmp", read_only=bool(security.get("readOnlyRootFilesystem"))),
            Bind(self.pod.hosts_path, "/etc/hosts", read_only=True),
            Bind(message, str(self.spec.get("terminationMessagePath") or "/dev/termination-log")),
        ]
        return [bind for bind in extra if bind.target not in taken] + binds

    def _termination_message(self, process: ContainerProcess, code: int) -> str:
        path = self.pod.directory / "containers" / self.name / "termination-log"
        content = path.read_bytes() if path.exists() else b""
        if not content and code and self.spec.get("terminationMessagePolicy") == "FallbackToLogsOnError":
            content = process.log.tail(80)[-2048:]
        return content[:_MESSAGE_LIMIT].decode(errors="replace")

    # Probes and hooks

    async def _probe(self, process: ContainerProcess) -> None:
        async def loop(probe: Json, report: Callable[[bool, str], None], *, eager: bool = False) -> None:
            await probe_loop(probe, self.spec, self.pod.address, process.execute, report, eager=eager)

        if startup := self.spec.get("startupProbe"):
            passed = asyncio.Event()

            def started(good: bool, why: str) -> None:
                if good:
                    passed.set()
                else:
                    self._unhealthy(process, "Startup", why, startup)

            starting = asyncio.create_task(loop(startup, started, eager=True))
            try:
                await passed.wait()
            finally:
                starting.cancel()
            self._set_started(True)
            self.pod.report()

        def readiness(good: bool, why: str) -> None:
            if self.state.ready != good:
                self.state.ready = good
                self.pod.report()
            if not good:
                self.pod.event("Warning", "Unhealthy", f"Readiness probe failed: {why}")

        def liveness(good: bool, why: str) -> None:
            if not good:
                self._unhealthy(process, "Liveness", why, self.spec["livenessProbe"])

        async with asyncio.TaskGroup() as group:
            if probe := self.spec.get("readinessProbe"):
                group.create_task(loop(probe, readiness, eager=True))
            if probe := self.spec.get("livenessProbe"):
                group.create_task(loop(probe, liveness))

    def _unhealthy(self, process: ContainerProcess, probe: str, why: str, spec: Json) -> None:
        if self._stopping:
            return
        self._stopping = True
        self.pod.event("Warning", "Unhealthy", f"{probe} probe failed: {why}")
        self.pod.event(
            "Normal", "Killing", f"Container {self.name} failed {probe.lower()} probe, will be restarted"
        )

        async def stop() -> None:
            await process.stop(float(spec.get("terminationGracePeriodSeconds", self.pod.grace)))
            self._stopping = False

        self.pod.kubelet.background(stop())

    async def _hook(self, process: ContainerProcess, hook: Json, timeout: float) -> tuple[bool, str]:
        if action := hook.get("exec"):
            code, output = await process.execute(action["command"], timeout)
            return code == 0, output[-200:] or f"exit code {code}"
        if action := hook.get("httpGet"):
            try:
                return await http(action, self.spec, self.pod.address, timeout)
            except (OSError, aiohttp.ClientError, ValueError) as error:
                return False, str(error)
        if action := hook.get("sleep"):
            await asyncio.sleep(float(action["seconds"]))
        return True, ""
