"""What is particular to a kind of operation: whom it works on, what is wrong with it, which pods do it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from addon_framework.api.meta import Json, Resource
from addon_framework.kube import Key
from addons.cache_runtime.agent.backends import Binding
from addons.cache_runtime.agent.operations.coverage import Coverage
from addons.cache_runtime.agent.reference_rules import is_reference, reference_of
from runtimes.interface import SecretKey


class RefusedError(Exception):
    """The operation cannot be done as written; `reason` is one of Fluid's."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Part:
    """One job: a PodSpec, on one node or, with host "", wherever it fits."""

    name: str
    pod: Json
    host: str = ""
    pods: int = 1  # side by side, told apart by JOB_COMPLETION_INDEX
    trusted: bool = True  # whether "done" and "failed" in its log are the operation's own words


@dataclass(frozen=True)
class Plan:
    """Everything an operation needs, or what it waits for."""

    parts: Sequence[Part] = ()
    config: Mapping[str, str] | None = None  # a ConfigMap named like the first part
    waiting: str = ""
    missing: str = ""  # who will have a part too: it is not complete before
    left_out: str = ""  # who has no part, and why


class Kind(ABC):
    """DataLoad, DataMigrate, DataBackup or DataProcess. Pure."""

    resource: ClassVar[Resource]
    role: ClassVar[str]  # of its jobs, on their label
    finalizer: ClassVar[str]
    again: ClassVar[bool] = True  # whether what failed is tried again, later each time

    @property
    def name(self) -> str:
        """As objects have it."""
        return self.resource.kind

    @abstractmethod
    def targets(self, op: Json) -> list[Key]:
        """The Datasets it works on; it belongs to the first."""

    def writes(self, op: Json, bindings: Sequence[Binding]) -> bool:
        """Whether nothing else may work on these Datasets meanwhile."""
        return False

    @abstractmethod
    def check(self, op: Json) -> None:
        """What is wrong whatever the Datasets. Raises RefusedError."""

    def supports(self, op: Json, bindings: Sequence[Binding]) -> None:
        """What is wrong for the runtimes that its Datasets have. Raises RefusedError."""
        return

    def watched(self, op: Json, bindings: Sequence[Binding]) -> Binding:
        """The Dataset whose sources it reads: policy OnEvent looks at them."""
        return bindings[-1]

    def secrets(self, op: Json) -> set[SecretKey]:
        """Keys of Secrets that it needs besides its Datasets'."""
        return set()

    @abstractmethod
    def plan(self, op: Json, bindings: Sequence[Binding], pods: Sequence[Json], affinity: Json) -> Plan:
        """What is to be done. `pods` are the caches' own; `affinity` what `runAfter` asks for.

        Raises RefusedError.
        """

    def coverage(
        self,
        op: Json,
        bindings: Sequence[Binding],
        pods: Sequence[Json],
        workloads: Sequence[Json],
        now: datetime,
    ) -> Coverage | None:
        """The nodes that its parts are for, by all pods and workloads of the caches; None: for none."""
        return None

    def per_node(self, op: Json, bindings: Sequence[Binding]) -> bool:
        """Whether each part is about its own node only, so that more nodes change none of them."""
        return False

    def outcome(self, op: Json, hosts: Sequence[str]) -> Mapping[str, str]:
        """What `status.infos` says besides once it is complete on these nodes."""
        return {}

    def notes(self, op: Json) -> str:
        """What of the spec has no effect here though it has in Fluid, and why that is no loss."""
        return ""


def invalid(op: Json, field: str, message: str) -> RefusedError:
    """Of a field that is wrong."""
    return RefusedError("DataOperationNotValid", f"{title(op)}: {field}: {message}")


def title(op: Json) -> str:
    """How messages call an operation."""
    metadata = op["metadata"]
    return f"{op.get('kind', 'operation')} {metadata['namespace']}/{metadata['name']}"


def own_namespace(op: Json, targets: Sequence[tuple[str, Key]]) -> None:
    """Its pods mount the Datasets' claims, which is possible in their namespace only. Raises RefusedError."""
    namespace = op["metadata"]["namespace"]
    for field, key in targets:
        if key.namespace != namespace:
            raise RefusedError(
                "TargetDatasetNamespaceNotSame",
                f"{title(op)}: spec.{field}.namespace: must be the {op.get('kind')}'s own, {namespace}",
            )


def refuse_reference(op: Json, dataset: Json) -> None:
    """The data, and the right to work on it, are another Dataset's. Raises RefusedError."""
    if not is_reference(dataset):
        return
    named = reference_of(dataset)
    there = f"; create the {op.get('kind')} for that, in its namespace" if named is not None else ""
    raise RefusedError(
        "DataOperationNotSupport",
        f"{title(op)}: Dataset {dataset['metadata']['name']} refers to "
        f"{named.physical if named is not None else 'another'}{there}",
    )


def claim_volume(name: str, claim: str, *, read_only: bool) -> Json:
    """A Dataset's claim as a volume."""
    source: Json = {"claimName": claim}
    if read_only:
        source["readOnly"] = True
    return {"name": name, "persistentVolumeClaim": source}
