"""An add-on agent's identity on the hub: which certificates it asks for, what they allow. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from addon_framework.api.meta import Json
from addon_framework.api.names import ADDON_NAME_LABEL, CLUSTER_NAME_LABEL, CLUSTER_SUBJECT_PREFIX
from addon_framework.hub.addons.works import owner_reference
from addon_framework.hub.registration.csr import CsrError, Subject
from addon_framework.plugins import CustomSigner, Registration, default_groups, default_user
from addon_framework.plugins.types import KUBE_CLIENT_SIGNER

RBAC = "rbac.authorization.k8s.io"


def registration_status(registrations: Iterable[Registration], cluster: str, addon: str) -> list[Json]:
    """status.registrations, v1alpha1: the signer and the subject of every identity."""
    result: list[Json] = []
    for registration in registrations:
        if isinstance(registration, CustomSigner):
            subject: Json = {"user": registration.user, "groups": list(registration.groups)}
            if registration.organization_units:
                subject["organizationUnit"] = list(registration.organization_units)
            result.append({"signerName": registration.signer_name, "subject": subject})
        else:
            subject = {
                "user": registration.user or default_user(cluster, addon, addon),
                "groups": list(registration.groups) or default_groups(cluster, addon),
            }
            result.append({"signerName": KUBE_CLIENT_SIGNER, "subject": subject})
    return result


def role_name(addon: str) -> str:
    """The Role and RoleBinding of an add-on's agent in its cluster namespace."""
    return f"open-cluster-management:addon:{addon}:agent"


def permissions(addon: Json, rules: Sequence[Json]) -> tuple[Json, Json]:
    """A Role with the rules and its binding to the agents of this cluster only."""
    name, cluster = addon["metadata"]["name"], addon["metadata"]["namespace"]
    metadata = {
        "name": role_name(name),
        "namespace": cluster,
        "labels": {ADDON_NAME_LABEL: name, CLUSTER_NAME_LABEL: cluster},
        "ownerReferences": [owner_reference(addon)],
    }
    role = {
        "apiVersion": f"{RBAC}/v1",
        "kind": "Role",
        "metadata": metadata,
        "rules": [dict(rule) for rule in rules],
    }
    binding = {
        "apiVersion": f"{RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": metadata,
        "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": role_name(name)},
        "subjects": [{"apiGroup": RBAC, "kind": "Group", "name": default_groups(cluster, name)[0]}],
    }
    return role, binding


def check_addon_csr(csr: Json, addon: Json, subject: Subject) -> None:
    """OCM's default checks of an add-on's certificate request. Raises CsrError.

    The requester must be an agent of the cluster, and the subject one that the add-on is registered with.
    """
    cluster, spec = addon["metadata"]["namespace"], csr["spec"]
    requester = spec.get("username", "")
    if not requester.startswith(f"{CLUSTER_SUBJECT_PREFIX}{cluster}:"):
        raise CsrError(f"requested by {requester}, who is not an agent of cluster {cluster}")
    if not csr["metadata"]["name"].startswith("addon-"):
        raise CsrError('the name does not begin with "addon-"')
    for registration in (addon.get("status") or {}).get("registrations") or []:
        wanted = registration.get("subject") or {}
        if (
            registration.get("signerName") == spec.get("signerName")
            and wanted.get("user") == subject.common_name
            and set(wanted.get("groups") or []) == subject.organizations
            and set(wanted.get("organizationUnit") or []) == subject.organization_units
        ):
            return
    raise CsrError(
        f"signer {spec.get('signerName')} with user {subject.common_name} and groups "
        f"{', '.join(sorted(subject.organizations))} is not a registration of the add-on"
    )
