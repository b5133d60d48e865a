"""What a fresh server holds: its namespaces, the default roles, and the service that names it.

https://kubernetes.io/docs/reference/access-authn-authz/rbac/#default-roles-and-role-bindings
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from addon_framework.api.meta import Json
from addon_framework.local.apiserver.admission import PERMANENT_NAMESPACES
from addon_framework.local.apiserver.data import described
from addon_framework.local.apiserver.objects import Objects
from addon_framework.local.apiserver.rbac import GROUP
from addon_framework.local.apiserver.registry import Registry
from addon_framework.local.apiserver.store import Store
from addon_framework.local.apiserver.system import own_write
from addon_framework.local.pki import Authority

_SYSTEM, _AUTHENTICATION = "kube-system", "extension-apiserver-authentication"
_LABEL = {"kubernetes.io/bootstrapping": "rbac-defaults"}


def _cluster_roles() -> Iterator[tuple[str, list[Json], list[str]]]:
    """Names, rules, and the groups that have them."""

    def flat(rules: list[Any]) -> list[Json]:
        return [rule for each in rules for rule in (flat(each) if isinstance(each, list) else [each])]

    for name, role in described(__package__, "roles.yaml").items():
        yield name, flat(role["rules"]), role.get("groups", [])


def bootstrap(store: Store, registry: Registry, objects: Objects, port: int, authority: bytes) -> None:
    """Makes what is missing; what is there, changed or not, stays as it is."""

    def ensure(group: str, plural: str, obj: Json, namespace: str = "") -> None:
        kind = registry.kinds[(group, plural)]
        if store.get(kind.key, (namespace, obj["metadata"]["name"])) is None:
            objects.create(own_write(kind, (namespace, ""), manager="kube-apiserver"), obj)

    for name in PERMANENT_NAMESPACES:
        ensure("", "namespaces", {"metadata": {"name": name}})
    for name, rules, groups in _cluster_roles():
        role: Json = {"metadata": {"name": name, "labels": dict(_LABEL)}}
        ensure(GROUP, "clusterroles", {**role, "rules": rules})
        if groups:
            reference = {"apiGroup": GROUP, "kind": "ClusterRole", "name": name}
            subjects = [{"apiGroup": GROUP, "kind": "Group", "name": group} for group in groups]
            ensure(GROUP, "clusterrolebindings", {**role, "roleRef": reference, "subjects": subjects})
    for name, value in (("system-node-critical", 2_000_001_000), ("system-cluster-critical", 2_000_000_000)):
        ensure("scheduling.k8s.io", "priorityclasses", {"metadata": {"name": name}, "value": value})
    service: Json = {
        "metadata": {"name": "kubernetes", "labels": {"component": "apiserver", "provider": "kubernetes"}},
        "spec": {"ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": port}]},
    }
    ensure("", "services", service, "default")
    # Where servers that extend this one, and controllers with a port of their own, learn whom to trust.
    trusted = {"metadata": {"name": _AUTHENTICATION}, "data": _whom_to_trust(authority)}
    ensure("", "configmaps", trusted, _SYSTEM)
    reader = {"metadata": {"name": f"{_AUTHENTICATION}-reader", "labels": dict(_LABEL)}}
    rule = {"verbs": ["get", "list", "watch"], "apiGroups": [""], "resources": ["configmaps"]}
    ensure(GROUP, "roles", reader | {"rules": [rule | {"resourceNames": [_AUTHENTICATION]}]}, _SYSTEM)


def _whom_to_trust(authority: bytes) -> dict[str, str]:
    """This server passes no requests on to others, so nobody has the key of its proxy's authority."""
    return {
        "client-ca-file": authority.decode(),
        "requestheader-client-ca-file": Authority.create("front-proxy-ca").cert_pem.decode(),
        "requestheader-allowed-names": '["front-proxy-client"]',
        "requestheader-username-headers": '["X-Remote-User"]',
        "requestheader-group-headers": '["X-Remote-Group"]',
        "requestheader-extra-headers-prefix": '["X-Remote-Extra-"]',
    }
