"""Discovery: which groups, versions and resources there are, in the old form and the aggregated one.

https://kubernetes.io/docs/concepts/overview/kubernetes-api/#discovery-api
"""

from __future__ import annotations

from collections.abc import Iterator

from addon_framework.api.meta import Json
from addon_framework.local.apiserver.registry import (
    SUBRESOURCE_KINDS,
    SUBRESOURCE_VERBS,
    Kind,
    Registry,
    Version,
)

_PROXIED = {"proxy": "ProxyOptions"}


def api_versions(server: str) -> Json:
    """/api"""
    return {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": server}],
    }


def group_list(registry: Registry) -> Json:
    """/apis"""
    groups = [group(registry, name) for name in registry.groups() if name]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def group(registry: Registry, name: str) -> Json:
    """/apis/GROUP"""
    versions = [{"groupVersion": f"{name}/{v}", "version": v} for v in registry.groups()[name]]
    return {
        "kind": "APIGroup",
        "apiVersion": "v1",
        "name": name,
        "versions": versions,
        "preferredVersion": versions[0],
    }


def resource_list(registry: Registry, group: str, version: str) -> Json | None:
    """/api/v1 and /apis/GROUP/VERSION; None if nobody serves that version."""
    entries = []
    for kind, served in _serving(registry, group, version):
        entries.append(_resource(kind))
        for sub in kind.subresources_of(served):
            entry: Json = {
                "name": f"{kind.plural}/{sub}",
                "singularName": "",
                "namespaced": kind.namespaced,
                "kind": kind.kind + _PROXIED.get(sub, ""),
                "verbs": list(SUBRESOURCE_VERBS[sub]),
            }
            if sub in SUBRESOURCE_KINDS:
                entry["group"], entry["version"], entry["kind"] = SUBRESOURCE_KINDS[sub]
            entries.append(entry)
    if not entries:
        return None
    name = f"{group}/{version}" if group else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": entries}


def aggregated(registry: Registry, *, core: bool) -> Json:
    """All groups at once, for clients that ask for apidiscovery.k8s.io/v2."""
    items = []
    for name, versions in registry.groups().items():
        if (name == "") == core:
            metadata: Json = {"name": name} if name else {}
            shown = [_aggregated_version(registry, name, version) for version in versions]
            metadata["creationTimestamp"] = None
            items.append({"metadata": metadata, "versions": shown})
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    }


def _aggregated_version(registry: Registry, group: str, version: str) -> Json:
    kinds = [_aggregated(kind, served, group, version) for kind, served in _serving(registry, group, version)]
    return {"version": version, "freshness": "Current", "resources": kinds}


def _serving(registry: Registry, group: str, version: str) -> Iterator[tuple[Kind, Version]]:
    for kind in registry:
        served = kind.version(version)
        if kind.group == group and served is not None:
            yield kind, served


def _resource(kind: Kind) -> Json:
    return {
        "name": kind.plural,
        "singularName": kind.singular,
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": list(kind.verbs),
        **_names(kind),
    }


def _names(kind: Kind) -> Json:
    names: Json = {"shortNames": list(kind.short_names), "categories": list(kind.categories)}
    return {key: value for key, value in names.items() if value}


def _aggregated(kind: Kind, served: Version, group: str, version: str) -> Json:
    entry: Json = {
        "resource": kind.plural,
        "responseKind": _response_kind(group, version, kind.kind),
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.singular,
        "verbs": list(kind.verbs),
        **_names(kind),
    }
    if subresources := kind.subresources_of(served):
        entry["subresources"] = [
            {
                "subresource": sub,
                "responseKind": _response_kind(
                    *SUBRESOURCE_KINDS.get(sub, (group, version, kind.kind + _PROXIED.get(sub, "")))
                ),
                "verbs": list(SUBRESOURCE_VERBS[sub]),
            }
            for sub in subresources
        ]
    return entry


def _response_kind(group: str, version: str, kind: str) -> Json:
    return {"group": group, "version": version, "kind": kind}
