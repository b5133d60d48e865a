"""A cluster whose clock is not the hub's: it keeps its identity, and the hub does not lose it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import orjson
import pytest

from addon_framework.api.cluster import ManagedCluster
from addon_framework.api.core import CSRS, LEASES
from addon_framework.api.names import CLUSTER_NAME_LABEL, CONDITION_CLOCK
from addon_framework.api.time import parse_time
from addon_framework.hub.install import accept, bootstrap_kubeconfig
from addon_framework.kube import Client, load_kubeconfig
from addon_framework.spoke.home import Home
from addon_framework.spoke.registration.clock import HubClock
from addon_framework.spoke.registration.enrolment import advance, answered
from addon_framework.spoke.registration.identity import HubIdentity, ensure_cluster
from addon_framework.spoke.registration.secrets import key_pair
from addon_framework.spoke.run import prepare
from tests.integration.faults.link import Link
from tests.integration.spoke.conftest import Fleet
from tests.integration.spoke.objects import config_map

CLUSTER, AVAILABLE = ManagedCluster.RESOURCE, "ManagedClusterConditionAvailable"
LEASE = "managed-cluster-lease"


def set_clock(fleet: Fleet, ahead: timedelta) -> None:
    """The agent's cluster gets a clock that is ahead of the hub's by so much."""
    fleet.clock = HubClock(lambda: datetime.now(UTC) + ahead)


async def requests(fleet: Fleet) -> int:
    listed = await fleet.hub.list(CSRS, label_selector=f"{CLUSTER_NAME_LABEL}={fleet.cluster}")
    return len(listed["items"])


# Behind, the certificate is not valid yet; ahead by more than its life, it has expired.
@pytest.mark.parametrize("ahead", [timedelta(hours=-3), timedelta(days=500)], ids=["behind", "ahead"])
async def test_a_cluster_joins_and_works_by_whatever_clock(fleet: Fleet, ahead: timedelta) -> None:
    set_clock(fleet, ahead)
    await fleet.join()
    data = await fleet.identity()
    pair = key_pair(data)
    assert pair is not None
    leaf, local = pair.leaf(), datetime.now(UTC) + ahead
    assert not leaf.not_valid_before_utc <= local <= leaf.not_valid_after_utc
    await fleet.applied(await fleet.work("skewed", [config_map(f"skewed-{fleet.mark}", "default", a="b")]))
    # The lease says the cluster's own time, the hub says so, and goes by when it comes.
    lease = await fleet.hub.get(LEASES, LEASE, fleet.cluster)
    assert abs(parse_time(lease["spec"]["renewTime"]) - local) < timedelta(minutes=5)
    reason = "ManagedClusterClockOutOfSync"
    await fleet.until_condition(CLUSTER, fleet.cluster, CONDITION_CLOCK, "False", reason)
    await fleet.until_condition(CLUSTER, fleet.cluster, AVAILABLE)

    await fleet.kill()
    set_clock(fleet, ahead)  # a new process that has heard nothing yet
    fleet.start_agent()
    before = lease["spec"]["renewTime"]

    async def renewed() -> bool:
        return bool((await fleet.hub.get(LEASES, LEASE, fleet.cluster))["spec"]["renewTime"] != before)

    await fleet.until(renewed)
    assert await fleet.identity() == data
    assert await requests(fleet) == 1


async def test_a_clock_that_jumps_costs_no_certificate(fleet: Fleet) -> None:
    ahead = timedelta()
    fleet.clock = HubClock(lambda: datetime.now(UTC) + ahead)
    await fleet.join()
    data = await fleet.identity()
    ahead = timedelta(days=300)  # in the window in which certificates are renewed
    await fleet.hub.patch(CLUSTER, fleet.cluster, {"spec": {"leaseDurationSeconds": 1}})
    seen = set()

    async def goes_on() -> bool:
        lease = await fleet.hub.get(LEASES, LEASE, fleet.cluster)
        seen.add(lease["spec"]["renewTime"])
        return len(seen) > 3

    await fleet.until(goes_on)
    await fleet.until_condition(CLUSTER, fleet.cluster, AVAILABLE)
    assert await fleet.identity() == data
    assert await requests(fleet) == 1


async def test_who_starts_with_a_wrong_clock_while_the_hub_stumbles_keeps_its_identity(
    fleet: Fleet,
) -> None:
    """Nobody but a person could let it in anew."""
    link = Link(urlsplit(fleet.hub.server).port or 443)
    try:
        fleet.bootstrap.write_bytes(orjson.dumps(await bootstrap_kubeconfig(fleet.hub, await link.start())))
        await fleet.join()
        data = await fleet.identity()
        await fleet.kill()
        set_clock(fleet, timedelta(days=500))
        link.stumbles = 1
        identity = HubIdentity(fleet.spoke, fleet.cluster, fleet.bootstrap, now=fleet.clock)
        assert await asyncio.wait_for(identity.obtain(), 60) == data
        assert link.stumbles == 0
        assert await requests(fleet) == 1
    finally:
        await link.close()


async def test_a_new_certificate_is_judged_by_the_time_of_the_hub_that_gives_it(fleet: Fleet) -> None:
    """The clock jumps while the cluster waits to be let in."""
    ahead = timedelta()
    clock = HubClock(lambda: datetime.now(UTC) + ahead)
    await prepare(fleet.spoke, Home(fleet.spoke))
    identity = HubIdentity(fleet.spoke, fleet.cluster, fleet.bootstrap, now=clock)
    wanted = identity.enrolment({"agent-name": b"agent"})
    async with identity.listen(Client(load_kubeconfig(fleet.bootstrap))) as hub:
        assert await advance(hub, identity.home, wanted, clock) is None
        await ensure_cluster(hub, fleet.cluster, fleet.spoke.config)
        await accept(fleet.hub, [fleet.cluster])
        await answered(hub, identity.home, wanted, 60)
        ahead = timedelta(days=500)
        pair = await advance(hub, identity.home, wanted, clock)
    assert pair is not None
    assert not pair.problem(wanted.subject, clock())
