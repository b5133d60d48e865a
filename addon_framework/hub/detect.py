"""Which of OCM's controllers a hub runs already: by their Deployments, and by the Leases they hold."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import structlog

from addon_framework.api.core import DEPLOYMENTS, LEASES
from addon_framework.api.meta import Json, Resource
from addon_framework.api.time import parse_time
from addon_framework.hub.roles import HUB_NAMESPACE
from addon_framework.kube import Client, Forbidden, NotFound

log = structlog.get_logger(__name__)

# What the operator calls the Deployments, after the name of the ClusterManager and a dash.
_DEPLOYMENTS = {
    "registration": "registration-controller",
    "placement": "placement-controller",
    "work": "work-controller",
    "addons": "addon-manager-controller",
}
# What the processes themselves elect their leaders by, with or without an operator.
_LEASES = {
    "registration": "registration-controller-lock",
    "placement": "placement-lock",
    "work": "work-manager-lock",
    "addons": "manager-lock",
}
_REPLICA_SETS_ON = "ManifestWorkReplicaSet=true"
_DEFAULT_DURATION = 137  # seconds, OCM's


async def detect(client: Client, now: datetime | None = None) -> dict[str, str]:
    """Evidence by controller; those that are not in it are not run by OCM, as far as can be seen.

    A process without leader election and without a Deployment in the hub's namespace leaves no trace.
    """
    deployments = await _seen(client, DEPLOYMENTS)
    leases = await _seen(client, LEASES)
    return evidence(deployments, leases, now or datetime.now(UTC))


def evidence(deployments: Iterable[Json], leases: Iterable[Json], now: datetime) -> dict[str, str]:
    """What the objects of the hub's namespace say. Pure."""
    found: dict[str, str] = {}
    settled = set()
    for deployment in deployments:
        name = deployment["metadata"]["name"]
        for controller, suffix in _DEPLOYMENTS.items():
            if name.endswith(f"-{suffix}"):
                settled.add(controller)
                if _runs(controller, deployment):
                    found[controller] = f"Deployment {HUB_NAMESPACE}/{name}"
    held = {lease["metadata"]["name"]: lease for lease in leases if _is_held(lease, now)}
    for controller, name in _LEASES.items():
        if controller not in settled and name in held:
            holder = held[name]["spec"]["holderIdentity"]
            found[controller] = f"Lease {HUB_NAMESPACE}/{name}, held by {holder}"
    return found


def _runs(controller: str, deployment: Json) -> bool:
    """Scaled to nothing it does not; and OCM's work manager may do other things than replica sets."""
    spec = deployment.get("spec") or {}
    if spec.get("replicas") == 0:
        return False
    if controller != "work":
        return True
    containers = ((spec.get("template") or {}).get("spec") or {}).get("containers") or []
    return any(_REPLICA_SETS_ON in str(argument) for c in containers for argument in c.get("args") or [])


def _is_held(lease: Json, now: datetime) -> bool:
    spec = lease.get("spec") or {}
    if not spec.get("holderIdentity") or not spec.get("renewTime"):
        return False
    lasts = timedelta(seconds=spec.get("leaseDurationSeconds") or _DEFAULT_DURATION)
    return bool(parse_time(spec["renewTime"]) + lasts > now)


async def _seen(client: Client, resource: Resource) -> list[Json]:
    try:
        return list((await client.list(resource, HUB_NAMESPACE))["items"])
    except NotFound:  # a control plane without workloads
        return []
    except Forbidden as error:
        log.warning("cannot see what the hub runs", resource=resource.plural, reason=error.message)
        return []
