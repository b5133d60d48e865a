"""Datasets, runtimes and DataLoads as the hub makes them for clusters. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from addon_framework.api.meta import Json
from addons.cache_runtime.agent.names import (
    BYPASS_ANNOTATION,
    HUB_SECRET_ANNOTATION,
    HUB_SECRET_FOR_LABEL,
)
from addons.cache_runtime.hub.runtimes import DATA, RUNTIMES, UNCACHED
from runtimes.source import SCHEMES

RBAC_GROUP = "rbac.authorization.k8s.io"
CREDENTIAL_KEYS = ("accessKeyId", "secretAccessKey")
MEDIUM_PATH = "/var/lib/boundaryless/cache"


def dataset(metadata: Json, source: str, options: Mapping[str, Any], secret: str = "") -> Json:
    """One source at the Dataset's root; `secret` has the keys of `secret_keys`."""
    mount: Json = {"mountPoint": source, "name": metadata["name"], "path": "/", "readOnly": True}
    if options:
        mount["options"] = {key: str(value) for key, value in options.items()}
    if secret:
        mount["encryptOptions"] = [
            {"name": option, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}
            for option, key in secret_keys(source).items()
        ]
    spec: Json = {"mounts": [mount], "accessModes": ["ReadOnlyMany"]}
    return {"apiVersion": DATA, "kind": "Dataset", "metadata": metadata, "spec": spec}


def secret_keys(source: str) -> dict[str, str]:
    """The secret options of a source, and the keys of a Secret that has them; of files, as in basic-auth."""
    scheme = source.partition("://")[0]
    if scheme in ("hf", "http", "https"):
        return {"token": "token"}
    if scheme in SCHEMES:
        return dict(zip(("aws.accessKeyId", "aws.secretKey"), CREDENTIAL_KEYS, strict=True))
    return {"user" if scheme == "webhdfs" else "username": "username", "password": "password"}


def by_reference(metadata: Json, secret: str) -> Json:
    """Metadata with which the cache agent of the chosen cluster fetches the Secret itself."""
    annotations = {**(metadata.get("annotations") or {}), HUB_SECRET_ANNOTATION: secret}
    return {**metadata, "annotations": annotations}


def bypassed(metadata: Json) -> Json:
    """Metadata with which labelled pods read a copy while the cache is slower than its source."""
    annotations = {**(metadata.get("annotations") or {}), BYPASS_ANNOTATION: "auto"}
    return {**metadata, "annotations": annotations}


def runtime(metadata: Json, name: str, *, quota: str = "", options: Mapping[str, Any] | None = None) -> Json:
    """The runtime object of one of RUNTIMES."""
    api_version, kind, base = RUNTIMES[name]
    spec = dict(base)
    if options:
        spec["fuse"] = {"options": {key: str(value) for key, value in options.items()}}
    if name not in UNCACHED:
        level: Json = {"mediumtype": "SSD", "path": MEDIUM_PATH}
        if quota:
            level["quota"] = quota
        spec["tieredstore"] = {"levels": [level]}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec}


def data_load(metadata: Json, dataset: str) -> Json:
    """Brings all of a Dataset of the same namespace into its cache."""
    target = {"name": dataset, "namespace": metadata["namespace"]}
    spec = {"dataset": target, "target": [{"path": "/", "replicas": 1}]}
    return {"apiVersion": DATA, "kind": "DataLoad", "metadata": metadata, "spec": spec}


def migrate(metadata: Json, ends: tuple[Json, Json], options: Mapping[str, str]) -> Json:
    """From the first end to the second."""
    spec = {"from": ends[0], "to": ends[1], **({"options": dict(options)} if options else {})}
    return {"apiVersion": DATA, "kind": "DataMigrate", "metadata": metadata, "spec": spec}


def external(uri: str, secret: str = "") -> Json:
    """An end that no Dataset describes; `secret` has the keys of `secret_keys`."""
    storage: Json = {"uri": uri}
    if secret:
        storage["encryptOptions"] = [
            {"name": option, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}
            for option, key in secret_keys(uri).items()
        ]
    return {"externalStorage": storage}


def credentials(
    name: str, cluster: str, namespace: str, labels: Mapping[str, str], data: Mapping[str, str]
) -> list[Json]:
    """A Secret in the cluster namespace, readable by that cluster's cache agent and nobody else.

    The agent gives it to Datasets of `namespace` only.
    """
    own = {**labels, HUB_SECRET_FOR_LABEL: namespace}
    metadata = {"name": name, "namespace": cluster, "labels": own}
    group = f"system:open-cluster-management:cluster:{cluster}:addon:cache-runtime"
    rule = {
        "apiGroups": [""],
        "resources": ["secrets"],
        "resourceNames": [name],
        "verbs": ["get", "list", "watch"],
    }
    rbac = f"{RBAC_GROUP}/v1"
    return [
        {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "data": dict(data)},
        {"apiVersion": rbac, "kind": "Role", "metadata": metadata, "rules": [rule]},
        {
            "apiVersion": rbac,
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": RBAC_GROUP, "kind": "Role", "name": name},
            "subjects": [{"apiGroup": RBAC_GROUP, "kind": "Group", "name": group}],
        },
    ]


def keeps_namespace(namespace: str) -> Json:
    """A work's deleteOption: everything goes but the namespace, in which others may live too."""
    rule = {"group": "", "resource": "namespaces", "namespace": "", "name": namespace}
    return {"propagationPolicy": "SelectivelyOrphan", "selectivelyOrphans": {"orphaningRules": [rule]}}


def reported(group: str, resource: str, metadata: Json, paths: Sequence[tuple[str, str]]) -> Json:
    """A work's manifestConfig: values of one object by name, sent whenever they change."""
    return {
        "resourceIdentifier": {
            "group": group,
            "resource": resource,
            "namespace": metadata["namespace"],
            "name": metadata["name"],
        },
        "feedbackRules": [
            {"type": "JSONPaths", "jsonPaths": [{"name": name, "path": path} for name, path in paths]}
        ],
        "feedbackScrapeType": "Watch",
    }
