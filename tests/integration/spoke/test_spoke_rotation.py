"""Identities are renewed without a gap: at every moment what lies in the Secret opens the hub."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from addon_framework.api.core import LEASES, SECRETS
from addon_framework.kube import Client
from addon_framework.spoke.names import AGENT_NAMESPACE, HUB_SECRET
from addon_framework.spoke.registration import secrets
from addon_framework.spoke.registration.credentials import client_config
from tests.integration.spoke.conftest import Fleet
from tests.integration.spoke.greeter import SCORES
from tests.integration.spoke.objects import config_map
from tests.integration.spoke.test_spoke_addons import install, registered


class User:
    """Somebody who takes what is in a Secret, uses it, and begins again."""

    def __init__(
        self, fleet: Fleet, secret: tuple[str, str], use: Callable[[Client], Awaitable[Any]]
    ) -> None:
        self._fleet, self._secret, self._use = fleet, secret, use
        self.times = 0
        self.certificates: list[bytes] = []

    async def run(self) -> None:
        """For ever; raises when it is not let in."""
        while True:
            data = secrets.contents(await self._fleet.spoke.get(SECRETS, *self._secret))
            if data["tls.crt"] not in self.certificates:
                self.certificates.append(data["tls.crt"])
            async with Client(client_config(data)) as hub:
                await self._use(hub)
            self.times += 1


@asynccontextmanager
async def used_all_the_time(*users: User) -> Any:
    """Raises what any of them ran into."""
    tasks = [asyncio.create_task(user.run()) for user in users]
    try:
        yield
        assert not [task for task in tasks if task.done()], [
            task.exception() for task in tasks if task.done()
        ]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_cluster_and_addon_are_let_in_at_every_moment(fleet: Fleet) -> None:
    await fleet.join()
    name = await install(fleet)
    async with Client(client_config(await registered(fleet, name))) as agent:
        await fleet.until(lambda: agent.list(SCORES, fleet.cluster))
    cluster = User(
        fleet,
        (HUB_SECRET, AGENT_NAMESPACE),
        lambda hub: hub.get(LEASES, "managed-cluster-lease", fleet.cluster),
    )
    addon = User(fleet, (f"{name}-hub-kubeconfig", name), lambda hub: hub.list(SCORES, fleet.cluster))
    async with used_all_the_time(cluster, addon):

        async def both_have(certificates: int) -> bool:
            return all(len(user.certificates) >= certificates for user in (cluster, addon))

        await fleet.until(lambda: both_have(1))
        pair = secrets.key_pair(await fleet.identity())
        assert pair is not None
        fleet.shift = pair.renewal() - datetime.now(UTC) + timedelta(days=20)  # past both, before the end
        await fleet.kill()
        fleet.start_agent()
        await fleet.until(lambda: both_have(2))
        fleet.shift = timedelta()
        before = cluster.times, addon.times
        await fleet.applied(await fleet.work("kept", [config_map(f"kept-{fleet.mark}", "default", a="b")]))

        async def go_on() -> bool:
            return cluster.times > before[0] + 2 and addon.times > before[1] + 2

        await fleet.until(go_on)
    assert len(cluster.certificates) == len(addon.certificates) == 2
