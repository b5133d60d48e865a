"""DataBackup: what a Dataset needs to begin anew, written to a directory of a node or to a claim. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from addon_framework.api.conditions import is_true
from addon_framework.api.data import DataBackup
from addon_framework.api.meta import Json, from_dict
from addon_framework.kube import Key
from addons.cache_runtime.agent.affinities import joined
from addons.cache_runtime.agent.backends import Binding
from addons.cache_runtime.agent.names import CONTENTS_ANNOTATION, role_of
from addons.cache_runtime.agent.operations.kinds import Kind, Part, Plan, RefusedError, invalid, title
from runtimes.backup_pods import problem
from runtimes.interface import Backup as Wanted
from runtimes.node_directories import NodeDirectories
from runtimes.pods import on_node

_ROLES = ("master", "worker", "client")  # the first that there is has most to tell


class Backup(Kind):
    """Only reads; others may meanwhile."""

    resource = DataBackup.RESOURCE
    role = "backup"
    finalizer = "fluid-databackup-controller-finalizer"

    def __init__(self, directories: NodeDirectories | None = None) -> None:
        self._directories = directories or NodeDirectories()

    def targets(self, op: Json) -> list[Key]:
        """The Dataset of its own namespace."""
        return [Key(op["metadata"]["namespace"], str((op.get("spec") or {}).get("dataset") or ""))]

    def check(self, op: Json) -> None:
        """Which Dataset, and a place that can be written to."""
        spec = op.get("spec") or {}
        if not spec.get("dataset"):
            raise invalid(op, "spec.dataset", "is needed")
        path = str(spec.get("backupPath") or "")
        wrong = problem(path)
        if not wrong and path.startswith("local://"):
            wrong = self._directories.problem(path.removeprefix("local://"))
        if wrong:
            raise RefusedError("PathNotSupported", f"{title(op)}: spec.backupPath: {wrong}")
        if str(spec["backupPath"]).partition("://")[2].partition("/")[0] == spec["dataset"]:
            raise RefusedError(
                "PathNotSupported", f"{title(op)}: spec.backupPath: is the Dataset itself; give another claim"
            )

    def supports(self, op: Json, bindings: Sequence[Binding]) -> None:
        """Whether there is anything to keep."""
        (binding,) = bindings
        task = binding.backend.backup(binding.cache, _wanted(op, binding))
        kind = binding.runtime.get("kind")
        if task is None:
            raise RefusedError(
                "DataOperationNotSupport", f"{title(op)}: {kind} {binding.cache.name} has nothing to back up"
            )
        if isinstance(task, str):
            raise RefusedError("DataOperationNotSupport", f"{title(op)}: {task}")

    def plan(self, op: Json, bindings: Sequence[Binding], pods: Sequence[Json], affinity: Json) -> Plan:
        """One pod on a node of the cache."""
        (binding,) = bindings
        self.supports(op, bindings)
        if (binding.dataset.get("status") or {}).get("phase") not in ("Bound", "DataMigrating"):
            return Plan(waiting=f"waiting for Dataset {self.targets(op)[0]} to be Bound")
        ready = [pod for pod in pods if is_true(pod, "Ready")]
        by_role = [[pod for pod in ready if role_of(pod) == role] for role in _ROLES]
        hosts = {str(pod["spec"]["nodeName"]) for pod in next((found for found in by_role if found), [])}
        if not hosts:
            return Plan(waiting="waiting for the cache's pods to be ready on nodes that this may use")
        task = binding.backend.backup(binding.cache, _wanted(op, binding))
        assert task is not None
        assert not isinstance(task, str)
        host = min(hosts)
        pod: Json = {
            "tolerations": list(binding.cache.dataset.spec.tolerations),
            **task.pod,
            "affinity": joined(affinity, on_node(host)),
        }
        return Plan([Part(f"{op['metadata']['name']}-pod", pod, host)])

    def outcome(self, op: Json, hosts: Sequence[str]) -> Mapping[str, str]:
        """Fluid's, for `dataRestoreLocation`."""
        path = str(op["spec"]["backupPath"])
        node = ",".join(hosts) if path.startswith("local://") else "NA"
        return {"BackupLocationPath": path, "BackupLocationNodeName": node}


def _wanted(op: Json, binding: Binding) -> Wanted:
    spec, status = from_dict(DataBackup, op).spec, binding.dataset.get("status") or {}
    numbers = status.get("numbers") or {}
    known = "sourceBytes" in numbers
    return Wanted(
        spec.backup_path,
        size=numbers.get("sourceBytes"),
        files=numbers.get("sourceFiles"),
        ufs_total=str(status.get("ufsTotal", "")) if known else "",
        owner=(spec.run_as.uid, spec.run_as.gid) if spec.run_as is not None else None,
        contents=(op["metadata"].get("annotations") or {}).get(CONTENTS_ANNOTATION) == "true",
    )
