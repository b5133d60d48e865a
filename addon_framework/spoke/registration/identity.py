"""The agents' own identity on the hub: kept in `hub-kubeconfig-secret`, obtained by joining."""

from __future__ import annotations

import asyncio
import base64
import secrets as random_source
import string
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import structlog

from addon_framework.api.cluster import ManagedCluster
from addon_framework.api.core import SECRETS
from addon_framework.api.meta import Json
from addon_framework.api.names import CLUSTER_NAME_LABEL, CLUSTER_SUBJECT_PREFIX, MANAGED_CLUSTERS_GROUP
from addon_framework.kube import (
    AlreadyExists,
    ApiError,
    Client,
    ClientConfig,
    ConfigError,
    NotFound,
    Unreachable,
    WaitTimeoutError,
    load_kubeconfig,
    wait_for,
)
from addon_framework.spoke.home import Home
from addon_framework.spoke.names import HUB_SECRET
from addon_framework.spoke.registration import secrets
from addon_framework.spoke.registration.clock import HubClock
from addon_framework.spoke.registration.credentials import (
    AGENT_NAME,
    CERTIFICATE,
    CLUSTER_NAME,
    KEY,
    KUBECONFIG,
    KeyPair,
    Subject,
    client_config,
    kubeconfig,
    same_hub,
)
from addon_framework.spoke.registration.enrolment import Declined, Enrolment, advance, answered, forget

log = structlog.get_logger(__name__)
LOOK_AGAIN = 300.0  # seconds to watch a request before the bootstrap kubeconfig is read anew
DECLINED_PAUSE = 60.0
_MIN_PAUSE, _MAX_PAUSE = 0.2, 10.0


class IdentityLost(Exception):
    """The hub no longer takes the identity; the message says why."""


