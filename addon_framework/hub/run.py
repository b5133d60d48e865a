"""The hub manager: all hub controllers and those of the plug-ins, in one process."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterable, Sequence

import structlog

from addon_framework.hub.addons.controllers import addon_controllers
from addon_framework.hub.addons.hub_manifests import HubManifestsController
from addon_framework.hub.placement.controller import PlacementController
from addon_framework.hub.registration import registration_controllers
from addon_framework.hub.roles import HUB_NAMESPACE
from addon_framework.kube import Client, Controller, Manager
from addon_framework.plugins import PluginError, Plugins, discover

log = structlog.get_logger(__name__)

LEASE_NAME = "boundaryless-hub-manager"
CONTROLLERS = ("registration", "placement", "addons")


class UnknownController(ValueError):
    """A name in --controllers that is not one of CONTROLLERS."""


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
    elect: bool = False,
    health_port: int | None = None,
) -> Manager:
    """The manager with the chosen controllers, not yet running."""
    plugins = discover() if plugins is None else plugins
    factories: dict[str, Callable[[], Sequence[Controller]]] = {
        "registration": lambda: registration_controllers(auto_approve_users=auto_approve_users),
        "placement": lambda: [PlacementController(plugins)],
        "addons": lambda: [
            HubManifestsController(plugins),
            *addon_controllers(plugins),
            *_contributed(plugins),
        ],
    }
    manager = Manager(
        client,
        name=LEASE_NAME,
        lease_namespace=HUB_NAMESPACE if elect else None,
        health_port=health_port,
    )
    for name in select(controllers):
        for controller in factories[name]():
            manager.add(controller)
    return manager


async def run_hub(
    client: Client,
    controllers: Iterable[str] | None = None,
    *,
    plugins: Plugins | None = None,
    auto_approve_users: Iterable[str] = (),
    elect: bool = False,
    health_port: int | None = None,
    handle_signals: bool = True,
) -> None:
    """Run the hub manager until SIGTERM, SIGINT, or cancellation."""
    plugins = discover() if plugins is None else plugins
    chosen = select(controllers)
    manager = hub_manager(
        client,
        chosen,
        plugins=plugins,
        auto_approve_users=auto_approve_users,
        elect=elect,
        health_port=health_port,
    )
    log.info("hub manager runs", server=client.server, controllers=chosen)
    work = asyncio.ensure_future(manager.run())
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
