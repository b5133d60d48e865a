"""Finds plug-ins by their entry points and loads each one alone, so that a bad one harms nobody else."""

from __future__ import annotations

import asyncio
import difflib
import inspect
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

import pluggy

from addon_framework.plugins.answers import Nonsense, check_description, checked
from addon_framework.plugins.calls import TIMEOUT, Caller
from addon_framework.plugins.errors import PluginBusy, PluginError, PluginMissing
from addon_framework.plugins.hookspecs import PROJECT, Hooks
from addon_framework.plugins.types import AddonDescription

ADDONS = "boundaryless.addons"
RUNTIMES = "boundaryless.runtimes"
ENGINES = "boundaryless.engines"

_HOOK_NAMES = frozenset(name for name in vars(Hooks) if not name.startswith("_"))


@dataclass
class Plugin:
    """One name claimed in an entry-point group. Nothing is imported before `load()`."""

    name: str
    group: str
    origin: str  # "distribution version (module:attribute)"
    entry_point: metadata.EntryPoint | None = None
    target: Any = None  # an object registered directly, without an entry point
    reason: str = ""  # why it is quarantined; empty when it is not
    load_seconds: float | None = None
    timeout: float = TIMEOUT  # seconds a hook may take; a description may say another number
    ours: bool = False  # code of this library, which needs no watching over
    _instance: Any = None
    _manager: pluggy.PluginManager | None = None
    _description: AddonDescription | None = None
    _caller: Caller | None = None

    @property
    def quarantined(self) -> bool:
        """Whether the plug-in is out of use; `reason` says why."""
        return bool(self.reason)

    def load(self) -> Any:
        """Return the plug-in's object, importing it the first time. Raises PluginError, again and again."""
        if self.reason:
            raise PluginError(self.reason)
        if self._instance is None:
            started = time.perf_counter()
            try:
                self._instance = self._create()
            except (Exception, SystemExit) as error:
                self.reason = (
                    error.args[0] if isinstance(error, PluginError) else self._explain("load", error)
                )
                raise PluginError(self.reason) from error
            self.load_seconds = time.perf_counter() - started
        return self._instance

    def implements(self, hook: str) -> bool:
        """Whether the plug-in implements the hook (loads it)."""
        self.load()
        return self._manager is not None and bool(getattr(self._manager.hook, hook).get_hookimpls())

    async def prepare(self, timeout: float = TIMEOUT) -> None:
        """Load without holding up the event loop; one that does not come to its end is quarantined."""
        if self._instance is not None or self.reason:
            return
        try:
            await self._called("load", self.load, timeout)
        except PluginBusy:
            raise
        except PluginError as error:
            self.reason = self.reason or str(error)

    def call(self, hook: str, **arguments: Any) -> Any:
        """Call one hook of this plug-in alone; None when it does not implement it.

        What the plug-in raises, and what it may not return, comes out as a PluginError that names the plug-in
        and the hook. Where a hook that hangs would do harm, use `ask`.
        """
        if not self.implements(hook):
            return None
        try:
            answer = getattr(self._manager.hook, hook)(**arguments) if self._manager is not None else None
            if inspect.iscoroutine(answer) and hook != "addon_agent":
                answer = asyncio.run(answer)  # an author may write `async def`: it runs in a loop of its own
            return checked(hook, answer)
        except PluginError:
            raise
        except Nonsense as error:
            text = f'plug-in "{self.name}" from {self.origin}: {hook} returned {error}'
            raise PluginError(text) from error
        except (Exception, SystemExit) as error:
            raise PluginError(self._explain(hook, error)) from error

    async def ask(self, hook: str, **arguments: Any) -> Any:
        """As `call`, in a thread beside the event loop, and no longer than `timeout`.

        PluginBusy, to be tried again soon, while the plug-in takes long over another call.
        """
        if not self.ours:
            await self.prepare()
        if not self.implements(hook):
            return None
        return await self.watch_over(hook, lambda: self.call(hook, **arguments))

    async def watch_over(self, what: str, work: Callable[[], Any]) -> Any:
        """Run some of the plug-in's code as `ask` runs a hook."""
        return work() if self.ours else await self._called(what, work, self.timeout)

    def describe(self) -> AddonDescription:
        """The add-on's description, as it was when the plug-in was loaded."""
        self.load()
        if self._description is None:
            raise PluginError(f'"{self.name}" from {self.origin} is no add-on')
        return self._description

    def hooks(self) -> list[str]:
        """Names of the hooks that the plug-in implements."""
        return sorted(name for name in _HOOK_NAMES if self.implements(name))

    async def _called(self, what: str, work: Callable[[], Any], timeout: float) -> Any:
        if self._caller is None:
            self._caller = Caller(f'plug-in "{self.name}" from {self.origin}')
        try:
            return await self._caller.run(what, work, timeout)
        except (PluginError, asyncio.CancelledError):
            raise
        except BaseException as error:
            raise PluginError(self._explain(what, error)) from error

    def _create(self) -> Any:
        target = self.entry_point.load() if self.entry_point is not None else self.target
        instance = target() if isinstance(target, type) else target
        if self.group == ADDONS:
            self._manager = self._register(instance)
        return instance

    def _register(self, instance: Any) -> pluggy.PluginManager:
        manager = pluggy.PluginManager(PROJECT)
        manager.add_hookspecs(Hooks)
        manager.register(instance, self.name)
        self._refuse_unknown_hooks(manager)
        description = manager.hook.addon_describe()
        if not isinstance(description, AddonDescription):
            raise PluginError(
                f'add-on "{self.name}" from {self.origin} must implement addon_describe and return an '
                f"AddonDescription, not {type(description).__name__}"
            )
        if description.name != self.name:
            raise PluginError(
                f'add-on "{self.name}" from {self.origin} describes itself as "{description.name}"; '
                "the entry point and addon_describe().name must agree"
            )
        try:
            check_description(description)
        except Nonsense as error:
            raise PluginError(f'add-on "{self.name}" from {self.origin}: addon_describe: {error}') from error
        self._description, self.timeout = description, description.hook_timeout
        return manager

    def _refuse_unknown_hooks(self, manager: pluggy.PluginManager) -> None:
        unknown = [
            name
            for name, caller in vars(manager.hook).items()
            if isinstance(caller, pluggy.HookCaller) and name not in _HOOK_NAMES and caller.get_hookimpls()
        ]
        for name in unknown:
            near = difflib.get_close_matches(name, _HOOK_NAMES, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise PluginError(f'add-on "{self.name}" from {self.origin} has an unknown hook {name}{hint}')

    def _explain(self, where: str, error: BaseException) -> str:
        """One line: what failed, in whose code, and the last line of the plug-in's own trace."""
        frames = traceback.extract_tb(error.__traceback__)
        at = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
        kind = "could not be loaded" if where == "load" else f"failed in {where}"
        return f'plug-in "{self.name}" from {self.origin} {kind}: {type(error).__name__}: {error}{at}'


@dataclass
class Plugins:
    """The plug-ins of one group, by name. Made by `discover`; owned by whoever asked."""

    by_name: dict[str, Plugin] = field(default_factory=dict)
    _made: dict[tuple[str, str], tuple[Any, Plugin]] = field(default_factory=dict, repr=False)

    def __iter__(self) -> Iterator[Plugin]:
        return iter(self.by_name.values())

    def __len__(self) -> int:
        return len(self.by_name)

    def get(self, name: str) -> Plugin | None:
        """The plug-in of that name, quarantined or not."""
        return self.by_name.get(name)

    def require(self, name: str) -> Plugin:
        """The plug-in of that name; PluginMissing naming what exists when there is none."""
        if name in self.by_name:
            return self.by_name[name]
        have = ", ".join(sorted(self.by_name)) or "none"
        raise PluginMissing(f'no plug-in is named "{name}"; installed: {have}')

    def made_from(self, source: Any, name: str, make: Callable[[], Plugin]) -> Plugin:
        """What `make` makes of an object in a cache, once for as long as the cache has that very object."""
        key = name, source["metadata"]["name"]
        if (kept := self._made.get(key)) is not None and kept[0] is source:
            return kept[1]
        plugin = make()
        self._made[key] = source, plugin
        return plugin

    async def prepare(self) -> None:
        """Load all at once, without holding up the event loop."""
        await asyncio.gather(*(plugin.prepare() for plugin in self))

    def usable(self) -> Iterator[Plugin]:
        """Plug-ins that load; the others are quarantined with their reason on the way."""
        for plugin in self:
            try:
                plugin.load()
            except PluginError:
                continue
            yield plugin

    def implementing(self, hook: str) -> Iterator[Plugin]:
        """Usable plug-ins that implement the hook."""
        return (plugin for plugin in self.usable() if plugin.implements(hook))

    def add(
        self, name: str, target: Any, *, group: str = ADDONS, origin: str = "registered directly"
    ) -> Plugin:
        """Register an object or class without an entry point (tests, one-file plug-ins)."""
        if name in self.by_name:
            raise PluginError(_claimed_twice(name, [self.by_name[name].origin, origin]))
        plugin = Plugin(name=name, group=group, origin=origin, target=target)
        self.by_name[name] = plugin
        return plugin


def discover(
    group: str = ADDONS,
    *,
    only: Iterable[str] | None = None,
    entry_points: Iterable[metadata.EntryPoint] | None = None,
) -> Plugins:
    """Read the entry points of a group without importing anything.

    `only` is an allow-list of names. A name claimed by two distributions is quarantined, with both named.
    """
    allowed = None if only is None else set(only)
    claims: dict[str, dict[str, metadata.EntryPoint]] = {}
    for entry_point in metadata.entry_points(group=group) if entry_points is None else entry_points:
        if allowed is None or entry_point.name in allowed:
            # A distribution seen twice on the path is one claim: its origin is the same text.
            claims.setdefault(entry_point.name, {}).setdefault(_origin(entry_point), entry_point)

    plugins = Plugins()
    for name, claimants in sorted(claims.items()):
        origins = sorted(claimants)
        plugin = Plugin(name=name, group=group, origin=origins[0], entry_point=claimants[origins[0]])
        if len(origins) > 1:
            plugin.origin, plugin.reason = " and ".join(origins), _claimed_twice(name, origins)
        plugins.by_name[name] = plugin
    return plugins


def _origin(entry_point: metadata.EntryPoint) -> str:
    dist = entry_point.dist
    who = f"{dist.name} {dist.version}" if dist is not None else "an unknown distribution"
    return f"{who} ({entry_point.value})"


def _claimed_twice(name: str, origins: list[str]) -> str:
    return f'the name "{name}" is claimed by {" and by ".join(origins)}; uninstall one of them'


def status(plugins: Plugins) -> list[Mapping[str, Any]]:
    """One row per plug-in for `fleetadm plugins list`: loads each, reports reasons."""
    rows: list[Mapping[str, Any]] = []
    for plugin in plugins:
        try:
            plugin.load()
            hooks = plugin.hooks()
        except PluginError:
            hooks = []
        rows.append(
            {
                "name": plugin.name,
                "origin": plugin.origin,
                "state": "Quarantined" if plugin.quarantined else "Ready",
                "reason": plugin.reason,
                "hooks": hooks,
                "load_seconds": plugin.load_seconds,
            }
        )
    return rows
