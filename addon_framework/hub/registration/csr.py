"""Certificate requests of clusters: which are sound, and which the hub approves by itself."""

from __future__ import annotations

import base64
import binascii
import copy
import warnings
from dataclasses import dataclass

import structlog
from cryptography import x509
from cryptography.x509.oid import NameOID

from addon_framework.api.core import CSRS, SUBJECTACCESSREVIEWS
from addon_framework.api.meta import Json
from addon_framework.api.names import (
    ADDON_NAME_LABEL,
    CLUSTER_NAME_LABEL,
    CLUSTER_SUBJECT_PREFIX,
    MANAGED_CLUSTERS_GROUP,
    REGISTER_GROUP,
)
from addon_framework.api.time import now_rfc3339
from addon_framework.kube import Client, Controller, Key, Watch
from addon_framework.plugins.types import KUBE_CLIENT_SIGNER

log = structlog.get_logger(__name__)


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

    with warnings.catch_warnings(action="ignore"):  # names longer than X.509 would have them
        subject = request.subject

    def values(oid: x509.ObjectIdentifier) -> list[str]:
        return [str(attribute.value) for attribute in subject.get_attributes_for_oid(oid)]

    names = values(NameOID.COMMON_NAME)
    if len(names) != 1:
        raise CsrError(f"spec.request: the subject has {len(names)} common names, not one")
    return Subject(
        names[0],
        frozenset(values(NameOID.ORGANIZATION_NAME)),
        frozenset(values(NameOID.ORGANIZATIONAL_UNIT_NAME)),
    )


def is_settled(csr: Json) -> bool:
    """Whether somebody has approved, denied or failed the request already."""
    conditions = (csr.get("status") or {}).get("conditions") or []
    return any(condition.get("type") in ("Approved", "Denied", "Failed") for condition in conditions)


def check_cluster_csr(csr: Json) -> Subject:
    """OCM's checks of a cluster's own certificate request. Raises CsrError."""
    cluster = (csr["metadata"].get("labels") or {}).get(CLUSTER_NAME_LABEL, "")
    if not cluster:
        raise CsrError(f"the label {CLUSTER_NAME_LABEL} is missing")
    signer = csr["spec"].get("signerName")
    if signer != KUBE_CLIENT_SIGNER:
        raise CsrError(f"spec.signerName is {signer}, not {KUBE_CLIENT_SIGNER}")
    subject = subject_of(csr)
    group = f"{CLUSTER_SUBJECT_PREFIX}{cluster}"
    if not subject.organizations <= {group, MANAGED_CLUSTERS_GROUP} or group not in subject.organizations:
        asked = ", ".join(sorted(subject.organizations)) or "none"
        raise CsrError(f"the organizations asked for ({asked}) are not those of cluster {cluster}")
    if not subject.common_name.startswith(f"{group}:"):
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
    """Approves renewals by the cluster itself, and first requests by users that were named for it."""

    name = "registration-csr"

    def __init__(self, auto_approve_users: frozenset[str] = frozenset()) -> None:
        self._users = auto_approve_users

    def watches(self) -> list[Watch]:
        """Requests that carry a cluster's name; the label is a hint, the subject decides."""
        return [Watch(CSRS, label_selector=f"{CLUSTER_NAME_LABEL},!{ADDON_NAME_LABEL}")]

    async def reconcile(self, key: Key) -> float | None:
        """Approve, or leave the request to a person."""
        csr = self.cache(CSRS, label_selector=f"{CLUSTER_NAME_LABEL},!{ADDON_NAME_LABEL}").get(key)
        if csr is None or is_settled(csr):
            return None
        try:
            subject = check_cluster_csr(csr)
        except CsrError as error:
            log.info("certificate request left alone", csr=key.name, reason=str(error))
            return None
        requester = csr["spec"].get("username", "")
        if requester == subject.common_name and await may_renew(self.client, csr):
            message = "Auto approving Managed cluster agent certificate after SubjectAccessReview."
            await approve(self.client, csr, "AutoApprovedByHubCSRApprovingController", message)
        elif requester in self._users:
            message = f"Auto approving the first certificate of a cluster requested by {requester}."
            await approve(self.client, csr, "AutoApprovedByHubCSRApprovingController", message)
        return None
