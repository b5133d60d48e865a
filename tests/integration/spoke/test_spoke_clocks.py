"""A cluster whose clock is not the hub's: it keeps its identity, and the hub does not lose it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from addon_framework.api.cluster import ManagedCluster
from addon_framework.api.core import CSRS, LEASES
from addon_framework.api.names import CLUSTER_NAME_LABEL, CONDITION_CLOCK
from addon_framework.api.time import parse_time
from addon_framework.spoke.registration.clock import HubClock
from addon_framework.spoke.registration.secrets import key_pair
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
