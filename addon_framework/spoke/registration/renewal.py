"""Keeps the agents' identity in use the newest one, and asks for the next before it expires."""

from __future__ import annotations

import asyncio

import structlog

from addon_framework.api.core import CSRS, SECRETS
from addon_framework.api.meta import Json
from addon_framework.api.names import ADDON_NAME_LABEL, CLUSTER_NAME_LABEL
from addon_framework.kube import Client, Controller, Key, Unauthorized, Watch
from addon_framework.spoke.names import HUB_SECRET
from addon_framework.spoke.registration import secrets
from addon_framework.spoke.registration.credentials import CERTIFICATE, client_config
from addon_framework.spoke.registration.enrolment import Declined, advance
from addon_framework.spoke.registration.identity import DECLINED_PAUSE, HubIdentity, IdentityLost

log = structlog.get_logger(__name__)
LONGEST_SLEEP = 10.0  # the bootstrap kubeconfig may name another hub, and files have no watch here
REST = 60.0  # after a renewal, even if by our clock the new certificate is old already


class RenewalController(Controller):
    """hub-kubeconfig-secret -> the hub client's credentials; near its end, a new certificate into the secret.

    `lost` gets an IdentityLost when only joining again helps. With `renew` off (a work agent by itself) it
    follows what the registration agent writes.
    """

    name = "identity"

    def __init__(
        self,
        identity: HubIdentity,
        hub: Client,
        in_use: dict[str, bytes],
        lost: asyncio.Future[None],
        *,
        renew: bool,
    ) -> None:
        self._identity, self._hub, self._lost, self._renew = identity, hub, lost, renew
        self._in_use = in_use
        self._rest_until = 0.0

    def watches(self) -> list[Watch]:
        """The secret, and where we ask for certificates our requests."""
        namespace = self._identity.home.namespace
        secret = Watch(SECRETS, namespace=namespace, field_selector=f"metadata.name={HUB_SECRET}")
        if not self._renew:
            return [secret]
        selector = f"{CLUSTER_NAME_LABEL}={self._identity.cluster},!{ADDON_NAME_LABEL}"
        own = [Key(namespace, HUB_SECRET)]
        return [secret, Watch(CSRS, map=lambda _: own, label_selector=selector, client=self._hub)]

    async def reconcile(self, key: Key) -> float | None:
        """Use what is stored; renew it when its time has come."""
        home = self._identity.home
        cache = self.cache(SECRETS, namespace=home.namespace, field_selector=f"metadata.name={HUB_SECRET}")
        found: Json | None = cache.get(key)
        data = secrets.contents(found)
        if problem := self._identity.problem(data):
            self._give_up(f"the stored identity is of no use: {problem}")
            return None
        if data != self._in_use:
            self._hub.reconfigure(client_config(data))
            self._in_use = data
            log.info("hub identity in use", cluster=self._identity.cluster)
        pair = secrets.key_pair(data)
        if not self._renew or pair is None:
            return LONGEST_SLEEP
        rest = self._rest_until - asyncio.get_running_loop().time()
        left = max(rest, (pair.renewal() - self._identity.now()).total_seconds())
        if left > 0:
            return min(left + 0.1, LONGEST_SLEEP)
        live = secrets.contents(await secrets.read(home.client, HUB_SECRET, home.namespace))
        return await self._next(data) if live == data else None  # the cache is behind: its event comes

    async def _next(self, data: dict[str, bytes]) -> float | None:
        try:
            pair = await advance(
                self._hub, self._identity.home, self._identity.enrolment(data), self._identity.now
            )
        except Declined as error:
            log.warning("identity not renewed", reason=str(error))
            return DECLINED_PAUSE
        except Unauthorized as error:
            self._identity.refuse(data)
            self._give_up(error.message)
            return None
        if pair is None:
            return DECLINED_PAUSE  # the request's own events come sooner
        await self._identity.store(data, pair, self._hub.config)
        self._rest_until = asyncio.get_running_loop().time() + REST
        return None  # the secret's own event goes on

    def refused(self, message: str) -> None:
        """Told by whoever got a 401 from the hub with the identity in use."""
        self._identity.refuse({CERTIFICATE: self._in_use[CERTIFICATE]})
        self._give_up(message)

    def _give_up(self, message: str) -> None:
        if not self._lost.done():
            self._lost.set_exception(IdentityLost(message))
