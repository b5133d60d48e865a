"""Whether the hub still has and accepts this cluster; when not, the agents start over."""

from __future__ import annotations

import asyncio

from addon_framework.api.cluster import ManagedCluster
from addon_framework.api.conditions import get_condition, is_true
from addon_framework.api.meta import Json
from addon_framework.api.names import CONDITION_ACCEPTED
from addon_framework.kube import Controller, Forbidden, Key, NotFound, Watch
from addon_framework.spoke.registration.identity import HubIdentity, IdentityLost, names_object

RESOURCE = ManagedCluster.RESOURCE


class StandingController(Controller):
    """Our ManagedCluster -> `lost` gets an IdentityLost when it is removed, or denied.

    A cluster that was removed asks to join again, with a new certificate: both halves of the opt-in anew. One
    that is denied keeps its certificate and waits.
    """

    name = "standing"

    def __init__(self, identity: HubIdentity, in_use: dict[str, bytes], lost: asyncio.Future[None]) -> None:
        self._identity, self._in_use, self._lost = identity, in_use, lost

    def watches(self) -> list[Watch]:
        """Our ManagedCluster, when it is not as it was when we began."""
        selector = f"metadata.name={self._identity.cluster}"
        return [Watch(RESOURCE, field_selector=selector, predicate=_is_doubtful)]

    def doubt(self) -> None:
        """Told by whoever was not let do what an accepted cluster may: the watch may have ended with that."""
        self.queue.add(Key("", self._identity.cluster))

    async def reconcile(self, key: Key) -> float | None:
        """Ask the hub itself: this is rare, and what follows is not for a cache that is behind to decide."""
        try:
            cluster: Json = await self.client.get(RESOURCE, key.name)
        except NotFound as error:
            if not names_object(error):
                raise
            # The certificate may have been renewed meanwhile: whatever is stored now is of no use.
            self._identity.refuse(await self._identity.stored() or self._in_use)
            self._give_up(f"the hub has removed cluster {key.name}; asking to join again")
            return None
        except Forbidden as error:
            self._give_up(f"the hub has taken the cluster's rights away: {error.message}")
            return None
        accepted = get_condition(cluster, CONDITION_ACCEPTED)
        if accepted is not None and accepted["status"] != "True":
            why = accepted.get("message", "")
            self._give_up(f"{why}; until fleetadm accept {key.name} there is nothing to do")
        return None

    def _give_up(self, message: str) -> None:
        if not self._lost.done():
            self._lost.set_exception(IdentityLost(message))


def _is_doubtful(old: Json | None, new: Json | None) -> bool:
    return new is None or not is_true(new, CONDITION_ACCEPTED)
