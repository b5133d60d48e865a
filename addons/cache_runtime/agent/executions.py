"""Commands of backends in pods of theirs: what mounts the sources, and what tells the cache's state."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog

from addon_framework.api.meta import Json
from addon_framework.api.time import now_rfc3339
from addon_framework.kube import ApiError, Client, Key
from addon_framework.kube.execute import ExecuteError, execute
from addons.cache_runtime.admission.names import EXEC_ROLE
from addons.cache_runtime.agent.backends import Binding
from addons.cache_runtime.agent.names import short_hash
from addons.cache_runtime.agent.rights import Rights
from runtimes.interface import CacheState, Exec

log = structlog.get_logger(__name__)
_MIN_RETRY, _MAX_RETRY = 1.0, 20.0
_NOT_YET = "the sources are not mounted yet"
# Seconds between two looks at a cache's state: while things happen to its Dataset, and while nothing does.
# A look starts a program in the master, often a Java machine.
_PERIOD, _IDLE_PERIOD = 10.0, 60.0


@dataclass
class Sources:
    """Whether they are mounted as the Dataset has them now, and why not. `at` is when they were."""

    mounted: bool = True
    problem: str = ""
    at: str = ""


@dataclass
class _Followed:
    """What runs for one Dataset. `inputs` say which command it is, in which life of its container."""

    inputs: dict[str, str] = field(default_factory=dict)
    tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    sources: Sources = field(default_factory=Sources)
    state: CacheState | None = None
    stirred: asyncio.Event = field(default_factory=asyncio.Event)  # something happened to the Dataset


class Executions:
    """Runs each again when its inputs change, and until it succeeds."""

    def __init__(self, client: Client, changed: Callable[[Key], None], rights: Rights) -> None:
        self._client, self._changed, self._rights = client, changed, rights
        self._by_key: dict[Key, _Followed] = {}

    def follow(self, key: Key, binding: Binding, pods: Callable[[str], Sequence[Json]]) -> None:
        """Starts what has to run; `pods` are those of a role."""
        followed = self._by_key.setdefault(key, _Followed())
        followed.stirred.set()
        prepare, summary = binding.backend.prepare(binding.cache), binding.backend.summary(binding.cache)
        if prepare is not None:
            target = _target(pods(prepare.role))
            inputs = _inputs(prepare, target)
            if followed.inputs.get("prepare") != inputs:
                # An agent that starts makes sure of what an earlier one did, and takes it for done meanwhile.
                done = "prepare" not in followed.inputs and _was_done(binding)
                followed.sources = Sources(done, "" if done else _NOT_YET, followed.sources.at)
                self._start(followed, "prepare", inputs)
                if target is not None:
                    task = self._prepare(key, binding, followed, target, prepare)
                    followed.tasks["prepare"] = asyncio.create_task(task)
        mounted = prepare is None or followed.sources.mounted  # else a summary would count what is not there
        if mounted and summary is not None and (target := _target(pods(summary.role))) is not None:
            inputs = _inputs(summary, target)
            if followed.inputs.get("summary") != inputs:
                self._start(followed, "summary", inputs)
                told = self._summarize(key, binding, followed, target, summary)
                followed.tasks["summary"] = asyncio.create_task(told)

    def sources(self, key: Key) -> Sources:
        """What has become of `prepare`."""
        followed = self._by_key.get(key)
        return followed.sources if followed else Sources()

    def state(self, key: Key) -> CacheState | None:
        """The last that `summary` told; None where there is none."""
        followed = self._by_key.get(key)
        return followed.state if followed else None

    def forget(self, key: Key) -> None:
        """The Dataset is gone or has no runtime any more."""
        for task in (self._by_key.pop(key, None) or _Followed()).tasks.values():
            task.cancel()

    def close(self) -> None:
        """Ends everything."""
        for key in list(self._by_key):
            self.forget(key)

    def _start(self, followed: _Followed, name: str, inputs: str) -> None:
        followed.inputs[name] = inputs
        if (task := followed.tasks.pop(name, None)) is not None:
            task.cancel()

    async def _prepare(
        self, key: Key, binding: Binding, followed: _Followed, pod: Json, command: Exec
    ) -> None:
        delay = _MIN_RETRY
        while True:
            try:
                problem = binding.backend.prepared(binding.cache, await self._execute(binding, pod, command))
            except (ExecuteError, ApiError) as error:
                problem = str(error)
            if problem:
                log.warning("sources are not mounted", dataset=str(key), error=problem)
                followed.sources = Sources(False, f"mounting the sources: {problem}", followed.sources.at)
            else:
                followed.sources = Sources(at=now_rfc3339())
            self._changed(key)
            if not followed.sources.problem:
                return
            await asyncio.sleep(delay)
            delay = min(2 * delay, _MAX_RETRY)

    async def _summarize(
        self, key: Key, binding: Binding, followed: _Followed, pod: Json, command: Exec
    ) -> None:
        while True:
            followed.stirred.clear()
            try:
                output = await self._execute(binding, pod, command)
            except (ExecuteError, ApiError) as error:
                log.debug("the cache's state is not told", dataset=str(key), error=str(error))
            else:
                state = binding.backend.summarize(binding.cache, output)
                if state != followed.state:
                    followed.state = state
                    self._changed(key)
            await asyncio.sleep(_PERIOD)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_IDLE_PERIOD - _PERIOD):
                    await followed.stirred.wait()

    async def _execute(self, binding: Binding, pod: Json, command: Exec) -> str:
        metadata, container = pod["metadata"], pod["spec"]["containers"][0]["name"]
        at = (metadata["namespace"], metadata["name"], container)

        async def act() -> str:
            return await execute(self._client, *at, command.command, timeout=command.timeout)

        return await self._rights.using(EXEC_ROLE, binding, act)


def _was_done(binding: Binding) -> bool:
    """Whether the status says that what the Dataset has now is mounted."""
    said, spec = binding.dataset.get("status") or {}, binding.dataset.get("spec") or {}
    wanted, mounted = ([m.get("mountPoint") for m in each.get("mounts") or []] for each in (spec, said))
    return said.get("phase") == "Bound" and wanted == mounted


def _target(pods: Sequence[Json]) -> Json | None:
    """The first pod, once its first container runs."""
    running = [pod for pod in pods if _life(pod) and not pod["metadata"].get("deletionTimestamp")]
    return min(running, key=lambda pod: str(pod["metadata"]["name"]), default=None)


def _life(pod: Json) -> str:
    """When the first container started; empty when it does not run."""
    name = pod["spec"]["containers"][0]["name"]
    for said in (pod.get("status") or {}).get("containerStatuses") or []:
        if said.get("name") == name and (running := (said.get("state") or {}).get("running")):
            return f"{running.get('startedAt')} {said.get('restartCount', 0)}"
    return ""


def _inputs(command: Exec, pod: Json | None) -> str:
    life = [pod["metadata"]["uid"], _life(pod)] if pod is not None else []
    return short_hash(json.dumps([list(command.command), command.inputs, life]))
