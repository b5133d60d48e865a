"""Makes a cluster a hub: CRDs, namespaces, RBAC, and the identity with which clusters ask to join."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import structlog

from addon_framework.api.cluster import ManagedCluster
from addon_framework.api.conditions import is_true
from addon_framework.api.core import CSRS, SERVICEACCOUNTS
from addon_framework.api.crd import load_crds
from addon_framework.api.meta import Json
from addon_framework.api.names import CLUSTER_NAME_LABEL, CONDITION_JOINED
from addon_framework.api.time import parse_time
from addon_framework.hub.acceptance import is_accepted
from addon_framework.hub.admission import admission_objects
from addon_framework.hub.registration.csr import (
    CsrError,
    approve,
    check_cluster_csr,
    is_agent,
    is_settled,
)
from addon_framework.hub.registration.rbac import common_roles
from addon_framework.hub.roles import BOOTSTRAP_ACCOUNT, BOOTSTRAP_GROUP, BOOTSTRAP_NAMESPACE, hub_objects
from addon_framework.kube import Client, Conflict, Informer, Key, NotFound, install_crds, is_ours

log = structlog.get_logger(__name__)

MANAGER = "boundaryless-install"
BOOTSTRAP_LIFETIME = timedelta(hours=24)
_ASKED_BEFORE = timedelta(minutes=1)  # an agent may ask for its certificate before it makes its cluster


class CannotAccept(ValueError):
    """A cluster that cannot be accepted; the message says why and what to do."""


async def install(client: Client, *, crds: Sequence[Json] | None = None) -> None:
    """Apply everything a hub needs and wait until its API is served. Safe to repeat.

    On a hub that somebody else has installed, OCM's operator say, only what is missing is added.
    """
    crds = load_crds("hub") if crds is None else crds
    others = await install_crds(client, crds, field_manager=MANAGER)
    for obj in [*hub_objects(), *common_roles()]:
        resource = await client.resource_for(obj["apiVersion"], obj["kind"])
        metadata = obj["metadata"]
        try:
            live = await client.get(resource, metadata["name"], metadata.get("namespace"))
        except NotFound:
            live = None
        if live is None or is_ours(live):
            await client.apply(obj, field_manager=MANAGER, resource=resource)
        else:
            others.append(f"{resource.kind} {metadata['name']}")
    try:
        for resource, obj in admission_objects():
            await client.apply(obj, field_manager=MANAGER, resource=resource)
    except NotFound:
        text = "this API server has no ValidatingAdmissionPolicies, which Kubernetes has from 1.30 on"
        log.warning("whoever may write clusters may accept them and move them between sets", reason=text)
    if others:
        log.info("left as they are: others have installed them", objects=others)


async def bootstrap_kubeconfig(
    client: Client,
    server: str | None = None,
    ca: bytes | None = None,
    *,
    lifetime: timedelta = BOOTSTRAP_LIFETIME,
) -> Json:
    """A kubeconfig with which a cluster may ask to join, and do nothing else; it expires.

    `server` is the URL spokes reach the hub at, `ca` its certificate authority in PEM; both default to those
    of the client.
    """
    request = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": int(lifetime.total_seconds())},
    }
    path = SERVICEACCOUNTS.path(BOOTSTRAP_NAMESPACE, BOOTSTRAP_ACCOUNT, "token")
    answer = await client.request("POST", path, body=request)
    cluster: Json = {"server": server or client.server}
    if ca := ca or client.config.ca:
        cluster["certificate-authority-data"] = base64.b64encode(ca).decode()
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "hub", "cluster": cluster}],
        "users": [{"name": "bootstrap", "user": {"token": answer["status"]["token"]}}],
        "contexts": [{"name": "bootstrap", "context": {"cluster": "hub", "user": "bootstrap"}}],
        "current-context": "bootstrap",
    }


async def accept(client: Client, clusters: Sequence[str], *, requesters: Iterable[str] = ()) -> list[str]:
    """Accept clusters: approve their pending certificate requests and set hubAcceptsClient.

    Requests count only if they pass OCM's checks and come from the bootstrap account, by a bootstrap token of
    the group for that, from the cluster itself, or from one of `requesters`. Returns the clusters that were
    changed; raises CannotAccept for one that has not asked to join, which is left as it was: accepted without
    a certificate it would wait for a person a second time.
    """
    trusted = {f"system:serviceaccount:{BOOTSTRAP_NAMESPACE}:{BOOTSTRAP_ACCOUNT}", *requesters}
    changed = []
    for name in clusters:
        try:
            cluster = await client.get(ManagedCluster.RESOURCE, name)
        except NotFound:
            raise CannotAccept(
                f"cluster {name} has not asked to join: there is no ManagedCluster {name} on the hub; "
                "is its agent running with this hub's bootstrap kubeconfig?"
            ) from None
        if cluster["metadata"].get("deletionTimestamp"):
            raise CannotAccept(
                f"cluster {name} is being deleted: accept it when it has asked to join anew, or --wait"
            )
        approved, known, refused = await _approve_requests(client, cluster, trusted)
        if not is_accepted(cluster):
            if not (approved or known or is_true(cluster, CONDITION_JOINED)):
                raise CannotAccept(
                    f"cluster {name} has not asked for a certificate yet, so nothing was changed: repeat "
                    "when its agent has, or --wait" + "".join(f"; left alone: {each}" for each in refused)
                )
            await client.patch(ManagedCluster.RESOURCE, name, {"spec": {"hubAcceptsClient": True}})
            log.info("cluster accepted", cluster=name)
            changed.append(name)
        elif approved:
            changed.append(name)
    return changed


async def accept_when_asked(
    client: Client, clusters: Sequence[str], *, timeout: float, requesters: Iterable[str] = ()
) -> list[str]:
    """`accept`, each cluster as soon as it has asked to join. Raises CannotAccept when one never does."""
    requests: Informer[Json] = Informer(client, CSRS, label_selector=CLUSTER_NAME_LABEL)
    joining: Informer[Json] = Informer(client, ManagedCluster.RESOURCE)
    happened = asyncio.Event()
    for informer in (requests, joining):
        informer.on_event(lambda old, new: happened.set())
    running = [asyncio.create_task(informer.run()) for informer in (requests, joining)]
    changed: list[str] = []
    waiting = list(clusters)
    try:
        async with asyncio.timeout(timeout):
            await asyncio.gather(requests.synced(), joining.synced())
            while waiting:
                happened.clear()
                ready = [name for name in waiting if _has_asked(name, requests, joining)]
                changed += await accept(client, ready, requesters=requesters)
                waiting = [name for name in waiting if name not in ready]
                if waiting:
                    await happened.wait()
    except TimeoutError:
        raise CannotAccept(
            f"not asked to join within {timeout:.0f} s: {', '.join(waiting)}; is the agent of each running "
            "with this hub's bootstrap kubeconfig?"
        ) from None
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    return changed


def _has_asked(name: str, requests: Informer[Json], joining: Informer[Json]) -> bool:
    """It is there, and its certificate is asked for, or it was let in before."""
    cluster = joining.get(Key("", name))
    if cluster is None or cluster["metadata"].get("deletionTimestamp"):
        return False
    asked = any(
        csr["metadata"]["labels"].get(CLUSTER_NAME_LABEL) == name and not is_settled(csr)
        for csr in requests.items()
    )
    return asked or is_accepted(cluster) or is_true(cluster, CONDITION_JOINED)


async def _approve_requests(client: Client, joining: Json, trusted: set[str]) -> tuple[int, int, list[str]]:
    """How many were approved now, how many had been before, and which were left alone and why.

    A cluster of that name that has left may have had requests too: those count for nothing.
    """
    cluster, since = joining["metadata"]["name"], _created(joining) - _ASKED_BEFORE
    listed = await client.list(CSRS, label_selector=f"{CLUSTER_NAME_LABEL}={cluster}")
    approved, known, refused = 0, 0, []
    for csr in listed["items"]:
        if is_settled(csr):
            known += is_true(csr, "Approved") and _created(csr) >= since
            continue
        requester = csr["spec"].get("username", "")
        by_token = BOOTSTRAP_GROUP in (csr["spec"].get("groups") or [])
        try:
            if requester not in trusted and not by_token and not is_agent(requester, cluster):
                raise CsrError(f"it is of {requester}, who is not trusted: --requester {requester}")
            check_cluster_csr(csr)
            await approve(client, csr, "ApprovedByAccept", f"Cluster {cluster} was accepted.")
        except CsrError as error:
            log.warning("certificate request left alone", csr=csr["metadata"]["name"], reason=str(error))
            refused.append(f"{csr['metadata']['name']}, {error}")
            continue
        except Conflict:
            known += 1  # somebody else has just decided on it
            continue
        approved += 1
    return approved, known, refused


def _created(obj: Json) -> datetime:
    return parse_time(obj["metadata"]["creationTimestamp"])
