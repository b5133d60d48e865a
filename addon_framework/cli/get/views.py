"""The kinds that `fleetadm get` shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from addon_framework.api.addon import ManagedClusterAddOn
from addon_framework.api.cluster import ManagedCluster, Placement, PlacementDecision
from addon_framework.api.conditions import get_condition
from addon_framework.api.data import Dataset
from addon_framework.api.inference import InferenceDeployment
from addon_framework.api.meta import Json
from addon_framework.api.names import (
    CLUSTER_SET_LABEL,
    CONDITION_AVAILABLE,
    HOSTING_CLUSTER_ANNOTATION,
    PLACEMENT_LABEL,
)
from addon_framework.api.quantity import parse_quantity
from addon_framework.api.work import ManifestWork
from addon_framework.cli.get.view import Column, Row, View, age

Value = Callable[[Row], Any]


def at(path: str) -> Value:
    """The field at a dotted path; numbers in it are places in lists."""
    steps = [int(step) if step.isdigit() else step for step in path.split(".")]

    def value(row: Row) -> Any:
        found: Any = row.obj
        for step in steps:
            try:
                found = found[step]
            except (KeyError, IndexError, TypeError):
                return None
        return found

    return value


def condition(kind: str) -> Value:
    """A condition's status; what has not been said is Unknown."""
    return lambda row: (get_condition(row.obj, kind) or {}).get("status", "Unknown")


def messages(*kinds: str) -> Value:
    """Why the conditions of these kinds are as they are."""

    def value(row: Row) -> str:
        found = [get_condition(row.obj, kind) for kind in kinds]
        return "; ".join(c["message"] for c in found if c is not None and c.get("message"))

    return value


def _deletion(*kinds: tuple[str, str]) -> Value:
    """What an object that is being deleted waits for: a condition that says so, or else its finalizers."""

    def value(row: Row) -> str:
        metadata = row.obj["metadata"]
        if not _is_going(row):
            return ""
        for kind, status in kinds:
            found = get_condition(row.obj, kind)
            if found is not None and found["status"] == status and found.get("message"):
                return str(found["message"])
        finalizers = metadata.get("finalizers") or []
        return f"finalizers: {', '.join(finalizers)}" if finalizers else ""

    return value


def _is_going(row: Row) -> str:
    """For how long it has been waited for; nothing where nobody wants it gone."""
    deleted = row.obj["metadata"].get("deletionTimestamp")
    return f"for {age({'metadata': {'creationTimestamp': deleted}})}" if deleted else ""


def _addon_message(row: Row) -> str:
    """Why the conditions are as they are, those first that have failed."""
    early = ("HostingClusterValidity", "RegistrationApplied", "ManifestApplied", "HostingManifestApplied")
    found = [get_condition(row.obj, kind) for kind in (*early, "Available", "Degraded", "Progressing")]
    said = [c for c in found if c is not None and c.get("message")]
    return "; ".join(
        dict.fromkeys(c["message"] for c in said if c["type"] not in early or c["status"] == "False")
    )


def _hosted_by(row: Row) -> str | None:
    return (row.obj["metadata"].get("annotations") or {}).get(HOSTING_CLUSTER_ANNOTATION)


def _accepted(row: Row) -> str:
    return str(bool((row.obj.get("spec") or {}).get("hubAcceptsClient")))


def _gpus(row: Row) -> str:
    has = (row.obj.get("status") or {}).get("allocatable") or {}
    gpus = [value for name, value in has.items() if name.endswith("/gpu") or name.startswith("gpu.")]
    return str(int(sum(map(parse_quantity, gpus)))) if gpus else ""


def _memory(row: Row) -> str:
    memory = at("status.allocatable.memory")(row)
    return f"{parse_quantity(memory) / 2**30:.0f}Gi" if memory else ""


def _taints(row: Row) -> str:
    taints = (row.obj.get("spec") or {}).get("taints") or []
    return ",".join(f"{taint['key']}:{taint['effect']}" for taint in taints)


def _manifests(row: Row) -> int:
    return len(((row.obj.get("spec") or {}).get("workload") or {}).get("manifests") or [])


def _decided(row: Row) -> str:
    found = [d for decision in row.related for d in (decision.get("status") or {}).get("decisions") or []]
    return ",".join(sorted(decision["clusterName"] for decision in found))


def _is_decision_of(placement: Json, decision: Json) -> bool:
    mine, its = placement["metadata"], decision["metadata"]
    return bool(
        its.get("namespace") == mine.get("namespace")
        and (its.get("labels") or {}).get(PLACEMENT_LABEL) == mine["name"]
    )


def _model_ready(row: Row) -> str:
    status = row.obj.get("status") or {}
    return f"{status.get('readyReplicas', 0)}/{status.get('desiredReplicas', 0)}"


def _model_data(row: Row) -> str:
    """Complete, Loading, or what is wrong with the source of the weights."""
    return str((get_condition(row.obj, "DataReady") or {}).get("reason", ""))


def _model_clusters(row: Row) -> str:
    return ",".join(cluster["name"] for cluster in (row.obj.get("status") or {}).get("clusters") or [])


def _model_messages(row: Row) -> str:
    clusters, whole = (row.obj.get("status") or {}).get("clusters") or [], messages("Ready")(row)
    said = [
        f"{cluster['name']}: {cluster['message']}"
        for cluster in clusters
        if cluster.get("message") and cluster["message"] not in whole
    ]
    return "; ".join([*filter(None, [whole]), *said])


