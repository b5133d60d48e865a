"""The spoke's agents in one process: registration, and the work agent, with one identity on the hub."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path

import structlog

from addon_framework.api.cluster import ClusterClaim, ManagedCluster
from addon_framework.api.conditions import is_true
from addon_framework.api.core import NAMESPACES
from addon_framework.api.crd import load_crds
from addon_framework.api.names import CLUSTER_LEASE, CONDITION_ACCEPTED
from addon_framework.api.work import AppliedManifestWork
from addon_framework.kube import (
    ApiError,
    Client,
    Forbidden,
    Key,
    Manager,
    NotFound,
    Unauthorized,
    WaitTimeoutError,
    install_crds,
    wait_for,
)
from addon_framework.spoke.home import Home, hosted_namespace
from addon_framework.spoke.registration.addon_health import AddonHealthController
from addon_framework.spoke.registration.addons import AddonRegistrationController
from addon_framework.spoke.registration.credentials import client_config
from addon_framework.spoke.registration.heartbeat import HeartbeatController
from addon_framework.spoke.registration.identity import HubIdentity, IdentityLost, names_object
from addon_framework.spoke.registration.renewal import RenewalController
from addon_framework.spoke.registration.standing import StandingController
from addon_framework.spoke.registration.status import ClusterStatusController
from addon_framework.spoke.work.bookkeeping import hub_hash
from addon_framework.spoke.work.controller import WorkController
from addon_framework.spoke.work.deletion import AppliedWorkController
from addon_framework.spoke.work.objects import SpokeObjects

log = structlog.get_logger(__name__)

CONTROLLERS = ("registration", "work")
FIELD_MANAGER = "boundaryless-agent"
_MIN_PAUSE, _MAX_PAUSE = 0.1, 5.0
_ACCEPTANCE_PAUSE = 1.0
_LOOK_AGAIN = 10.0  # seconds between looks whether the hub still knows a cluster that waits


class UnknownController(ValueError):
    """A name in --controllers that is not one of CONTROLLERS."""


def select(names: Iterable[str] | None) -> list[str]:
    """Check a choice of controllers; None is all. Raises UnknownController."""
    chosen = list(CONTROLLERS if names is None else dict.fromkeys(names))
    if unknown := [name for name in chosen if name not in CONTROLLERS]:
        raise UnknownController(
            f"unknown agent controllers: {', '.join(unknown)}; known are {', '.join(CONTROLLERS)}"
        )
    return chosen


async def run_agent(
    *,
    hub_kubeconfig: Path,
    spoke_kubeconfig: Path,
    cluster_name: str,
    controllers: Iterable[str] | None = None,
    hosting_kubeconfig: Path | None = None,
    addon_auth: str = "csr",
    handle_signals: bool = True,
    now: Callable[[], datetime] | None = None,
) -> None:
    """Run the agents until SIGTERM, SIGINT, or cancellation.

    `hub_kubeconfig` is that with which the cluster asks to join. With `hosting_kubeconfig`, of the cluster
    that the agents run on, they are in hosted mode. `addon_auth` is by what add-ons' agents get their
    identity on the hub, "csr" or "token". `now` is the hub's time, by default our own put right by the hub's
    answers. Raises ConfigError when a kubeconfig cannot be read.
    """
    chosen = select(controllers)
    async with contextlib.AsyncExitStack() as stack:
        spoke = await stack.enter_async_context(Client.from_kubeconfig(spoke_kubeconfig))
        home = Home(spoke)
        if hosting_kubeconfig is not None:
            hosting = await stack.enter_async_context(Client.from_kubeconfig(hosting_kubeconfig))
            home = Home(hosting, hosted_namespace(cluster_name))
        identity = HubIdentity(spoke, cluster_name, hub_kubeconfig, now=now, home=home)
        log.info("agent runs", cluster=cluster_name, spoke=spoke.server, controllers=chosen)
        work = asyncio.ensure_future(_run(identity, chosen, addon_auth))
        if handle_signals:
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, work.cancel)
        try:
            await work
        except asyncio.CancelledError:
            # Ours was the task that a signal cancelled; a cancellation of run_agent itself goes on.
            if (task := asyncio.current_task()) is not None and task.cancelling():
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)
                raise
            log.info("agent stops", cluster=cluster_name)


async def _run(identity: HubIdentity, chosen: list[str], addon_auth: str) -> None:
    """One life per identity: what is lost is obtained anew."""
    renew = "registration" in chosen
    while True:
        agent_id = await _prepared(identity.spoke, identity.home)
        data = await (identity.obtain() if renew else identity.wait())
        try:
            async with identity.listen(Client(client_config(data))) as hub:
                await _accepted(hub, identity, data)
                await _serve(identity, hub, data, chosen, agent_id, addon_auth)
        except IdentityLost as error:
            log.warning("agents start over", cluster=identity.cluster, reason=str(error))
            await asyncio.sleep(_MIN_PAUSE)


async def prepare(spoke: Client, home: Home) -> str:
    """Makes the agents' namespace and kinds; safe to repeat. The namespace's uid: it names this agent."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": home.namespace}}
    live = await home.client.apply(namespace, field_manager=FIELD_MANAGER, resource=NAMESPACES)
    ours = (AppliedManifestWork.RESOURCE, ClusterClaim.RESOURCE)
    names = {f"{resource.plural}.{resource.group}" for resource in ours}
    crds = [crd for crd in load_crds("spoke") if crd["metadata"]["name"] in names]
    await install_crds(spoke, crds, field_manager=FIELD_MANAGER)  # a klusterlet's stay as they are
    return str(live["metadata"]["uid"])


