"""The hub's side of an add-on class as objects: identities and rights of its agents, and what they need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from addon_framework.api.meta import Json
from addon_framework.hub.addons.identity import role_name
from addon_framework.hub.addons.render_values import CLUSTER_NAME
from addon_framework.hub.roles import HUB_NAMESPACE
from addon_framework.plugins import (
    CurrentCluster,
    CustomSigner,
    KubeClient,
    Plugin,
    PluginError,
    Registration,
    SingleNamespace,
)

RBAC = "rbac.authorization.k8s.io"
_ACCOUNT = "addon-manager-controller-sa"  # with which OCM's add-on manager binds the roles


@dataclass
class HubSide:
    """`registrations` as an AddOnTemplate has them; `objects` to apply before it."""

    registrations: list[Json] = field(default_factory=list)
    objects: list[Json] = field(default_factory=list)


def hub_side(plugin: Plugin, problems: list[str]) -> HubSide:
    """Adds to `problems` what an AddOnTemplate cannot say."""
    result = HubSide()
    try:
        registrations = plugin.call("addon_registrations", cluster_name=CLUSTER_NAME)
        permissions = plugin.call("addon_hub_permissions", cluster_name=CLUSTER_NAME) or []
        result.objects += [dict(each) for each in plugin.call("addon_hub_manifests") or []]
    except PluginError as error:
        problems.append(str(error))
        return result
    wanted: Sequence[Registration] = [KubeClient()] if registrations is None else registrations
    if CLUSTER_NAME in str(wanted) or CLUSTER_NAME in str(permissions):
        problems.append(
            "addon_registrations or addon_hub_permissions: the cluster's name is in it; the registration and "
            "the rights of a template are the same for all clusters"
        )
    for registration in wanted:
        if isinstance(registration, CustomSigner):
            result.registrations += _signer(registration, problems)
        elif registration.user or registration.groups:
            problems.append(
                "addon_registrations: the user and groups of a template's KubeClient are OCM's own"
            )
        else:
            result.registrations.append({"type": "KubeClient"})
    granted, roles = _granted(plugin.name, permissions)
    result.objects += roles
    clients = [each for each in result.registrations if each["type"] == "KubeClient"]
    if granted and clients:
        clients[0]["kubeClient"] = {"hubPermissions": granted}
    elif granted:
        problems.append("addon_hub_permissions: rights without a KubeClient registration")
    return result


def _signer(registration: CustomSigner, problems: list[str]) -> list[Json]:
    if registration.signing_ca is None:
        problems.append(f"addon_registrations: {registration.signer_name} needs a signing_ca")
        return []
    if registration.organization_units and not registration.user:
        problems.append(
            f"addon_registrations: {registration.signer_name} has organization_units but no user; a template "
            "has them with a user only, the same for all clusters"
        )
    authority = registration.signing_ca
    signer: Json = {
        "signerName": registration.signer_name,
        "signingCA": {"name": authority.name, "namespace": authority.namespace},
    }
    if registration.user:
        subject: dict[str, Any] = {"user": registration.user, "groups": list(registration.groups)}
        subject["organizationUnit"] = list(registration.organization_units)
        signer["subject"] = {name: value for name, value in subject.items() if value}
    return [{"type": "CustomSigner", "customSigner": signer}]


def _granted(name: str, permissions: Sequence[Any]) -> tuple[list[Json], list[Json]]:
    """hubPermissions, and the roles that they name or that let OCM's add-on manager bind them."""
    granted: list[Json] = []
    objects: list[Json] = []
    bound: list[Json] = []
    rules = [dict(each) for each in permissions if isinstance(each, Mapping)]
    if rules:
        objects.append(_role(role_name(name), rules))
        permissions = [CurrentCluster(role_name(name)), *permissions]
    for each in permissions:
        if isinstance(each, CurrentCluster):
            entry: Json = {"currentCluster": {"clusterRoleName": each.cluster_role}}
            granted.append({"type": "CurrentCluster", **entry})
            bound.append(_bind("clusterroles", each.cluster_role))
        elif isinstance(each, SingleNamespace):
            reference = {"apiGroup": RBAC, "kind": each.kind, "name": each.role}
            entry = {"singleNamespace": {"namespace": each.namespace, "roleRef": reference}}
            granted.append({"type": "SingleNamespace", **entry})
            bound.append(_bind(f"{each.kind.lower()}s", each.role))
    if bound:
        binder = f"open-cluster-management:addon:{name}:binder"
        objects += [_role(binder, bound), _binding(binder)]
    return granted, objects


def _role(name: str, rules: list[Json]) -> Json:
    return {"apiVersion": f"{RBAC}/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules}


def _bind(resource: str, name: str) -> Json:
    return {"apiGroups": [RBAC], "resources": [resource], "resourceNames": [name], "verbs": ["bind"]}


def _binding(name: str) -> Json:
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": _ACCOUNT, "namespace": HUB_NAMESPACE}],
    }
