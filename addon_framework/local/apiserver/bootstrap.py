"""What a fresh server holds: its namespaces, the default roles, and the service that names it.

https://kubernetes.io/docs/reference/access-authn-authz/rbac/#default-roles-and-role-bindings
"""

from __future__ import annotations

from addon_framework.api.meta import Json
from addon_framework.local.apiserver.admission import PERMANENT_NAMESPACES
from addon_framework.local.apiserver.objects import Objects
from addon_framework.local.apiserver.rbac import GROUP
from addon_framework.local.apiserver.registry import Registry
from addon_framework.local.apiserver.store import Store
from addon_framework.local.apiserver.system import SYSTEM
from addon_framework.local.apiserver.write import Write
from addon_framework.local.pki import Authority

_READ = ["get", "list", "watch"]
_WRITE = ["create", "delete", "deletecollection", "patch", "update"]
_CORE = [
    "configmaps", "endpoints", "persistentvolumeclaims", "pods", "replicationcontrollers", "serviceaccounts",
    "services",
]  # fmt: skip
_SYSTEM, _AUTHENTICATION = "kube-system", "extension-apiserver-authentication"
_LABEL = {"kubernetes.io/bootstrapping": "rbac-defaults"}


def _rule(verbs: list[str], groups: list[str], resources: list[str]) -> Json:
    return {"verbs": verbs, "apiGroups": groups, "resources": resources}


def _view() -> list[Json]:
    return [
        _rule(
            _READ,
            [""],
            [*_CORE, "pods/log", "pods/status", "events", "namespaces", "limitranges", "resourcequotas"],
        ),
        _rule(_READ, ["discovery.k8s.io"], ["endpointslices"]),
        _rule(_READ, ["apps", "batch", "autoscaling", "policy", "networking.k8s.io"], ["*"]),
    ]


def _edit() -> list[Json]:
    return [
        *_view(),
        _rule(_READ, [""], ["secrets", "pods/exec", "pods/portforward", "pods/attach", "pods/proxy"]),
        _rule(_WRITE, [""], [*_CORE, "secrets", "pods/exec", "pods/portforward", "pods/eviction", "events"]),
        _rule(["impersonate"], [""], ["serviceaccounts"]),
        _rule(["create"], [""], ["serviceaccounts/token"]),
        _rule(_WRITE, ["apps", "batch", "autoscaling", "policy", "networking.k8s.io"], ["*"]),
        _rule([*_READ, *_WRITE], ["coordination.k8s.io"], ["leases"]),
    ]


def _cluster_roles() -> dict[str, list[Json]]:
    everything = [
        _rule(["*"], ["*"], ["*"]),
        {"verbs": ["*"], "nonResourceURLs": ["*"]},
    ]
    discovery = [
        "/api",
        "/api/*",
        "/apis",
        "/apis/*",
        "/healthz",
        "/livez",
        "/openapi",
        "/openapi/*",
        "/readyz",
    ]
    public = ["/healthz", "/livez", "/readyz", "/version", "/version/"]
    node = [
        _rule(_READ, [""], ["services", "pods", "nodes", "namespaces", "persistentvolumes"]),
        _rule(_READ, [""], ["configmaps", "secrets", "serviceaccounts", "persistentvolumeclaims"]),
        _rule(["create", "patch", "update"], [""], ["nodes", "nodes/status", "pods/status", "events"]),
        _rule(["create", "delete"], [""], ["pods"]),
        _rule(["create"], [""], ["serviceaccounts/token"]),
        _rule(["get", "create", "update", "patch"], ["coordination.k8s.io"], ["leases"]),
        _rule(_READ, ["discovery.k8s.io"], ["endpointslices"]),
        _rule(["create", "get", *_READ], ["certificates.k8s.io"], ["certificatesigningrequests"]),
    ]
    return {
        "cluster-admin": everything,
        "admin": [
            *_edit(),
            _rule([*_READ, *_WRITE], [GROUP], ["roles", "rolebindings"]),
            _rule(["create"], ["authorization.k8s.io"], ["localsubjectaccessreviews"]),
        ],
        "edit": _edit(),
        "view": _view(),
        "system:basic-user": [
            _rule(
                ["create"],
                ["authorization.k8s.io"],
                ["selfsubjectaccessreviews", "selfsubjectrulesreviews"],
            ),
            _rule(["create"], ["authentication.k8s.io"], ["selfsubjectreviews"]),
        ],
        "system:discovery": [{"verbs": ["get"], "nonResourceURLs": [*discovery, "/version", "/version/"]}],
        "system:public-info-viewer": [{"verbs": ["get"], "nonResourceURLs": public}],
        "system:auth-delegator": [
            _rule(["create"], ["authentication.k8s.io"], ["tokenreviews"]),
            _rule(["create"], ["authorization.k8s.io"], ["subjectaccessreviews"]),
        ],
        "system:node": node,
    }


_BINDINGS = {
    "cluster-admin": ["system:masters"],
    "system:basic-user": ["system:authenticated"],
    "system:discovery": ["system:authenticated"],
    "system:public-info-viewer": ["system:authenticated", "system:unauthenticated"],
}


def bootstrap(store: Store, registry: Registry, objects: Objects, port: int, authority: bytes) -> None:
    """Makes what is missing; what is there, changed or not, stays as it is."""

    def ensure(group: str, plural: str, obj: Json, namespace: str = "") -> None:
        kind = registry.kinds[(group, plural)]
        if store.get(kind.key, (namespace, obj["metadata"]["name"])) is None:
            write = Write(SYSTEM, kind, kind.versions[0], namespace, manager="kube-apiserver")
            objects.create(write, obj)

    for name in PERMANENT_NAMESPACES:
        ensure("", "namespaces", {"metadata": {"name": name}})
    for name, rules in _cluster_roles().items():
        ensure(GROUP, "clusterroles", {"metadata": {"name": name, "labels": dict(_LABEL)}, "rules": rules})
    for role, groups in _BINDINGS.items():
        subjects = [{"apiGroup": GROUP, "kind": "Group", "name": group} for group in groups]
        binding = {
            "metadata": {"name": role, "labels": dict(_LABEL)},
            "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": role},
            "subjects": subjects,
        }
        ensure(GROUP, "clusterrolebindings", binding)
    service: Json = {
        "metadata": {"name": "kubernetes", "labels": {"component": "apiserver", "provider": "kubernetes"}},
        "spec": {"ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": port}]},
    }
    ensure("", "services", service, "default")
    # Where servers that extend this one, and controllers with a port of their own, learn whom to trust.
    trusted = {"metadata": {"name": _AUTHENTICATION}, "data": _whom_to_trust(authority)}
    ensure("", "configmaps", trusted, _SYSTEM)
    reader = {"metadata": {"name": f"{_AUTHENTICATION}-reader", "labels": dict(_LABEL)}}
    rule = _rule(_READ, [""], ["configmaps"]) | {"resourceNames": [_AUTHENTICATION]}
    ensure(GROUP, "roles", reader | {"rules": [rule]}, _SYSTEM)


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
