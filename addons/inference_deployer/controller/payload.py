"""What one InferenceDeployment becomes on one cluster. Pure functions."""

from __future__ import annotations

from typing import Any

from addon_framework.api.meta import Json
from addons.inference_deployer.engines.interface import PORT, Engine, Workload
from addons.inference_deployer.kinds import (
    ENDPOINT_LABEL,
    GROUP,
    HUB_SECRET_ANNOTATION,
    owner_labels,
    placement_name,
    work_name,
)
from addons.inference_deployer.launcher.source import launcher_config

DATA = "data.fluid.io/v1alpha1"
RBAC = "rbac.authorization.k8s.io/v1"
# runtime in the spec -> apiVersion, kind and spec of the runtime object
RUNTIMES: dict[str, tuple[str, str, Json]] = {
    "local": ("data.boundaryless.io/v1alpha1", "LocalRuntime", {"replicas": 1}),
    "juicefs": (DATA, "JuiceFSRuntime", {"replicas": 1}),
    "s3fs": (DATA, "ThinRuntime", {"replicas": 1, "profileName": "s3fs"}),
    "rclone": (DATA, "ThinRuntime", {"replicas": 1, "profileName": "rclone"}),
}
DEFAULT_RUNTIME = "local"
MEDIUM_PATH = "/var/lib/boundaryless/cache"
FEEDBACK = ("phase", "message", "readyReplicas", "endpoint", "timeline", "dataPhase", "cachedPercentage")


class InvalidSpecError(ValueError):
    """The InferenceDeployment cannot be carried out as written; the message names the field."""


def endpoint_labels(name: str) -> dict[str, str]:
    """Labels of everything on the spoke that belongs to the endpoint."""
    return {"app.kubernetes.io/managed-by": "inference-deployer", ENDPOINT_LABEL: name}


def runtime_of(spec: Json) -> str:
    """The name of the cache runtime."""
    return str((spec.get("cache") or {}).get("runtime") or DEFAULT_RUNTIME)


def preloads(spec: Json) -> bool:
    """Whether the data is loaded before the weights are read; s3fs keeps nothing, so it never does."""
    return bool((spec.get("cache") or {}).get("preload", True)) and runtime_of(spec) != "s3fs"


def model_name(deployment: Json) -> str:
    """The name that clients ask for."""
    return str(deployment["spec"]["model"].get("name") or deployment["metadata"]["name"])


def secret_name(namespace: str, name: str) -> str:
    """The copy of the credentials in a cluster namespace, and on that cluster."""
    return f"{work_name(namespace, name)}-credentials"


def payload(deployment: Json, engine: Engine) -> list[Json]:
    """The objects on the cluster, in the order in which they depend on each other."""
    meta, spec = deployment["metadata"], deployment["spec"]
    namespace, name = meta["namespace"], meta["name"]
    labels = endpoint_labels(name)
    account = f"{name}-engine"
    loads = preloads(spec)

    def named(suffix: str = "", **more: Any) -> Json:
        return {"name": f"{name}{suffix}", "namespace": namespace, "labels": labels, **more}

    engine_spec = spec.get("engine") or {}
    workload = Workload(
        name=name,
        namespace=namespace,
        model=model_name(deployment),
        claim=name,
        dataload=name if loads else "",
        image=str(engine_spec.get("image") or ""),
        args=tuple(engine_spec.get("args") or ()),
        env=tuple(engine_spec.get("env") or ()),
        launcher=str(engine_spec.get("launcher") or "shared"),
        launcher_config=f"{name}-launcher",
        resources=spec.get("resources") or {},
        labels=labels,
        service_account=account,
    )
    objects: list[Json] = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": named("-engine")},
        {
            "apiVersion": RBAC,
            "kind": "Role",
            "metadata": named("-engine"),
            "rules": [
                {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "patch"]},
                {
                    "apiGroups": ["data.fluid.io"],
                    "resources": ["dataloads"],
                    "verbs": ["get", "list", "watch"],
                },
            ],
        },
        {
            "apiVersion": RBAC,
            "kind": "RoleBinding",
            "metadata": named("-engine"),
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": account},
            "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
        },
        _dataset(deployment, labels),
        _runtime(deployment, labels),
    ]
    if loads:
        objects.append(
            {
                "apiVersion": DATA,
                "kind": "DataLoad",
                "metadata": named(),
                "spec": {
                    "dataset": {"name": name, "namespace": namespace},
                    "target": [{"path": "/", "replicas": 1}],
                },
            }
        )
    objects += [
        launcher_config(f"{name}-launcher", namespace, labels),
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": named(),
            "spec": {
                "replicas": int(spec.get("replicas", 1)),
                "selector": {"matchLabels": {ENDPOINT_LABEL: name}},
                "template": engine.pod_template(workload),
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": named(),
            "spec": {
                "type": "LoadBalancer",
                "selector": {ENDPOINT_LABEL: name},
                "ports": [{"name": "http", "port": PORT, "targetPort": PORT}],
            },
        },
        {
            "apiVersion": f"{GROUP}/v1alpha1",
            "kind": "InferenceEndpoint",
            "metadata": named(),
            "spec": {
                "model": model_name(deployment),
                "deployment": name,
                "dataset": name,
                **({"dataLoad": name} if loads else {}),
                "service": name,
            },
        },
    ]
    return objects


