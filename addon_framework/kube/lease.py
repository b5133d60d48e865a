"""Leader election on a coordination.k8s.io Lease, with client-go's rules.

https://kubernetes.io/docs/concepts/architecture/leases/#custom-workload
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import time
from collections.abc import Awaitable, Callable

import structlog

from addon_framework.api.core import LEASES
from addon_framework.api.meta import Json
from addon_framework.api.time import micro_time
from addon_framework.kube.client import Client
from addon_framework.kube.errors import AlreadyExists, ApiError, Conflict, NotFound

log = structlog.get_logger(__name__)


def new_identity() -> str:
    """Who holds a lease: host, process, and chance, so that a restarted process is another holder."""
    return f"{socket.gethostname()}_{os.getpid()}_{secrets.token_hex(4)}"


class LeaderElector:
    """Runs work only while holding the lease. Losing it cancels the work; then it competes again.

    Another's clock is never compared with ours: a lease has expired when it has not changed for `duration`
    seconds of our own monotonic time.
    """

    def __init__(
        self,
        client: Client,
        namespace: str,
        name: str,
        *,
        identity: str | None = None,
        duration: float = 15.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.client, self.namespace, self.name = client, namespace, name
        self.identity = identity or new_identity()
        self.duration = duration
        self._clock = clock
        self._seen: tuple[str, float] = ("", 0.0)

    async def run(self, work: Callable[[], Awaitable[None]]) -> None:
        """Waits for the lease, runs `work`, and so on until `work` returns or we are cancelled."""
        while True:
            taken = await self._acquire()
            log.info("leading", lease=self.name, identity=self.identity)
            task = asyncio.ensure_future(work())
            keeper = asyncio.ensure_future(self._keep(taken))
            try:
                await asyncio.wait({task, keeper}, return_when=asyncio.FIRST_COMPLETED)
                if task.done():
                    await task
                    return
                log.warning("lost the lease", lease=self.name, identity=self.identity)
            finally:
                for pending in (task, keeper):
                    pending.cancel()
                await asyncio.gather(task, keeper, return_exceptions=True)
                await self._release()

    async def _acquire(self) -> float:
        """When the lease that we have was asked for: others count from later, from when it was written."""
        while True:
            asked = self._clock()
            if await self._attempt(self.duration / 3):
                return asked
            await asyncio.sleep(min(2.0, self.duration / 3))

    async def _keep(self, renewed: float) -> None:
        """Ends well before anybody else may take the lease, whatever becomes of the last attempt."""
        third = self.duration / 3
        again = renewed + third
        while (now := self._clock()) < (end := renewed + 2 * third):
            await asyncio.sleep(min(again, end) - now)
            asked = self._clock()
            if await self._attempt(min(third, end - asked)):
                renewed, again = asked, asked + third
            else:
                again = self._clock() + self.duration / 10

    async def _attempt(self, patience: float) -> bool:
        try:
            async with asyncio.timeout(patience):
                return await self._take()
        except (ApiError, TimeoutError) as error:
            log.debug("lease attempt failed", lease=self.name, error=str(error))
            return False

    async def _take(self) -> bool:
        try:
            lease = await self.client.get(LEASES, self.name, self.namespace)
        except NotFound:
            fresh: Json = {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": self.name, "namespace": self.namespace},
                "spec": self._spec({}),
            }
            try:
                await self.client.create(LEASES, fresh)
            except AlreadyExists:
                return False
            return True
        spec = lease.get("spec") or {}
        version = lease["metadata"]["resourceVersion"]
        holder = spec.get("holderIdentity") or ""
        if self._seen[0] != version:
            self._seen = (version, self._clock())
        expired = self._clock() - self._seen[1] >= float(spec.get("leaseDurationSeconds") or self.duration)
        if holder not in ("", self.identity) and not expired:
            return False
        lease["spec"] = self._spec(spec)
        try:
            await self.client.update(LEASES, lease)
        except Conflict:
            return False
        return True

    async def _release(self) -> None:
        """Lets the next one start at once; best effort, since the lease expires anyway."""
        try:
            async with asyncio.timeout(2):
                lease = await self.client.get(LEASES, self.name, self.namespace)
                if (lease.get("spec") or {}).get("holderIdentity") == self.identity:
                    lease["spec"]["holderIdentity"] = ""
                    await self.client.update(LEASES, lease)
        except (ApiError, TimeoutError) as error:
            log.debug("lease not released", lease=self.name, error=str(error))

    def _spec(self, old: Json) -> Json:
        now = micro_time()
        ours = old.get("holderIdentity") == self.identity
        return {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": max(1, round(self.duration)),
            "acquireTime": old.get("acquireTime", now) if ours else now,
            "renewTime": now,
            "leaseTransitions": int(old.get("leaseTransitions") or 0) + (0 if ours else 1),
        }
