"""A hub, a spoke, and the six parts that a cast fills; the test is user, node, and add-ons' agents."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson

from addon_framework.api.cluster import ManagedCluster
from addon_framework.api.conditions import get_condition
from addon_framework.api.core import DEPLOYMENTS, LEASES, SECRETS
from addon_framework.api.crd import load_crds
from addon_framework.api.meta import Json, Resource
from addon_framework.api.time import micro_time
from addon_framework.hub.install import accept_when_asked, bootstrap_kubeconfig, install
from addon_framework.hub.roles import HUB_NAMESPACE
from addon_framework.kube import AlreadyExists, ApiError, Client, apply_crds, wait_for
from addon_framework.kube.crds import is_embedded
from addon_framework.spoke.names import AGENT_NAMESPACE, HUB_SECRET
from addon_framework.spoke.registration import secrets as agent_secrets
from addon_framework.testing import eventually
from addon_framework.testing.servers import free_port
from tests.interop import plugin
from tests.interop.objects import made, namespace
from tests.interop.ocm import OCM_NAMES, Ocm
from tests.interop.parts import HUB_PARTS, REGISTRATION_AGENT, WORK_AGENT, Cast
from tests.interop.programs import Programs

CLUSTER = "cluster1"
WITHIN = 90.0  # seconds for what OCM polls for, on a machine that does other things too


class Fleet:
    """One cast on its stage."""

    def __init__(
        self, cast: Cast, hub: Client, spoke: Client, kubeconfigs: tuple[Path, Path], programs: Programs
    ) -> None:
        self.cast, self.hub, self.spoke, self.programs = cast, hub, spoke, programs
        self.hub_kubeconfig, self.spoke_kubeconfig = kubeconfigs
        self.bootstrap = programs.directory / "bootstrap.kubeconfig"
        binaries = Path(os.environ.get("OCM_BIN", ""))
        self.ocm = Ocm(programs, binaries, *kubeconfigs, CLUSTER, self.bootstrap)
        source = os.environ.get("OCM_SOURCE")
        self.source = Path(source) if source else None
        self._node: asyncio.Task[None] | None = None
        self._plugins = plugin.install(programs.directory)

    # The stage

    async def start_hub(self, *, our_choice: bool = False, webhooks: bool = False) -> None:
        """The hub with its controllers: OCM's own kind of hub where its registration runs and is given.

        With `our_choice` ours look for themselves what is missing. With `webhooks` OCM's are there although
        its registration is not.
        """
        converts = False
        if self.source is not None and "registration" in self.cast.ocm:
            await self.ocm.install_crds(self.hub, self.source, "hub")
        elif not await is_embedded(self.hub):
            converts = bool(self.cast.ours_on_hub)
            if not converts:
                await self.ocm.convert(self.hub, load_crds("hub"))
        await install(self.hub)
        if webhooks or "registration" in self.cast.ocm:  # its webhook puts clusters into the default set
            await self.ocm.install_webhooks(self.hub)
        for part in HUB_PARTS:
            if part in self.cast.ocm:
                self.ocm.start(part)
        if our_choice:
            await self._until_led()
            self.start_our_hub()
        elif self.cast.ours_on_hub:
            chosen = ["--controllers", ",".join(self.cast.ours_on_hub)]
            convert = ["--conversion-address", f"127.0.0.1:{free_port()}"] if converts else []
            self.start_our_hub(*chosen, *convert)
        config = orjson.dumps(await bootstrap_kubeconfig(self.hub))
        self.bootstrap.write_bytes(config)

    def start_our_hub(self, *arguments: str) -> None:
        """`fleetadm hub run`, which finds the test's plug-in."""
        env = {"PYTHONPATH": f"{self._plugins}{os.pathsep}{Path.cwd()}"}
        self.programs.fleetadm(
            "our-hub", "hub", "run", "--kubeconfig", self.hub_kubeconfig, *arguments, env=env
        )

    async def _until_led(self) -> None:
        """OCM's programs have started when they hold their Leases."""

        async def led() -> bool:
            leases = (await self.hub.list(LEASES, HUB_NAMESPACE))["items"]
            held = [lease for lease in leases if (lease.get("spec") or {}).get("holderIdentity")]
            return len(held) == len(self.cast.ocm & set(HUB_PARTS))

        await self.until(led)

    async def start_spoke(self) -> None:
        """The agents, but for a work agent of OCM's: that one wants the credentials first."""
        await self.spoke.apply(namespace(AGENT_NAMESPACE), field_manager="interop")
        if self.source is not None and self.cast.ocm >= {REGISTRATION_AGENT, WORK_AGENT}:
            await self.ocm.install_crds(self.spoke, self.source, "spoke")
        else:
            await apply_crds(self.spoke, load_crds("spoke"), field_manager="interop")
        if REGISTRATION_AGENT in self.cast.ocm:
            self.ocm.start(REGISTRATION_AGENT)
        self._start_our_agents()
        self._node = asyncio.create_task(self._run_deployments())

    def _start_our_agents(self) -> None:
        if ours := self.cast.ours_on_spoke:
            self.programs.fleetadm(
                "our-agent",
                *("agent", "run", "--hub-kubeconfig", self.bootstrap, "--cluster-name", CLUSTER),
                *("--spoke-kubeconfig", self.spoke_kubeconfig, "--controllers", ",".join(ours)),
            )

    async def start_work_agent(self) -> None:
        """OCM's, with its credentials mounted as a pod has them; ours waits for them itself."""
        if WORK_AGENT not in self.cast.ocm:
            return

        async def identity() -> Json | None:
            secret = await self.spoke.get(SECRETS, HUB_SECRET, AGENT_NAMESPACE)
            return secret if {"kubeconfig", "tls.crt", "tls.key"} <= set(secret.get("data") or {}) else None

        secret = await self.until(identity)
        self.ocm.credentials.mkdir(exist_ok=True)
        for name, value in agent_secrets.contents(secret).items():
            (self.ocm.credentials / name).write_bytes(value)
        self.ocm.start(WORK_AGENT)

    def stop_registration_agent(self) -> None:
        """As if its machine was gone; what else is ours on the spoke goes with it."""
        self.programs.stop(
            OCM_NAMES[REGISTRATION_AGENT] if REGISTRATION_AGENT in self.cast.ocm else "our-agent"
        )

    def start_registration_agent(self) -> None:
        """The opposite."""
        if REGISTRATION_AGENT in self.cast.ocm:
            self.ocm.start(REGISTRATION_AGENT)
        else:
            self._start_our_agents()

    async def hand_over(self, part: str) -> None:
        """Another plays the part from now on: OCM's takes over from ours, or ours from OCM's."""
        on_hub = part in HUB_PARTS
        self.programs.stop("our-hub" if on_hub else "our-agent")
        if part in self.cast.ocm:
            self.programs.stop(OCM_NAMES[part])
        self.cast = Cast(self.cast.ocm ^ {part})
        if on_hub and self.cast.ours_on_hub:
            self.start_our_hub("--controllers", ",".join(self.cast.ours_on_hub))
        elif not on_hub:
            self._start_our_agents()
        if part == WORK_AGENT:
            await self.start_work_agent()
        elif part in self.cast.ocm:
            self.ocm.start(part)

    async def close(self) -> None:
        """Ends everything that was started."""
        if self._node is not None:
            self._node.cancel()
            await asyncio.gather(self._node, return_exceptions=True)
        await asyncio.to_thread(self.programs.close)

    # What a node and the add-ons' agents do

    async def _run_deployments(self) -> None:
        """Every Deployment of the spoke gets the pods that it wants."""
        version = ""
        while True:
            try:
                listed = await self.spoke.list(DEPLOYMENTS)
                for deployment in listed["items"]:
                    await self._run_deployment(deployment)
                if listed["metadata"]["resourceVersion"] == version:
                    await asyncio.sleep(0.2)
                version = listed["metadata"]["resourceVersion"]
            except ApiError:
                await asyncio.sleep(0.2)

    async def _run_deployment(self, deployment: Json) -> None:
        wanted, generation = deployment["spec"].get("replicas", 1), deployment["metadata"]["generation"]
        status = deployment.get("status") or {}
        if (status.get("observedGeneration"), status.get("readyReplicas")) == (generation, wanted):
            return
        counts = ("replicas", "readyReplicas", "availableReplicas", "updatedReplicas")
        new = dict.fromkeys(counts, wanted) | {"observedGeneration": generation}
        available = {
            "type": "Available",
            "status": "True",
            "reason": "MinimumReplicasAvailable",
            "message": "Deployment has minimum availability.",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
            "lastUpdateTime": "2026-01-01T00:00:00Z",
        }
        name, namespace = deployment["metadata"]["name"], deployment["metadata"]["namespace"]
        await self.spoke.patch(
            DEPLOYMENTS,
            name,
            {"status": new | {"conditions": [available]}},
            namespace,
            subresource="status",
        )

    async def beat(self, addon: str, namespace: str) -> None:
        """An add-on's agent is alive."""
        spec = {"holderIdentity": addon, "leaseDurationSeconds": 60, "renewTime": micro_time()}
        lease = made(LEASES, addon, namespace, spec=spec)
        try:
            await self.spoke.create(LEASES, lease)
        except AlreadyExists:
            await self.spoke.patch(LEASES, addon, {"spec": spec}, namespace)

    # What a user does and sees

    async def create(self, resource: Resource, obj: Json) -> None:
        """Creates an object on the hub, as soon as it is let."""
        namespace = obj["metadata"].get("namespace")
        await self.until(lambda: self.hub.create(resource, obj, namespace))

    async def accept(self) -> None:
        """The administrator's half of the double opt-in."""
        await accept_when_asked(self.hub, [CLUSTER], timeout=WITHIN)

    async def label(self, **labels: str | None) -> None:
        """Labels the cluster; None takes one away."""
        await self.hub.patch(ManagedCluster.RESOURCE, CLUSTER, {"metadata": {"labels": labels}})

    async def until(self, probe: Callable[[], Awaitable[Any]], timeout: float = WITHIN) -> Any:
        """Waits until the probe gives something true; what is not there is not there yet."""

        async def check() -> Any:
            assert not (ended := self.programs.ended()), f"ended by themselves: {ended}"
            return await probe()

        return await eventually(check, timeout=timeout, interval=0.1, swallow=(ApiError, KeyError))

    async def until_condition(
        self, resource: Resource, name: str, kind: str, status: str = "True", namespace: str | None = None
    ) -> Json:
        """Waits for a condition of an object on the hub, and returns the object."""

        async def probe() -> Json:
            obj = await self.hub.get(resource, name, namespace)
            condition = get_condition(obj, kind)
            assert condition is not None, f"{name} has no condition {kind}: {obj.get('status')}"
            assert condition["status"] == status, condition
            return obj

        found: Json = await self.until(probe)
        return found

    async def on_spoke(self, resource: Resource, name: str, namespace: str | None = None) -> Json:
        """Waits for an object on the spoke."""
        found: Json = await self.until(lambda: self.spoke.get(resource, name, namespace))
        return found

    async def until_gone(self, client: Client, resource: Resource, name: str, namespace: str = "") -> None:
        """Waits until an object is not there."""
        await wait_for(
            client,
            resource,
            name,
            namespace or None,
            until=lambda obj: obj is None,
            timeout=WITHIN,
            what="gone",
        )