_NAME = Column("NAME", at("metadata.name"))
_NAMESPACE = Column("NAMESPACE", at("metadata.namespace"))
_CLUSTER = Column("CLUSTER", at("metadata.namespace"))

VIEWS = (
    View(
        name="clusters",
        also=("cluster", "managedclusters", "mc"),
        resource=ManagedCluster.RESOURCE,
        about="Clusters that asked to join, whether they were let in, joined, and are available.",
        example="fleetadm get clusters -o wide",
        columns=(
            _NAME,
            Column("ACCEPTED", _accepted, state=True),
            Column("JOINED", condition("ManagedClusterJoined"), state=True),
            Column("AVAILABLE", condition(CONDITION_AVAILABLE), state=True),
            Column("CPU", at("status.allocatable.cpu")),
            Column("MEMORY", _memory),
            Column("GPU", _gpus),
            Column("SET", lambda row: (row.obj["metadata"].get("labels") or {}).get(CLUSTER_SET_LABEL), True),
            Column("VERSION", at("status.version.kubernetes"), wide=True),
            Column("URL", at("spec.managedClusterClientConfigs.0.url"), wide=True),
            Column("TAINTS", _taints, wide=True),
            Column("DELETION", _is_going),
            Column("WAITS FOR", _deletion(("Deleting", "True")), wide=True),
            Column("MESSAGE", messages(CONDITION_AVAILABLE), wide=True),
        ),
    ),
    View(
        name="addons",
        also=("addon", "managedclusteraddons", "mca"),
        resource=ManagedClusterAddOn.RESOURCE,
        about="Add-ons on clusters, and whether they are available.",
        example="fleetadm get addons resource-scorer -o wide",
        columns=(
            _CLUSTER,
            _NAME,
            Column("AVAILABLE", condition("Available"), state=True),
            Column("DEGRADED", condition("Degraded")),
            Column("PROGRESSING", condition("Progressing")),
            Column("DELETION", _is_going),
            Column("WAITS FOR", _deletion(("HookManifestCompleted", "False")), wide=True),
            Column("MANIFESTS", condition("ManifestApplied"), wide=True),
            Column("HOSTED BY", _hosted_by, wide=True),
            Column("INSTALLED IN", at("status.namespace"), wide=True),
            Column("MESSAGE", _addon_message, wide=True),
        ),
    ),
    View(
        name="works",
        also=("work", "manifestworks"),
        resource=ManifestWork.RESOURCE,
        about="What the hub sends to clusters, and whether it was applied there.",
        example="fleetadm get works -n cluster1",
        columns=(
            _CLUSTER,
            _NAME,
            Column("APPLIED", condition("Applied"), state=True),
            Column("AVAILABLE", condition("Available"), state=True),
            Column("MANIFESTS", _manifests),
            Column("DELETION", _is_going),
            Column("WAITS FOR", _deletion(("Deleting", "True")), wide=True),
            Column("MESSAGE", messages("Applied", "Available"), wide=True),
        ),
    ),
    View(
        name="placements",
        also=("placement",),
        resource=Placement.RESOURCE,
        related=PlacementDecision.RESOURCE,
        belongs=_is_decision_of,
        about="Placements, and the clusters that they chose.",
        example="fleetadm get placement NAME -n default -o explain",
        explains=True,
        columns=(
            _NAMESPACE,
            _NAME,
            Column("SATISFIED", condition("PlacementSatisfied"), state=True),
            Column("SELECTED", at("status.numberOfSelectedClusters")),
            Column("CLUSTERS", _decided),
            Column("MESSAGE", messages("PlacementSatisfied", "PlacementMisconfigured"), wide=True),
        ),
    ),
    View(
        name="datasets",
        also=("dataset",),
        resource=Dataset.RESOURCE,
        spokes=True,
        about="Datasets on the spokes, and how much of each is in the cache.",
        example="fleetadm get datasets --cluster cluster1",
        columns=(
            Column("CLUSTER", lambda row: row.cluster),
            _NAMESPACE,
            _NAME,
            Column("PHASE", at("status.phase")),
            Column("SIZE", at("status.ufsTotal")),
            Column("CACHED", at("status.cacheStates.cached")),
            Column("CACHED %", at("status.cacheStates.cachedPercentage")),
            Column("RUNTIME", at("status.runtimes.0.type")),
            Column("CAPACITY", at("status.cacheStates.cacheCapacity"), wide=True),
            Column("FILES", at("status.fileNum"), wide=True),
            Column("MOUNT POINT", at("spec.mounts.0.mountPoint"), wide=True),
        ),
    ),
    View(
        name="inference",
        also=("inferences", "inferencedeployments", "inferencedeployment", "infer"),
        resource=InferenceDeployment.RESOURCE,
        about="Models that are served, where, and at which address.",
        example="fleetadm get inference -o wide -w",
        columns=(
            _NAMESPACE,
            _NAME,
            Column("MODEL", at("spec.model.name")),
            Column("PHASE", at("status.phase")),
            Column("READY", _model_ready),
            Column("DATA", _model_data),
            Column("CLUSTERS", _model_clusters),
            Column("ENDPOINT", at("status.endpoint")),
            Column("CACHE", at("spec.cache.runtime"), wide=True),
            Column("ENGINE", at("spec.engine.name"), wide=True),
            Column("SOURCE", at("spec.model.source"), wide=True),
            Column("MESSAGE", _model_messages, wide=True),
        ),
    ),
)
