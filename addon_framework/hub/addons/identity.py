"""An add-on agent's identity on the hub: which certificates it asks for, what they allow. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from addon_framework.api.meta import Json
from addon_framework.api.names import ADDON_NAME_LABEL, CLUSTER_NAME_LABEL
from addon_framework.hub.addons.works import addon_reference
from addon_framework.hub.registration.csr import CsrError, Subject, is_agent
from addon_framework.plugins import (
    CurrentCluster,
    CustomSigner,
    HubPermission,
    Registration,
    SingleNamespace,
    default_groups,
    default_user,
)
from addon_framework.plugins.types import KUBE_CLIENT_SIGNER

RBAC = "rbac.authorization.k8s.io"


def uses_tokens(addon: Json) -> bool:
    """Whether the spoke's agent has said that it fetches tokens, not certificates, for the hub's API."""
    return bool((addon.get("status") or {}).get("kubeClientDriver") == "token")


def token_account(addon: str) -> str:
    """The ServiceAccount in the cluster namespace that the tokens of an add-on's agent are for."""
    return f"{addon}-agent"


def registration_status(
    registrations: Iterable[Registration], cluster: str, addon: str, *, tokens: bool = False
) -> list[Json]:
    """status.registrations, v1alpha1: the signer and the subject of every identity."""
    result: list[Json] = []
    for registration in registrations:
        if tokens and not isinstance(registration, CustomSigner):
            user = f"system:serviceaccount:{cluster}:{token_account(addon)}"
            result.append({"signerName": KUBE_CLIENT_SIGNER, "subject": {"user": user}})
            continue
        # A user of the author's own keeps the author's groups, even if they are none.
        groups = [] if registration.user else default_groups(cluster, addon)
        subject: Json = {
            "user": registration.user or default_user(cluster, addon, addon),
            "groups": list(registration.groups) or groups,
        }
        signer = KUBE_CLIENT_SIGNER
        if isinstance(registration, CustomSigner):
            signer = registration.signer_name
            if registration.organization_units:
                subject["organizationUnit"] = list(registration.organization_units)
        elif not subject["groups"]:
            subject["groups"] = default_groups(cluster, addon)
        result.append({"signerName": signer, "subject": subject})
    return result


def role_name(addon: str) -> str:
    """The Role and RoleBinding of an add-on's agent in its cluster namespace."""
    return f"open-cluster-management:addon:{addon}:agent"


def permissions(addon: Json, wanted: Sequence[HubPermission]) -> list[Json]:
    """The Role and the RoleBindings, for the agents of this cluster only."""
    cluster = addon["metadata"]["namespace"]
    rules = [dict(each) for each in wanted if isinstance(each, Mapping)]
    result: list[Json] = []
    if rules:
        role = {"apiVersion": f"{RBAC}/v1", "kind": "Role", "metadata": _metadata(addon), "rules": rules}
        result += [role, _binding(addon, "Role", role_name(addon["metadata"]["name"]))]
    for each in wanted:
        if isinstance(each, CurrentCluster):
            result.append(
                _binding(addon, "ClusterRole", each.cluster_role, f":clusterrole:{each.cluster_role}")
            )
        elif isinstance(each, SingleNamespace):
            suffix = f":{each.kind.lower()}:{each.role}:{cluster}"
            result.append(_binding(addon, each.kind, each.role, suffix, each.namespace))
    return result


def is_permission(obj: Json, addon: str) -> bool:
    """Whether a labelled Role or RoleBinding is one of `permissions`, and not another's with that label."""
    name = obj["metadata"]["name"]
    return bool(name == role_name(addon) or name.startswith(f"{role_name(addon)}:"))


def _binding(addon: Json, kind: str, role: str, suffix: str = "", namespace: str = "") -> Json:
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": _metadata(addon, suffix, namespace),
        "roleRef": {"apiGroup": RBAC, "kind": kind, "name": role},
        "subjects": [_agent(addon)],
    }


def _agent(addon: Json) -> Json:
    name, cluster = addon["metadata"]["name"], addon["metadata"]["namespace"]
    if uses_tokens(addon):
        user = f"system:serviceaccount:{cluster}:{token_account(name)}"
        return {"apiGroup": RBAC, "kind": "User", "name": user}
    return {"apiGroup": RBAC, "kind": "Group", "name": default_groups(cluster, name)[0]}


def _metadata(addon: Json, suffix: str = "", namespace: str = "") -> Json:
    name, cluster = addon["metadata"]["name"], addon["metadata"]["namespace"]
    result: Json = {
        "name": role_name(name) + suffix,
        "namespace": namespace or cluster,
        "labels": {ADDON_NAME_LABEL: name, CLUSTER_NAME_LABEL: cluster},
    }
    if result["namespace"] == cluster:  # owners work within a namespace only
        result["ownerReferences"] = [addon_reference(addon)]
    return result


def check_addon_csr(csr: Json, addon: Json, subject: Subject, registrations: Iterable[Registration]) -> None:
    """OCM's default checks of an add-on's certificate request. Raises CsrError.

    The requester must be an agent of the cluster, and the subject one of those that the add-on itself names:
    its status is no witness, the cluster's agents may write there.
    """
    cluster, spec = addon["metadata"]["namespace"], csr["spec"]
    requester = spec.get("username", "")
    if not is_agent(requester, cluster):
        raise CsrError(f"requested by {requester}, who is not an agent of cluster {cluster}")
    if not csr["metadata"]["name"].startswith("addon-"):
        raise CsrError('the name does not begin with "addon-"')
    for registration in registration_status(registrations, cluster, addon["metadata"]["name"]):
        wanted = registration["subject"]
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
