"""The engine host: one pod per node and engine image that has imported vLLM and forks engines for the rest.

Its sockets lie in a directory of the node, one for each image, since one image's vLLM cannot serve another's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

HOST_APP = "engine-host"
HOST_DIR = "/run/boundaryless/engine-host"
HOST_LABEL = "inference.boundaryless.io/engine-host"  # on engine pods: the key of the host they ask
LAUNCHER_DIR = "/opt/boundaryless/launcher"
# What a served model must never do: ask the Internet for files or report usage.
QUIET = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}


def host_key(image: str) -> str:
    """Short name of an image, fit for labels and paths."""
    return hashlib.sha256(image.encode()).hexdigest()[:10]


def host_socket(image: str) -> str:
    """Where the host of an image listens."""
    return f"{HOST_DIR}/{host_key(image)}.sock"


def host_volume() -> dict[str, Any]:
    """The node's directory with the sockets."""
    return {"name": "engine-host", "hostPath": {"path": HOST_DIR, "type": "DirectoryOrCreate"}}


def host_nodes(daemon_set: dict[str, Any]) -> list[str]:
    """The nodes that a DaemonSet of ours names."""
    affinity = daemon_set["spec"]["template"]["spec"].get("affinity") or {}
    required = (affinity.get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    ) or {}
    terms = required.get("nodeSelectorTerms") or []
    return [value for term in terms for field in term.get("matchFields") or [] for value in field["values"]]


def host_daemon_set(
    image: str, nodes: Sequence[str], *, namespace: str, labels: dict[str, str], launcher_config: str
) -> dict[str, Any]:
    """The DaemonSet that keeps a host on `nodes`; on all of them when none is named.

    A matchFields term takes one value, and terms are alternatives: hence one term for each node.
    Updates are left to deletion: a host that ends takes its engines along.
    """
    key = host_key(image)
    selected = {"app": HOST_APP, "key": key}
    env = {
        **QUIET,
        "VLLM_HOST_IP": "127.0.0.1",
        "ENGINE_IMAGE": image,
        "ENGINE_HOST_SOCKET": host_socket(image),
    }
    pod: dict[str, Any] = {
        "terminationGracePeriodSeconds": 5,
        "automountServiceAccountToken": False,
        "containers": [
            {
                "name": "host",
                "image": image,
                "command": ["python3", LAUNCHER_DIR, "--mode", "host"],
                "env": [{"name": name, "value": value} for name, value in env.items()],
                "readinessProbe": {
                    "exec": {"command": ["test", "-S", host_socket(image)]},
                    "periodSeconds": 1,
                },
                "volumeMounts": [
                    {"name": "launcher", "mountPath": LAUNCHER_DIR, "readOnly": True},
                    {"name": "engine-host", "mountPath": HOST_DIR},
                ],
            }
        ],
        "volumes": [{"name": "launcher", "configMap": {"name": launcher_config}}, host_volume()],
    }
    if nodes:
        terms = [
            {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
            for node in sorted(nodes)
        ]
        pod["affinity"] = {
            "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
        }
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": f"engine-host-{key}", "namespace": namespace, "labels": {**labels, **selected}},
        "spec": {
            "selector": {"matchLabels": selected},
            "updateStrategy": {"type": "OnDelete"},
            "template": {"metadata": {"labels": {**labels, **selected}}, "spec": pod},
        },
    }