def _dataset(deployment: Json, labels: dict[str, str]) -> Json:
    meta, model = deployment["metadata"], deployment["spec"]["model"]
    mount: Json = {"mountPoint": model["source"], "name": meta["name"], "path": "/", "readOnly": True}
    if model.get("options"):
        mount["options"] = {key: str(value) for key, value in model["options"].items()}
    metadata: Json = {"name": meta["name"], "namespace": meta["namespace"], "labels": labels}
    if (model.get("credentialsRef") or {}).get("name"):
        secret = secret_name(meta["namespace"], meta["name"])
        # By reference only: the cache agent of the chosen cluster fetches the Secret itself.
        metadata["annotations"] = {HUB_SECRET_ANNOTATION: secret}
        mount["encryptOptions"] = [
            {"name": option, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}
            for option, key in (
                ("aws.accessKeyId", "accessKeyId"),
                ("aws.secretKey", "secretAccessKey"),
            )
        ]
    spec: Json = {"mounts": [mount], "accessModes": ["ReadOnlyMany"]}
    return {"apiVersion": DATA, "kind": "Dataset", "metadata": metadata, "spec": spec}


def _runtime(deployment: Json, labels: dict[str, str]) -> Json:
    meta, spec = deployment["metadata"], deployment["spec"]
    runtime = runtime_of(spec)
    if runtime not in RUNTIMES:
        known = ", ".join(sorted(RUNTIMES))
        raise InvalidSpecError(f"spec.cache.runtime: {runtime!r} is not a cache runtime; use one of {known}")
    api_version, kind, base = RUNTIMES[runtime]
    body = dict(base)
    quota = (spec.get("cache") or {}).get("quota")
    if runtime in ("local", "juicefs"):
        level: Json = {"mediumtype": "SSD", "path": MEDIUM_PATH}
        if quota:
            level["quota"] = str(quota)
        body["tieredstore"] = {"levels": [level]}
    metadata = {"name": meta["name"], "namespace": meta["namespace"], "labels": labels}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": body}


def placement(deployment: Json) -> Json:
    """The Placement that chooses the clusters; garbage collected with the InferenceDeployment."""
    meta, wanted = deployment["metadata"], deployment["spec"].get("placement") or {}
    return {
        "apiVersion": "cluster.open-cluster-management.io/v1beta1",
        "kind": "Placement",
        "metadata": {
            "name": placement_name(meta["name"]),
            "namespace": meta["namespace"],
            "labels": owner_labels(meta["namespace"], meta["name"]),
            "ownerReferences": [owner_reference(deployment)],
        },
        "spec": {"numberOfClusters": 1, **wanted},
    }


def owner_reference(deployment: Json) -> Json:
    """An owner reference to the InferenceDeployment."""
    meta = deployment["metadata"]
    return {
        "apiVersion": f"{GROUP}/v1alpha1",
        "kind": "InferenceDeployment",
        "name": meta["name"],
        "uid": meta["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def manifest_work(deployment: Json, cluster: str, engine: Engine) -> Json:
    """The ManifestWork for one cluster."""
    meta = deployment["metadata"]
    namespace, name = meta["namespace"], meta["name"]
    paths = [{"name": field, "path": f".status.{field}"} for field in FEEDBACK]
    return {
        "apiVersion": "work.open-cluster-management.io/v1",
        "kind": "ManifestWork",
        "metadata": {
            "name": work_name(namespace, name),
            "namespace": cluster,
            "labels": owner_labels(namespace, name),
        },
        "spec": {
            "workload": {"manifests": payload(deployment, engine)},
            "deleteOption": {
                # Others may live in the namespace too.
                "propagationPolicy": "SelectivelyOrphan",
                "selectivelyOrphans": {
                    "orphaningRules": [
                        {"group": "", "resource": "namespaces", "namespace": "", "name": namespace}
                    ]
                },
            },
            "manifestConfigs": [
                {
                    "resourceIdentifier": {
                        "group": GROUP,
                        "resource": "inferenceendpoints",
                        "namespace": namespace,
                        "name": name,
                    },
                    "feedbackRules": [{"type": "JSONPaths", "jsonPaths": paths}],
                    "feedbackScrapeType": "Watch",
                }
            ],
        },
    }


def credentials(deployment: Json, secret: Json, cluster: str) -> list[Json]:
    """The Secret's copy in the cluster namespace, readable by that cluster's cache agent and nobody else's."""
    namespace, name = deployment["metadata"]["namespace"], deployment["metadata"]["name"]
    copy = secret_name(namespace, name)
    metadata = {"name": copy, "namespace": cluster, "labels": owner_labels(namespace, name)}
    group = f"system:open-cluster-management:cluster:{cluster}:addon:cache-runtime"
    return [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": metadata,
            "type": secret.get("type", "Opaque"),
            "data": secret.get("data") or {},
        },
        {
            "apiVersion": RBAC,
            "kind": "Role",
            "metadata": metadata,
            "rules": [
                {
                    "apiGroups": [""],
                    "resources": ["secrets"],
                    "resourceNames": [copy],
                    "verbs": ["get", "list", "watch"],
                }
            ],
        },
        {
            "apiVersion": RBAC,
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": copy},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": group}],
        },
    ]
