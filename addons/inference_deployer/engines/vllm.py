"""vLLM in its own stock image, started by our launcher (see launcher/launcher.py)."""

from __future__ import annotations

from typing import Any

from addons.inference_deployer.engines.host import (
    HOST_DIR,
    HOST_LABEL,
    LAUNCHER_DIR,
    QUIET,
    host_key,
    host_socket,
    host_volume,
)
from addons.inference_deployer.engines.interface import (
    COMPILED_PATH,
    MODEL_PATH,
    PORT,
    EngineSpecError,
    Workload,
)

IMAGE = "vllm/vllm-openai"
OURS = ("--model", "--served-model-name", "--host", "--port", "--uds")


class VLLMEngine:
    """Engine plug-in `vllm`."""

    def pod_template(self, workload: Workload) -> dict[str, Any]:
        """A pod whose engine starts while the data is still being loaded."""
        for index, argument in enumerate(workload.args):
            if argument.split("=")[0] in OURS:
                raise EngineSpecError(
                    f"args[{index}]: {argument.split('=')[0]} is not yours to set, leave it out"
                )
        image = workload.image or IMAGE
        mounted = _volumes(workload, image)
        container: dict[str, Any] = {
            "name": "engine",
            "image": image,
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "command": ["python3", LAUNCHER_DIR, "--mode", workload.launcher, "--"],
            "args": [
                *("--model", MODEL_PATH, "--served-model-name", workload.model),
                *("--host", "$(POD_IP)", "--port", str(PORT)),
                *workload.args,
            ],
            "env": _variables(workload, image),
            "ports": [{"name": "http", "containerPort": PORT}],
            # No liveness probe: vLLM ends by itself when its core is dead, and a large model loads for long.
            "readinessProbe": {
                "httpGet": {"path": "/health", "port": PORT},
                "periodSeconds": 1,
                "timeoutSeconds": 5,
            },
            "volumeMounts": [{"name": volume["name"], **mount} for volume, mount in mounted],
        }
        if workload.resources:
            container["resources"] = dict(workload.resources)
        labels = dict(workload.labels)
        if workload.launcher == "shared":
            labels[HOST_LABEL] = host_key(image)
        return {
            "metadata": {"labels": labels},
            "spec": {
                "serviceAccountName": workload.service_account,
                "terminationGracePeriodSeconds": 30,
                "containers": [container],
                "volumes": [volume for volume, _ in mounted],
            },
        }


def _variables(workload: Workload, image: str) -> list[dict[str, Any]]:
    """The user's own last; of ours those that the user does not set."""
    values = {
        **QUIET,
        "VLLM_HOST_IP": "127.0.0.1",  # its processes talk inside the pod, or inside the engine host
        "ENGINE_IMAGE": image,
    }
    if workload.dataload:
        values["WAIT_FOR_DATALOAD"] = f"{workload.namespace}/{workload.dataload}"
    if workload.launcher == "shared":
        values["ENGINE_HOST_SOCKET"] = host_socket(image)
    if workload.compiled:
        values["COMPILED"] = COMPILED_PATH
    own = {str(variable.get("name")) for variable in workload.env}
    of_pod = (
        ("POD_NAME", "metadata.name"),
        ("POD_NAMESPACE", "metadata.namespace"),
        ("POD_IP", "status.podIP"),
    )
    return [
        *({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in of_pod),
        *({"name": name, "value": value} for name, value in values.items() if name not in own),
        *(dict(variable) for variable in workload.env),
    ]


def _volumes(workload: Workload, image: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Each with how the engine mounts it."""
    model = {"name": "model", "persistentVolumeClaim": {"claimName": workload.claim, "readOnly": True}}
    launcher = {"name": "launcher", "configMap": {"name": workload.launcher_config}}
    found: list[tuple[dict[str, Any], dict[str, Any]]] = [
        (model, {"mountPath": MODEL_PATH, "readOnly": True, "mountPropagation": "HostToContainer"}),
        (launcher, {"mountPath": LAUNCHER_DIR, "readOnly": True}),
    ]
    if workload.launcher == "shared":
        found.append((host_volume(), {"mountPath": HOST_DIR}))
    if workload.compiled:
        path = {"path": workload.compiled, "type": "DirectoryOrCreate"}
        found.append(({"name": "compiled", "hostPath": path}, {"mountPath": COMPILED_PATH}))
    if _parallel(workload):  # processes of one model share tensors
        found.append(({"name": "shm", "emptyDir": {"medium": "Memory"}}, {"mountPath": "/dev/shm"}))
    return found


def _parallel(workload: Workload) -> bool:
    return any(
        argument.startswith(("--tensor-parallel", "-tp", "--pipeline-par")) for argument in workload.args
    )
