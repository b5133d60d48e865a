"""DataProcess: a pod or a script of the user's on the mounted data. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from addon_framework.api.data import DataProcess
from addon_framework.api.meta import Json
from addon_framework.kube import Key
from addons.cache_runtime.agent.affinities import joined
from addons.cache_runtime.agent.backends import Binding
from addons.cache_runtime.agent.operations.kinds import (
    Kind,
    Part,
    Plan,
    RefusedError,
    claim_volume,
    invalid,
    own_namespace,
    title,
)

_VOLUME = "fluid-dataset-vol"
_SCRIPTS, _SCRIPT = "/fluid-scripts", "preprocess.sh"


class Process(Kind):
    """Reads a Dataset, or, where that is writable, has it for itself."""

    resource = DataProcess.RESOURCE
    role = "process"
    finalizer = "fluid-dataprocess-controller-finalizer"
    again = False  # what a user's program does twice is for the user to say

    def targets(self, op: Json) -> list[Key]:
        """The Dataset that it mounts."""
        target = (op.get("spec") or {}).get("dataset") or {}
        return [Key(target.get("namespace") or op["metadata"]["namespace"], target.get("name", ""))]

    def writes(self, op: Json, bindings: Sequence[Binding]) -> bool:
        """Where it can."""
        return not all(binding.cache.read_only for binding in bindings)

    def check(self, op: Json) -> None:
        """Exactly one processor, and nothing else where the data will be."""
        spec, where = op.get("spec") or {}, f"{title(op)}: spec.processor"
        own_namespace(op, [("dataset", self.targets(op)[0])])
        processor = spec.get("processor") or {}
        job, script = processor.get("job"), processor.get("script")
        if job and script:
            raise RefusedError("MultipleProcessorSpecified", f"{where}: give either job or script, not both")
        if not job and not script:
            raise RefusedError("ProcessorNotSpecified", f"{where}: give job or script")
        path = str((spec.get("dataset") or {}).get("mountPath", ""))
        if not path.startswith("/"):
            raise RefusedError(
                "DataOperationNotValid", f"{title(op)}: spec.dataset.mountPath: {path!r} must be absolute"
            )
        if ".." in str((spec.get("dataset") or {}).get("subPath") or "").split("/"):
            raise invalid(op, "spec.dataset.subPath", "must stay in the Dataset")
        if job and not ((job.get("podSpec") or {}).get("containers")):
            raise RefusedError("DataOperationNotValid", f"{where}.job.podSpec.containers: one is needed")
        if script and not script.get("image"):
            raise RefusedError("DataOperationNotValid", f"{where}.script.image: is needed")
        containers = [script] if script else _containers((job or {}).get("podSpec") or {})
        for container in containers:
            for mount in container.get("volumeMounts") or []:
                if str(mount.get("mountPath", "")).rstrip("/") == path.rstrip("/"):
                    raise RefusedError(
                        "ConflictMountPath",
                        f"{where}: volume {mount.get('name')} is mounted at {path}, where the Dataset is",
                    )

    def plan(self, op: Json, bindings: Sequence[Binding], pods: Sequence[Json], affinity: Json) -> Plan:
        """One pod, anywhere the claim can be mounted."""
        (binding,) = bindings
        if (binding.dataset.get("status") or {}).get("phase") not in ("Bound", "DataMigrating"):
            return Plan(waiting=f"waiting for Dataset {self.targets(op)[0]} to be Bound")
        spec = op["spec"]
        processor, dataset = spec["processor"], spec["dataset"]
        name = f"{op['metadata']['name']}-processor-job"
        script = processor.get("script")
        pod = _script_pod(name, script) if script else dict(processor["job"]["podSpec"])
        if processor.get("serviceAccountName"):
            pod["serviceAccountName"] = processor["serviceAccountName"]
        mount: Json = {
            "name": _VOLUME,
            "mountPath": dataset["mountPath"],
            "mountPropagation": "HostToContainer",  # a client that dies is mounted anew under a running pod
        }
        if binding.cache.read_only:
            mount["readOnly"] = True
        if dataset.get("subPath"):
            mount["subPath"] = dataset["subPath"]
        for field in ("containers", "initContainers"):
            if pod.get(field):
                pod[field] = [
                    {**c, "volumeMounts": [*(c.get("volumeMounts") or []), mount]} for c in pod[field]
                ]
        volume = claim_volume(_VOLUME, dataset["name"], read_only=binding.cache.read_only)
        pod["volumes"] = [*(pod.get("volumes") or []), volume]
        pod.setdefault("restartPolicy", "Never")
        if affinity:
            pod["affinity"] = joined(pod.get("affinity") or {}, affinity)
        config = {_SCRIPT: str(script["source"])} if script else None
        return Plan([Part(name, pod, trusted=False)], config=config)


def _containers(pod: Json) -> list[Json]:
    return [*(pod.get("containers") or []), *(pod.get("initContainers") or [])]


def _script_pod(config: str, script: Json) -> Json:
    image = str(script["image"])
    container: Json = {
        "name": "script-processor",
        "image": f"{image}:{script['imageTag']}" if script.get("imageTag") else image,
        "args": [f"{_SCRIPTS}/{_SCRIPT}"],
        "volumeMounts": [{"name": "script", "mountPath": _SCRIPTS}, *(script.get("volumeMounts") or [])],
    }
    for name in ("command", "env", "resources", "imagePullPolicy"):
        if script.get(name):
            container[name] = script[name]
    volumes = [{"name": "script", "configMap": {"name": config}}, *(script.get("volumes") or [])]
    return {
        "containers": [container],
        "volumes": volumes,
        "restartPolicy": script.get("restartPolicy") or "Never",
    }
