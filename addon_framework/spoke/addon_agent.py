"""The entry point of the agent image: runs the agent coroutine of one add-on in its pod on a spoke.

    python -m addon_framework.spoke.addon_agent NAME

Who it is comes from CLUSTER_NAME, ADDON_NAME and INSTALL_NAMESPACE; HUB_KUBECONFIG names the file with its
identity on the hub, without it there is none. Its own cluster it reaches with the pod's service account; in
hosted mode that is the hosting cluster's, and MANAGED_KUBECONFIG names the file for the cluster it is for.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog

from addon_framework.api.core import LEASES
from addon_framework.api.meta import Json
from addon_framework.api.time import micro_time
from addon_framework.kube import (
    AlreadyExists,
    ApiError,
    Client,
    ClientConfig,
    ConfigError,
    NotFound,
    in_cluster_config,
    load_kubeconfig,
)
from addon_framework.logs import configure
from addon_framework.plugins import (
    DEFAULT_INSTALL_NAMESPACE,
    AgentContext,
    Plugin,
    PluginError,
    Plugins,
    discover,
)

log = structlog.get_logger(__name__)

LEASE_SECONDS = 60
LEASE_RETRY = 5.0
FILES_EVERY = 5.0  # seconds between looks at the mounted secret, which has no watch of its own


@dataclass(frozen=True)
class Settings:
    """What the pod says of the agent."""

    addon: str
    cluster: str
    namespace: str
    hub_kubeconfig: Path | None
    managed_kubeconfig: Path | None = None

    @classmethod
    def from_environment(cls, addon: str, environment: Mapping[str, str]) -> Settings:
        """Raises ConfigError naming the variable that is missing or wrong."""
        cluster = environment.get("CLUSTER_NAME", "")
        if not cluster:
            raise ConfigError(
                "the environment variable CLUSTER_NAME is not set; it is the name of this cluster"
            )
        files = {}
        for variable, secret in (
            ("HUB_KUBECONFIG", "hub-kubeconfig"),
            ("MANAGED_KUBECONFIG", "managed-kubeconfig"),
        ):
            path = environment.get(variable, "")
            if path and not Path(path).exists():
                raise ConfigError(
                    f"{variable} names {path}, which is not there; "
                    f"is the Secret {addon}-{secret} mounted at {Path(path).parent}?"
                )
            files[variable] = Path(path) if path else None
        return cls(
            addon=environment.get("ADDON_NAME") or addon,
            cluster=cluster,
            namespace=environment.get("INSTALL_NAMESPACE") or DEFAULT_INSTALL_NAMESPACE,
            hub_kubeconfig=files["HUB_KUBECONFIG"],
            managed_kubeconfig=files["MANAGED_KUBECONFIG"],
        )


async def run_addon_agent(plugin: Plugin, settings: Settings, own: Client) -> None:
    """Run the agent and renew its Lease until it ends or is cancelled. Raises what the agent raises.

    `own` is the cluster that the pod is on: in hosted mode not the one that the agent is for.
    """
    files = (settings.hub_kubeconfig, settings.managed_kubeconfig)
    hub, managed = (Client.from_kubeconfig(path) if path else None for path in files)
    context = AgentContext(
        addon_name=settings.addon,
        cluster_name=settings.cluster,
        install_namespace=settings.namespace,
        hub=hub,
        spoke=managed or own,
        log=structlog.get_logger("agent").bind(addon=settings.addon, cluster=settings.cluster),
    )
    agent = asyncio.ensure_future(_agent(plugin, context))
    helpers = [asyncio.ensure_future(keep_lease(own, settings.namespace, settings.addon))]
    for client, path in zip((hub, managed), files, strict=True):
        if client is not None and path is not None:
            helpers.append(asyncio.ensure_future(follow_files(client, path)))
    try:
        await asyncio.wait({agent, *helpers}, return_when=asyncio.FIRST_COMPLETED)
        for task in (agent, *helpers):
            if task.done():
                await task
    finally:
        for task in (agent, *helpers):
            task.cancel()
        await asyncio.gather(agent, *helpers, return_exceptions=True)
        for client in (hub, managed):
            if client is not None:
                await client.close()


async def keep_lease(
    spoke: Client, namespace: str, name: str, *, jitter: Callable[[], float] = random.random
) -> None:
    """Renews the Lease by which the registration agent knows that we live; for ever."""
    while True:
        try:
            await _renew(spoke, namespace, name)
            pause = LEASE_SECONDS * (0.75 + 0.25 * jitter())
        except ApiError as error:
            log.warning("lease not renewed", lease=f"{namespace}/{name}", reason=error.message)
            pause = LEASE_RETRY * (0.75 + 0.25 * jitter())
        await asyncio.sleep(pause)


async def follow_files(client: Client, kubeconfig: Path, every: float = FILES_EVERY) -> None:
    """Gives the client the renewed identity when the kubelet has replaced the files; for ever.

    A mounted Secret changes by a switch of links, so a look at one file tells of all.
    """
    seen = _contents(kubeconfig.parent)
    while True:
        await asyncio.sleep(every)
        try:
            found = _contents(kubeconfig.parent)
            if found == seen:
                continue
            config = load_kubeconfig(kubeconfig)
            config.ssl_context()  # a certificate that is not that of the key shows here: between two files
        except (OSError, ValueError, ConfigError) as error:
            log.info("identity not readable, again soon", reason=str(error))
            continue
        client.reconfigure(config)
        seen = found
        log.info("identity renewed", file=str(kubeconfig))


async def main_async(name: str, plugins: Plugins, environment: Mapping[str, str]) -> None:
    """As the image runs it: until SIGTERM or SIGINT."""
    plugin = plugins.require(name)
    settings = Settings.from_environment(name, environment)
    async with Client(_own_cluster(environment)) as spoke:
        work = asyncio.ensure_future(run_addon_agent(plugin, settings, spoke))
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, work.cancel)
        try:
            await work
        except asyncio.CancelledError:
            log.info("agent stops", addon=name)


def main() -> None:
    """The command line. Exit status 1 with a sentence when the agent cannot run, so that the pod restarts."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m addon_framework.spoke.addon_agent NAME")
    configure()
    try:
        asyncio.run(main_async(sys.argv[1], discover(), os.environ))
    except (ConfigError, PluginError) as error:
        sys.exit(f"error: {error}")


async def _agent(plugin: Plugin, context: AgentContext) -> None:
    """The plug-in's coroutine. One that ends by itself has failed: agents run until cancelled."""
    coroutine = plugin.call("addon_agent", context=context)
    if coroutine is None:
        raise PluginError(f'add-on "{plugin.name}" from {plugin.origin} has no agent: it lacks addon_agent')
    await coroutine
    raise PluginError(f'the agent of add-on "{plugin.name}" from {plugin.origin} ended by itself')


async def _renew(spoke: Client, namespace: str, name: str) -> None:
    spec = {"holderIdentity": name, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": micro_time()}
    try:
        await spoke.patch(LEASES, name, {"spec": spec}, namespace)
    except NotFound:
        lease: Json = {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": {"name": name, "namespace": namespace},
            "spec": spec,
        }
        try:
            await spoke.create(LEASES, lease)
        except AlreadyExists:
            pass


def _own_cluster(environment: Mapping[str, str]) -> ClientConfig:
    try:
        return in_cluster_config()
    except ConfigError:
        if path := environment.get("KUBECONFIG"):  # outside a pod, for its author
            return load_kubeconfig(path)
        raise


def _contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir()) if path.is_file()}


if __name__ == "__main__":
    main()
