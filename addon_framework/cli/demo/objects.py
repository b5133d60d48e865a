"""The objects the demo applies: three add-ons on every cluster, and models to serve."""

from __future__ import annotations

from addon_framework.api.meta import Json

ADDONS = ("resource-scorer", "cache-runtime", "inference-deployer")
NAMESPACE = "demo"
# The same for all rows. Room for six answers at once: first touches of memory are slow on virtual machines,
# and vLLM clears all that it is given.
ENGINE = (
    *("--dtype=bfloat16", "--enforce-eager", "--max-model-len=512", "--max-num-seqs=4"),
    f"--kv-cache-memory-bytes={256 << 20}",
)
ADDON_PLACEMENT = {"namespace": "open-cluster-management", "name": "all-clusters"}


def namespace() -> list[Json]:
    """A user's namespace that may see every cluster."""
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        _global_binding(NAMESPACE),
    ]


def addons() -> list[Json]:
    """The three built-in add-ons, installed wherever a Placement says: on all clusters."""
    objects: list[Json] = [
        _global_binding(ADDON_PLACEMENT["namespace"]),
        {
            "apiVersion": "cluster.open-cluster-management.io/v1beta1",
            "kind": "Placement",
            "metadata": dict(ADDON_PLACEMENT),
            "spec": {"clusterSets": ["global"]},
        },
    ]
    for name in ADDONS:
        objects.append(
            {
                "apiVersion": "addon.open-cluster-management.io/v1alpha1",
                "kind": "ClusterManagementAddOn",
                "metadata": {"name": name},
                "spec": {
                    "addOnMeta": {"displayName": name, "description": f"Boundaryless: {name}"},
                    "installStrategy": {"type": "Placements", "placements": [dict(ADDON_PLACEMENT)]},
                },
            }
        )
    return objects


def credentials(access_key: str, secret_key: str) -> Json:
    """What reads the bucket. It goes to the chosen clusters only, and never into a ManifestWork."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "models", "namespace": NAMESPACE},
        "stringData": {"accessKeyId": access_key, "secretAccessKey": secret_key},
    }


def inference(
    name: str, source: str, endpoint: str, *, runtime: str, preload: bool, launcher: str, quota: str
) -> Json:
    """A model on one cluster with one GPU, where most GPUs are free."""
    return {
        "apiVersion": "inference.boundaryless.io/v1alpha1",
        "kind": "InferenceDeployment",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "model": {
                "name": name,
                "source": source,
                "options": {"endpoint": endpoint},
                "credentialsRef": {"name": "models"},
            },
            "cache": {"runtime": runtime, "preload": preload, "quota": quota},
            "engine": {
                "name": "vllm",
                "launcher": launcher,
                "args": [*ENGINE],
            },
            "replicas": 1,
            "resources": {"limits": {"nvidia.com/gpu": "1"}},
            "placement": {
                "clusterSets": ["global"],
                "numberOfClusters": 1,
                "prioritizerPolicy": {
                    "mode": "Exact",
                    "configurations": [
                        {
                            "scoreCoordinate": {
                                "type": "AddOn",
                                "addOn": {
                                    "resourceName": "resource-usage-score",
                                    "scoreName": "gpuAvailable",
                                },
                            },
                            "weight": 1,
                        },
                        # Do not move a model that runs because another cluster has a GPU more.
                        {"scoreCoordinate": {"type": "BuiltIn", "builtIn": "Steady"}, "weight": 2},
                    ],
                },
            },
        },
    }


def _global_binding(namespace: str) -> Json:
    return {
        "apiVersion": "cluster.open-cluster-management.io/v1beta2",
        "kind": "ManagedClusterSetBinding",
        "metadata": {"name": "global", "namespace": namespace},
        "spec": {"clusterSet": "global"},
    }
