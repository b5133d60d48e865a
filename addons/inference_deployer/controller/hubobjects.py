"""What one InferenceDeployment needs on the hub: Placement, ManifestWork, credentials. Pure functions."""

from __future__ import annotations

import hashlib
import json

from addon_framework.api.inference import GROUP, InferenceDeployment
from addon_framework.api.meta import Json, owner_reference
from addons.cache_runtime.hub import payload as data
from addons.inference_deployer.controller.payload import payload, secret_name
from addons.inference_deployer.engines.interface import Engine
from addons.inference_deployer.kinds import REVISION_ANNOTATION, owner_labels, placement_name, work_name

FEEDBACK = (
    *("phase", "message", "readyReplicas", "endpoint", "revision"),
    *("timeline", "dataPhase", "cachedPercentage", "cacheAdvice", "engineHost"),
)


def placement(deployment: Json) -> Json:
    """The Placement that chooses the clusters; garbage collected with the InferenceDeployment.

    The hash makes a field that the user took away a difference, too.
    """
    meta, wanted = deployment["metadata"], deployment["spec"].get("placement") or {}
    text = json.dumps(wanted, sort_keys=True).encode()
    return {
        "apiVersion": "cluster.open-cluster-management.io/v1beta1",
        "kind": "Placement",
        "metadata": {
            "name": placement_name(meta["name"]),
            "namespace": meta["namespace"],
            "labels": owner_labels(meta["namespace"], meta["name"]),
            "annotations": {REVISION_ANNOTATION: hashlib.sha256(text).hexdigest()[:12]},
            "ownerReferences": [owner_reference(deployment, InferenceDeployment.RESOURCE, controller=True)],
        },
        "spec": {"numberOfClusters": 1, **wanted},
    }


def manifest_work(deployment: Json, cluster: str, engine: Engine) -> Json:
    """The ManifestWork for one cluster."""
    meta = deployment["metadata"]
    namespace, name = meta["namespace"], meta["name"]
    paths = [(field, f".status.{field}") for field in FEEDBACK]
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
            "deleteOption": data.keeps_namespace(namespace),
            "manifestConfigs": [data.reported(GROUP, "inferenceendpoints", meta, paths)],
        },
    }


def credentials(deployment: Json, secret: Json, cluster: str) -> list[Json]:
    """The Secret's copy in the cluster namespace, readable by that cluster's cache agent and nobody else."""
    namespace, name = deployment["metadata"]["namespace"], deployment["metadata"]["name"]
    needed = data.secret_keys(deployment["spec"]["model"]["source"]).values()
    values = {key: secret["data"][key] for key in needed}
    labels = owner_labels(namespace, name)
    return data.credentials(secret_name(namespace, name), cluster, namespace, labels, values)
