"""What one InferenceDeployment becomes on one cluster. Pure functions."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from addon_framework.api.inference import GROUP
from addon_framework.api.meta import Json
from addons.cache_runtime.agent.names import AFFINITY_LABEL
from addons.cache_runtime.hub import payload as data
from addons.cache_runtime.hub.runtimes import RUNTIMES, UNCACHED
from addons.inference_deployer.engines.interface import PORT, Engine, EngineSpecError, Workload
from addons.inference_deployer.kinds import (
    ENDPOINT_LABEL,
    REVISION_ANNOTATION,
    work_name,
)
from addons.inference_deployer.launcherfiles import launcher_config

RBAC = "rbac.authorization.k8s.io/v1"
DEFAULT_RUNTIME = "local"


class InvalidSpecError(ValueError):
    """The InferenceDeployment cannot be carried out as written; the message names the field."""

    def __init__(self, message: str, reason: str = "InvalidSpec") -> None:
        super().__init__(message)
        self.reason = reason


def endpoint_labels(name: str) -> dict[str, str]:
    """Labels of everything on the spoke that belongs to the endpoint."""
    return {"app.kubernetes.io/managed-by": "inference-deployer", ENDPOINT_LABEL: name}


def runtime_of(spec: Json) -> str:
    """The name of the cache runtime."""
    return str((spec.get("cache") or {}).get("runtime") or DEFAULT_RUNTIME)


def preloads(spec: Json) -> bool:
    """Whether the data is loaded before the weights are read; s3fs and rclone keep nothing to load into."""
    return bool((spec.get("cache") or {}).get("preload", True)) and runtime_of(spec) not in UNCACHED


def model_name(deployment: Json) -> str:
    """The name that clients ask for."""
    return str(deployment["spec"]["model"].get("name") or deployment["metadata"]["name"])


def secret_name(namespace: str, name: str) -> str:
    """The copy of the credentials in a cluster namespace, and on that cluster."""
    return f"{work_name(namespace, name)}-credentials"


def payload(deployment: Json, engine: Engine) -> list[Json]:
    """The objects on the cluster, in the order in which they depend on each other.

    Raises InvalidSpecError.
    """
    meta, spec = deployment["metadata"], deployment["spec"]
    namespace, name = meta["namespace"], meta["name"]
    labels = endpoint_labels(name)
    loads = preloads(spec)

    def named(suffix: str = "", **more: Any) -> Json:
        return {"name": f"{name}{suffix}", "namespace": namespace, "labels": labels, **more}

    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
        *_account(named("-engine")),
        _dataset(deployment, labels),
        _runtime(deployment, labels),
        *([data.data_load(named(), name)] if loads else []),
        launcher_config(f"{name}-launcher", namespace, labels),
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": named(annotations={REVISION_ANNOTATION: revision(deployment)}),
            "spec": {
                "replicas": int(spec.get("replicas", 1)),
                "selector": {"matchLabels": {ENDPOINT_LABEL: name}},
                "template": _pod_template(engine, _workload(deployment, labels)),
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


def _account(metadata: Json) -> list[Json]:
    """Who the launcher is: it reports its timeline on its Pod and waits for the DataLoad."""
    name, namespace = metadata["name"], metadata["namespace"]
    reads = {"apiGroups": ["data.fluid.io"], "resources": ["dataloads"], "verbs": ["get", "list", "watch"]}
    writes = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "patch"]}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
        {"apiVersion": RBAC, "kind": "Role", "metadata": metadata, "rules": [writes, reads]},
        {
            "apiVersion": RBAC,
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
        },
    ]


def _workload(deployment: Json, labels: dict[str, str]) -> Workload:
    """What the engine plug-in gets to see."""
    meta, spec = deployment["metadata"], deployment["spec"]
    engine = spec.get("engine") or {}
    return Workload(
        name=meta["name"],
        namespace=meta["namespace"],
        model=model_name(deployment),
        claim=meta["name"],
        dataload=meta["name"] if preloads(spec) else "",
        compiled=_compiled(deployment),
        image=str(engine.get("image") or ""),
        args=tuple(engine.get("args") or ()),
        env=tuple(engine.get("env") or ()),
        launcher=str(engine.get("launcher") or "shared"),
        launcher_config=f"{meta['name']}-launcher",
        resources=spec.get("resources") or {},
        labels={**labels, AFFINITY_LABEL: "true"} if _bypasses(spec) else labels,
        service_account=f"{meta['name']}-engine",
    )


def _bypasses(spec: Json) -> bool:
    """Whether new replicas read a copy while the cache is slower than its source."""
    if (spec.get("cache") or {}).get("bypass") != "auto":
        return False
    if runtime_of(spec) == DEFAULT_RUNTIME:
        raise InvalidSpecError(
            f"spec.cache.bypass: the {DEFAULT_RUNTIME} runtime is a copy on the node already, leave it out"
        )
    return True


def _compiled(deployment: Json) -> str:
    """Beside the Dataset's files, where nothing but its cache is, and its end removes it."""
    meta, spec = deployment["metadata"], deployment["spec"]
    if not (spec.get("cache") or {}).get("compiled"):
        return ""
    if runtime_of(spec) != DEFAULT_RUNTIME:
        raise InvalidSpecError(
            f"spec.cache.compiled: only the {DEFAULT_RUNTIME} runtime keeps compiled code; leave it out or "
            f"use spec.cache.runtime: {DEFAULT_RUNTIME}"
        )
    return f"{data.MEDIUM_PATH}/{meta['namespace']}/{meta['name']}/compiled"


def revision(deployment: Json) -> str:
    """What the spoke must have for its report to be about this spec; where it runs does not matter."""
    spec = {name: value for name, value in deployment["spec"].items() if name != "placement"}
    return hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:12]


def _pod_template(engine: Engine, workload: Workload) -> Json:
    try:
        return engine.pod_template(workload)
    except EngineSpecError as error:
        raise InvalidSpecError(f"spec.engine.{error}") from error


def _dataset(deployment: Json, labels: dict[str, str]) -> Json:
    meta, model = deployment["metadata"], deployment["spec"]["model"]
    metadata: Json = {"name": meta["name"], "namespace": meta["namespace"], "labels": labels}
    secret = ""
    if (model.get("credentialsRef") or {}).get("name"):
        secret = secret_name(meta["namespace"], meta["name"])
        metadata = data.by_reference(metadata, secret)
    if _bypasses(deployment["spec"]):
        metadata = data.bypassed(metadata)
    return data.dataset(metadata, model["source"], model.get("options") or {}, secret)


def _runtime(deployment: Json, labels: dict[str, str]) -> Json:
    meta, spec = deployment["metadata"], deployment["spec"]
    runtime = runtime_of(spec)
    if runtime not in RUNTIMES:
        known = ", ".join(sorted(RUNTIMES))
        raise InvalidSpecError(f"spec.cache.runtime: {runtime!r} is not a cache runtime; use one of {known}")
    cache = spec.get("cache") or {}
    if runtime == "local" and cache.get("options"):
        raise InvalidSpecError("spec.cache.options: the local runtime has no options, leave them out")
    metadata = {"name": meta["name"], "namespace": meta["namespace"], "labels": labels}
    quota = str(cache["quota"]) if cache.get("quota") else ""
    return data.runtime(metadata, runtime, quota=quota, options=cache.get("options"))
