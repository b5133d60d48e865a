"""The hub manager: all hub controllers and those of the plug-ins, in one process."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import structlog

from addon_framework.api.addon import ManagedClusterAddOn
from addon_framework.api.core import (
    CLUSTERROLEBINDINGS,
    CLUSTERROLES,
    LEASES,
    NAMESPACES,
    ROLEBINDINGS,
    ROLES,
)
from addon_framework.api.work import ManifestWork
from addon_framework.hub.addons.cma import CmaStatusController
from addon_framework.hub.addons.config_controller import AddonConfigController
from addon_framework.hub.addons.controllers import addon_controllers
from addon_framework.hub.addons.hub_manifests import HubManifestsController
from addon_framework.hub.addons.install import InstallController
from addon_framework.hub.addons.spec_hashes import SpecHashController
from addon_framework.hub.addons.tokens import AddonTokenController
from addon_framework.hub.conversion import ConversionController
from addon_framework.hub.detect import detect
from addon_framework.hub.placement.controller import PlacementController
from addon_framework.hub.placement.cost import CostController
from addon_framework.hub.registration import registration_controllers
from addon_framework.hub.roles import HUB_NAMESPACE
from addon_framework.hub.work.controllers import work_controllers
from addon_framework.kube import Client, Controller, Manager, Unreachable
from addon_framework.plugins import PluginError, Plugins, discover

log = structlog.get_logger(__name__)

LEASE_NAME = "boundaryless-hub-manager"
CONTROLLERS = ("registration", "placement", "work", "addons")
# Several for each cluster, and only ever looked at one by one.
_PACKED = (
    ManagedClusterAddOn.RESOURCE,
    ManifestWork.RESOURCE,
    NAMESPACES,
    ROLES,
    ROLEBINDINGS,
    CLUSTERROLES,
    CLUSTERROLEBINDINGS,
    LEASES,
)
_OF_ADDON_MANAGER = (InstallController, AddonConfigController, CmaStatusController, AddonTokenController)
_MIN_PAUSE, _MAX_PAUSE = 0.1, 5.0


class UnknownController(ValueError):
    """A name in --controllers that is not one of CONTROLLERS."""


@dataclass(frozen=True)
class Choice:
    """Which controllers run, and why. With `beside_addon_manager` OCM's installs and configures add-ons."""

    names: tuple[str, ...]
    reasons: dict[str, str]
    beside_addon_manager: bool = False


async def choose(client: Client, names: Iterable[str] | None) -> Choice:
    """What was named; otherwise what the hub lacks, asked as soon as it can be reached.

    Add-ons are always ours: OCM's add-on manager knows nothing of plug-ins. Beside it we leave to it what it
    does for every add-on.
    """
    if names is not None:
        chosen = select(names)
        return Choice(tuple(chosen), {n: "ours" if n in chosen else "not named" for n in CONTROLLERS})
    pause = _MIN_PAUSE
    while True:
        try:
            found = await detect(client)
            break
        except Unreachable as error:
            log.info("waiting for the hub", reason=error.message)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _MAX_PAUSE)
    reasons = {n: f"left to {found[n]}" if n in found else "ours: OCM's is not here" for n in CONTROLLERS}
    if "addons" in found:
        reasons["addons"] = f"ours for plug-ins; install strategies and configs left to {found['addons']}"
    ours = tuple(name for name in CONTROLLERS if name not in found or name == "addons")
    return Choice(ours, reasons, beside_addon_manager="addons" in found)


def select(names: Iterable[str] | None) -> list[str]:
    """Check a choice of controllers; None is all. Raises UnknownController."""
    chosen = list(CONTROLLERS if names is None else dict.fromkeys(names))
    if unknown := [name for name in chosen if name not in CONTROLLERS]:
        raise UnknownController(
            f"unknown hub controllers: {', '.join(unknown)}; known are {', '.join(CONTROLLERS)}"
        )
    return chosen


def hub_manager(
    client: Client,
    controllers: Iterable[str] | None = None,
    *,
    plugins: Plugins | None = None,
    auto_approve_users: Iterable[str] = (),
    strict_ocm: bool = False,
    elect: bool = False,
    lease_duration: float = 15.0,
    health_port: int | None = None,
    beside_addon_manager: bool = False,
    conversion: tuple[str, int] | None = None,
) -> Manager:
    """The manager with the chosen controllers, not yet running.

    `conversion` is the address and port at which the API server reaches us to convert add-ons.
    """
    plugins = discover() if plugins is None else plugins

    def addons() -> list[Controller]:
        own = addon_controllers(plugins, templates=not beside_addon_manager)
        if beside_addon_manager:
            own = [controller for controller in own if not isinstance(controller, _OF_ADDON_MANAGER)]
            own.append(SpecHashController(plugins))
        return [HubManifestsController(plugins), CostController(), *own, *_contributed(plugins)]

    factories: dict[str, Callable[[], Sequence[Controller]]] = {
        "registration": lambda: registration_controllers(auto_approve_users=auto_approve_users),
        "placement": lambda: [PlacementController(plugins, strict_ocm=strict_ocm)],
        "work": work_controllers,
        "addons": addons,
    }
    manager = Manager(
        client,
        name=LEASE_NAME,
        lease_namespace=HUB_NAMESPACE if elect else None,
        lease_duration=lease_duration,
        health_port=health_port,
        packed=_PACKED,
    )
    for name in select(controllers):
        for controller in factories[name]():
            manager.add(controller)
    if conversion is not None:
        manager.add(ConversionController(*conversion))
    return manager


async def run_hub(
    client: Client,
    controllers: Iterable[str] | None = None,
    *,
    plugins: Plugins | None = None,
    auto_approve_users: Iterable[str] = (),
    strict_ocm: bool = False,
    elect: bool = False,
    health_port: int | None = None,
    conversion: tuple[str, int] | None = None,
    handle_signals: bool = True,
) -> None:
    """Run the hub manager until SIGTERM, SIGINT, or cancellation; without `controllers` what is missing."""
    if controllers is not None:
        controllers = select(controllers)
    found = discover() if plugins is None else plugins

    async def serve() -> None:
        choice = await choose(client, controllers)
        await found.prepare()
        manager = hub_manager(
            client,
            choice.names,
            plugins=found,
            auto_approve_users=auto_approve_users,
            strict_ocm=strict_ocm,
            elect=elect,
            health_port=health_port,
            beside_addon_manager=choice.beside_addon_manager,
            conversion=conversion,
        )
        log.info("hub manager runs", server=client.server, **choice.reasons)
        await manager.run()

    work = asyncio.ensure_future(serve())
    if handle_signals:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, work.cancel)
    try:
        await work
    except asyncio.CancelledError:
        # Ours was the task that a signal cancelled; a cancellation of run_hub itself goes on.
        if (task := asyncio.current_task()) is not None and task.cancelling():
            work.cancel()
            raise
        log.info("hub manager stops")


def _contributed(plugins: Plugins) -> list[Controller]:
    """Controllers that plug-ins bring; a plug-in that fails to make them brings none."""
    result: list[Controller] = []
    for plugin in plugins.implementing("addon_hub_controllers"):
        try:
            result += plugin.call("addon_hub_controllers") or []
        except PluginError as error:
            log.error("controllers not started", plugin=plugin.name, reason=str(error))
    for plugin in plugins:
        if plugin.quarantined:
            log.error("plug-in quarantined", plugin=plugin.name, reason=plugin.reason)
    return result