class HubIdentity:
    """Who this cluster's agents are to the hub. Every step can be repeated after a kill."""

    def __init__(
        self,
        spoke: Client,
        cluster: str,
        bootstrap: Path,
        *,
        now: Callable[[], datetime] | None = None,
        home: Home | None = None,
    ) -> None:
        self.spoke, self.cluster, self.bootstrap = spoke, cluster, bootstrap
        self.now = now or HubClock()
        self.home = home or Home(spoke)
        self._refused: bytes = b""

    @property
    def local(self) -> Callable[[], datetime]:
        """This cluster's own clock, for what is measured and compared here only."""
        return self.now.local if isinstance(self.now, HubClock) else self.now

    def listen(self, hub: Client) -> Client:
        """Learn the time from what the hub answers to this client."""
        if isinstance(self.now, HubClock):
            hub.on_date = self.now.hear
        return hub

    def problem(self, data: dict[str, bytes]) -> str:
        """Why what is stored is no identity (any more), "" when it is one."""
        pair = secrets.key_pair(data)
        if pair is None or KUBECONFIG not in data:
            return "there is none yet"
        if data.get(CLUSTER_NAME, b"").decode() != self.cluster:
            return f"it is that of cluster {data.get(CLUSTER_NAME, b'').decode()}"
        if data[CERTIFICATE] == self._refused:
            return "the hub does not take it"
        try:
            stored = client_config(data)
        except (ConfigError, KeyError, ValueError) as error:
            return f"its kubeconfig cannot be used: {error}"
        if self.bootstrap.exists() and not same_hub(stored, load_kubeconfig(self.bootstrap)):
            return f"it is for another hub than {self.bootstrap}"
        return pair.problem(self.subject(data), self.now())

    def subject(self, data: dict[str, bytes]) -> Subject:
        """CN and O of the agents, as OCM has them."""
        group = f"{CLUSTER_SUBJECT_PREFIX}{self.cluster}"
        return Subject(f"{group}:{data[AGENT_NAME].decode()}", (group, MANAGED_CLUSTERS_GROUP))

    def enrolment(self, data: dict[str, bytes]) -> Enrolment:
        """The certificate to ask for."""
        labels = {CLUSTER_NAME_LABEL: self.cluster}
        return Enrolment(f"{HUB_SECRET}-pending", f"{self.cluster}-", labels, self.subject(data))

    def refuse(self, data: dict[str, bytes]) -> None:
        """The hub said no to this certificate: it is not to be used again."""
        self._refused = data.get(CERTIFICATE, b"")

    async def obtain(self) -> dict[str, bytes]:
        """The stored identity, or a new one: that takes until somebody approves it. Raises ConfigError."""
        pause = _MIN_PAUSE
        while True:
            try:
                data = await self._stored()
                problem = self.problem(data)
                if not problem:
                    return data
                async with Client(load_kubeconfig(self.bootstrap)) as hub:
                    await self._look_at_the_clock(hub)
                    if not (problem := self.problem(data)):
                        return data
                    log.info("joining the hub", cluster=self.cluster, because=f"stored identity: {problem}")
                    return await self._join(hub, data)
            except Declined as error:
                log.warning("not let in", reason=str(error))
                pause = DECLINED_PAUSE
            except ApiError as error:
                log.warning("cannot join yet", reason=error.message)
                pause = min(pause * 2, _MAX_PAUSE)
            except WaitTimeoutError:
                continue
            await asyncio.sleep(pause)

    async def _look_at_the_clock(self, hub: Client) -> None:
        """Any answer will do; what has expired by a wrong clock has not. Raises Unreachable without one."""
        try:
            await self.listen(hub).request("GET", "/version")
        except Unreachable:
            raise
        except ApiError:
            pass

    async def is_gone(self) -> bool:
        """Whether the hub has removed the cluster, asked with the right to join: ours may be gone too."""
        try:
            async with Client(load_kubeconfig(self.bootstrap)) as hub:
                await hub.get(ManagedCluster.RESOURCE, self.cluster)
        except NotFound as error:
            return names_object(error)
        except (ApiError, ConfigError) as error:
            log.warning("cannot ask whether the hub knows the cluster", reason=str(error))
        return False

    async def wait(self) -> dict[str, bytes]:
        """The identity that another process obtains."""

        def usable(secret: Json | None) -> bool:
            return not self.problem(secrets.contents(secret))

        while True:
            try:
                found = await wait_for(
                    self.home.client,
                    SECRETS,
                    HUB_SECRET,
                    self.home.namespace,
                    until=usable,
                    timeout=LOOK_AGAIN,
                )
            except WaitTimeoutError:
                log.info("waiting for the registration agent", secret=f"{self.home.namespace}/{HUB_SECRET}")
                continue
            return secrets.contents(found)

    async def store(self, data: dict[str, bytes], pair: KeyPair, hub: ClientConfig) -> dict[str, bytes]:
        """Certificate, key and kubeconfig go into the secret in one write; then the waiting key may go."""
        whole = {
            CLUSTER_NAME: self.cluster.encode(),
            AGENT_NAME: data[AGENT_NAME],
            KUBECONFIG: kubeconfig(hub, self.cluster),
            CERTIFICATE: pair.certificate,
            KEY: pair.key,
        }
        labels = {CLUSTER_NAME_LABEL: self.cluster}
        await secrets.write(self.home.client, HUB_SECRET, self.home.namespace, whole, labels)
        await forget(self.home, self.enrolment(data))
        expires = pair.leaf().not_valid_after_utc
        log.info("hub identity stored", cluster=self.cluster, hub=hub.server, expires=str(expires))
        return whole

    async def stored(self) -> dict[str, bytes]:
        """What the secret holds now; empty when it is not there."""
        return secrets.contents(await secrets.read(self.home.client, HUB_SECRET, self.home.namespace))

    async def _stored(self) -> dict[str, bytes]:
        """What the secret holds; before the first request the agent's name is in it, so that it stays."""
        live = await secrets.read(self.home.client, HUB_SECRET, self.home.namespace)
        data = secrets.contents(live)
        if data.get(AGENT_NAME) and data.get(CLUSTER_NAME) == self.cluster.encode():
            return data
        letters = string.ascii_lowercase + string.digits
        agent = "".join(random_source.choice(letters) for _ in range(5))
        fresh = {CLUSTER_NAME: self.cluster.encode(), AGENT_NAME: agent.encode()}
        labels = {CLUSTER_NAME_LABEL: self.cluster}
        await secrets.write(self.home.client, HUB_SECRET, self.home.namespace, fresh, labels)
        return fresh

    async def _join(self, hub: Client, data: dict[str, bytes]) -> dict[str, bytes]:
        wanted = self.enrolment(data)
        pair = await advance(hub, self.home, wanted, self.now)
        # The cluster last: whoever sees it and accepts it finds the request there too.
        await ensure_cluster(hub, self.cluster, self.spoke.config)
        while pair is None:
            log.info("waiting for approval", cluster=self.cluster, next=f"fleetadm accept {self.cluster}")
            await answered(hub, self.home, wanted, LOOK_AGAIN)
            pair = await advance(hub, self.home, wanted, self.now)
        return await self.store(data, pair, hub.config)


def names_object(error: NotFound) -> bool:
    """Whether it is the object that is missing, not its kind: that may be so while a hub starts."""
    return bool(error.details.get("name"))


async def ensure_cluster(hub: Client, cluster: str, spoke: ClientConfig) -> None:
    """The ManagedCluster with which a cluster asks to be accepted."""
    resource = ManagedCluster.RESOURCE
    try:
        await hub.get(resource, cluster)
        return
    except NotFound:
        pass
    where: Json = {"url": spoke.server}
    if spoke.ca:
        where["caBundle"] = base64.b64encode(spoke.ca).decode()
    spec = {"hubAcceptsClient": False, "leaseDurationSeconds": 60, "managedClusterClientConfigs": [where]}
    try:
        await hub.create(
            resource,
            {
                "apiVersion": resource.api_version,
                "kind": resource.kind,
                "metadata": {"name": cluster},
                "spec": spec,
            },
        )
    except AlreadyExists:
        pass
