"""Certificate requests of clusters: which are sound, and which the hub approves by itself."""

from __future__ import annotations

import base64
import binascii
import copy
from dataclasses import dataclass

import structlog
from cryptography import x509
from cryptography.x509.oid import NameOID

from addon_framework.api import subjects
from addon_framework.api.cluster import ManagedCluster
from addon_framework.api.conditions import get_condition, is_true
from addon_framework.api.core import CSRS, SUBJECTACCESSREVIEWS
from addon_framework.api.meta import Json
from addon_framework.api.names import (
    ADDON_NAME_LABEL,
    AUTO_ACCEPTED_ANNOTATION,
    CLUSTER_NAME_LABEL,
    CLUSTER_SUBJECT_PREFIX,
    CONDITION_ACCEPTED,
    MANAGED_CLUSTERS_GROUP,
    REGISTER_GROUP,
)
from addon_framework.api.time import now_rfc3339
from addon_framework.hub.registration.rbac import RESERVED_NAME
from addon_framework.kube import Client, Controller, Key, Watch
from addon_framework.plugins.types import KUBE_CLIENT_SIGNER

log = structlog.get_logger(__name__)
_OF_CLUSTERS = f"{CLUSTER_NAME_LABEL},!{ADDON_NAME_LABEL}"
_AUTO_APPROVED = "AutoApprovedByHubCSRApprovingController"


@dataclass(frozen=True)
class Subject:
    """Whom a certificate request speaks for."""

    common_name: str
    organizations: frozenset[str]
    organization_units: frozenset[str] = frozenset()


class CsrError(ValueError):
    """The request must not be approved; the message says why."""


def subject_of(csr: Json) -> Subject:
    """Read the subject of the PEM in spec.request. Raises CsrError."""
    try:
        request = x509.load_pem_x509_csr(base64.b64decode(csr["spec"].get("request") or "", validate=True))
    except (ValueError, binascii.Error) as error:
        raise CsrError(f"spec.request is not a PEM certificate request: {error}") from error
    if not request.is_signature_valid:
        raise CsrError("spec.request: the request is not signed with its own key")

    subject = subjects.subject(request)
    names = subjects.values(subject, NameOID.COMMON_NAME)
    if len(names) != 1:
        raise CsrError(f"spec.request: the subject has {len(names)} common names, not one")
    return Subject(
        names[0],
        frozenset(subjects.values(subject, NameOID.ORGANIZATION_NAME)),
        frozenset(subjects.values(subject, NameOID.ORGANIZATIONAL_UNIT_NAME)),
    )


def is_settled(csr: Json) -> bool:
    """Whether somebody has approved, denied or failed the request already."""
    conditions = (csr.get("status") or {}).get("conditions") or []
    return any(condition.get("type") in ("Approved", "Denied", "Failed") for condition in conditions)


def is_agent(user: str, cluster: str) -> bool:
    """Whether a user is one of the cluster's own agents; those of add-ons have longer names."""
    group, _, agent = user.rpartition(":")
    return bool(agent) and group == f"{CLUSTER_SUBJECT_PREFIX}{cluster}"


def check_cluster_csr(csr: Json) -> Subject:
    """OCM's checks of a cluster's own certificate request. Raises CsrError."""
    cluster = (csr["metadata"].get("labels") or {}).get(CLUSTER_NAME_LABEL, "")
    if not cluster:
        raise CsrError(f"the label {CLUSTER_NAME_LABEL} is missing")
    if cluster == RESERVED_NAME:
        raise CsrError(f"no cluster may be named {cluster}: all are in the group of that name")
    signer = csr["spec"].get("signerName")
    if signer != KUBE_CLIENT_SIGNER:
        raise CsrError(f"spec.signerName is {signer}, not {KUBE_CLIENT_SIGNER}")
    subject = subject_of(csr)
    group = f"{CLUSTER_SUBJECT_PREFIX}{cluster}"
    if not subject.organizations <= {group, MANAGED_CLUSTERS_GROUP} or group not in subject.organizations:
        asked = ", ".join(sorted(subject.organizations)) or "none"
        raise CsrError(f"the organizations asked for ({asked}) are not those of cluster {cluster}")
    if not is_agent(subject.common_name, cluster):
        raise CsrError(f"the common name {subject.common_name} is not an agent of cluster {cluster}")
    return subject