async def _prepared(spoke: Client, home: Home) -> str:
    """`prepare`, as soon as the spoke's API server lets us."""
    pause = _MIN_PAUSE
    while True:
        try:
            return await prepare(spoke, home)
        except (ApiError, WaitTimeoutError) as error:
            log.warning("cannot prepare the cluster yet", reason=str(error))
            await asyncio.sleep(pause)
            pause = min(pause * 2, _MAX_PAUSE)


async def _accepted(hub: Client, identity: HubIdentity, data: dict[str, bytes]) -> None:
    """Returns once the hub has given us our rights. Raises IdentityLost when it does not know us."""
    resource, cluster = ManagedCluster.RESOURCE, identity.cluster
    clock = asyncio.get_running_loop().time
    pause, look_at = _MIN_PAUSE, 0.0
    while True:
        try:
            await hub.get(resource, cluster)
            await wait_for(
                hub,
                resource,
                cluster,
                until=lambda obj: obj is not None and is_true(obj, CONDITION_ACCEPTED),
                timeout=60,
                what="accepted",
            )
            return
        except Unauthorized as error:
            identity.refuse(data)
            raise IdentityLost(error.message) from error
        except (Forbidden, NotFound, WaitTimeoutError) as error:
            # Until it is accepted a cluster may not even watch itself, and neither may one that was removed.
            gone = isinstance(error, NotFound) and names_object(error)
            if not gone and look_at <= clock():
                gone, look_at = await identity.is_gone(), clock() + _LOOK_AGAIN
            if gone:
                identity.refuse(data)
                raise IdentityLost(f"the hub has removed cluster {cluster}; asking to join again") from error
            if pause == _MIN_PAUSE:
                log.info("waiting to be accepted", cluster=cluster, next=f"fleetadm accept {cluster}")
        except ApiError as error:
            log.warning("cannot reach the hub yet", reason=error.message)
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, _ACCEPTANCE_PAUSE)


async def _serve(
    identity: HubIdentity,
    hub: Client,
    data: dict[str, bytes],
    chosen: list[str],
    agent_id: str,
    addon_auth: str,
) -> None:
    """Runs the controllers until the identity is lost."""
    spoke, cluster = identity.spoke, identity.cluster
    lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    objects = SpokeObjects(spoke)
    manager = Manager(hub, name=f"boundaryless-agent-{cluster}")
    renewal = RenewalController(identity, hub, data, lost, renew="registration" in chosen)
    manager.add(renewal, identity.home.client)
    standing = StandingController(identity, data, lost)
    manager.add(standing)
    if "registration" in chosen:
        heartbeat = HeartbeatController(cluster, renewal.refused, standing.doubt, now=identity.local)
        manager.add(heartbeat)
        manager.add(ClusterStatusController(spoke, cluster))
        manager.add(AddonRegistrationController(spoke, cluster, identity.now, identity.home, addon_auth))
        manager.add(AddonHealthController(spoke, cluster, identity.local, identity.home))
        with contextlib.suppress(ApiError):  # before the cluster says Available; the controller goes on
            await heartbeat.renew(hub, Key(cluster, CLUSTER_LEASE))
    if "work" in chosen:
        hash_ = hub_hash(hub.server)
        manager.add(WorkController(objects, cluster, hash_, agent_id))
        books = AppliedWorkController(objects, hub, cluster, hash_, agent_id, now=identity.local)
        manager.add(books, spoke)
    running = asyncio.ensure_future(manager.run())
    try:
        await asyncio.wait({running, lost}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            await running
        await lost
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await objects.close()
        lost.cancel()