async def approve(client: Client, csr: Json, reason: str, message: str) -> None:
    """Add the Approved condition to exactly the request that was checked."""
    approved = copy.deepcopy(csr)
    now = now_rfc3339()
    approved.setdefault("status", {}).setdefault("conditions", []).append(
        {
            "type": "Approved",
            "status": "True",
            "reason": reason,
            "message": message,
            "lastUpdateTime": now,
            "lastTransitionTime": now,
        }
    )
    await client.update(CSRS, approved, subresource="approval")
    log.info("certificate request approved", csr=csr["metadata"]["name"], reason=reason)


async def may_renew(client: Client, csr: Json) -> bool:
    """Whether the requester may renew client certificates of clusters: asked of the API server."""
    spec = csr["spec"]
    review: Json = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "metadata": {},
        "spec": {
            "user": spec.get("username", ""),
            "uid": spec.get("uid", ""),
            "groups": spec.get("groups") or [],
            "extra": spec.get("extra") or {},
            "resourceAttributes": {
                "group": REGISTER_GROUP,
                "resource": "managedclusters",
                "subresource": "clientcertificates",
                "verb": "renew",
            },
        },
    }
    answer = await client.create(SUBJECTACCESSREVIEWS, review)
    return bool((answer.get("status") or {}).get("allowed"))


class CsrController(Controller):
    """Approves renewals by the cluster itself, and first requests by users that were named for it.

    Those users' clusters are accepted too, when they join: afterwards a person may deny them.
    """

    name = "registration-csr"

    def __init__(self, auto_approve_users: frozenset[str] = frozenset()) -> None:
        self._users = auto_approve_users

    def watches(self) -> list[Watch]:
        """Requests that carry a cluster's name (the label is a hint, the subject decides); new clusters."""
        return [
            Watch(CSRS, label_selector=_OF_CLUSTERS),
            Watch(ManagedCluster.RESOURCE, map=self._of_cluster, predicate=lambda old, new: old is None),
        ]

    async def reconcile(self, key: Key) -> float | None:
        """Approve, or leave the request to a person."""
        csr = self.cache(CSRS, label_selector=_OF_CLUSTERS).get(key)
        if csr is None:
            return None
        by_us = csr["spec"].get("username", "") in self._users
        if is_settled(csr) and not (by_us and is_true(csr, "Approved")):
            return None
        try:
            subject = check_cluster_csr(csr)
        except CsrError as error:
            log.info("certificate request left alone", csr=key.name, reason=str(error))
            return None
        requester = csr["spec"].get("username", "")
        if by_us:
            if not is_settled(csr):
                message = f"Auto approving the first certificate of a cluster requested by {requester}."
                await approve(self.client, csr, _AUTO_APPROVED, message)
            await self._accept(csr["metadata"]["labels"][CLUSTER_NAME_LABEL], requester)
        elif requester == subject.common_name and await may_renew(self.client, csr):
            message = "Auto approving Managed cluster agent certificate after SubjectAccessReview."
            await approve(self.client, csr, _AUTO_APPROVED, message)
        return None

    async def _accept(self, name: str, requester: str) -> None:
        """Once in the life of a ManagedCluster, and not where somebody has decided on it before."""
        cluster = self.cache(ManagedCluster.RESOURCE).get(Key("", name))
        if cluster is None or cluster["metadata"].get("deletionTimestamp"):
            return  # its coming calls us again
        metadata = cluster["metadata"]
        if AUTO_ACCEPTED_ANNOTATION in (metadata.get("annotations") or {}):
            return
        if get_condition(cluster, CONDITION_ACCEPTED) is not None:
            return
        body = {
            "metadata": {
                "uid": metadata["uid"],
                "resourceVersion": metadata["resourceVersion"],
                "annotations": {AUTO_ACCEPTED_ANNOTATION: now_rfc3339()},
            },
            "spec": {"hubAcceptsClient": True},
        }
        await self.client.patch(ManagedCluster.RESOURCE, name, body)
        log.info("cluster accepted", cluster=name, requester=requester)

    def _of_cluster(self, cluster: Json) -> list[Key]:
        if not self._users:
            return []
        requests = self.cache(CSRS, label_selector=_OF_CLUSTERS)
        requests.add_index("cluster", lambda csr: [csr["metadata"]["labels"][CLUSTER_NAME_LABEL]])
        found = requests.by_index("cluster", cluster["metadata"]["name"])
        return [Key("", csr["metadata"]["name"]) for csr in found]
