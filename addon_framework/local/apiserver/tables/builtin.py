"""Columns of the built-in kinds, as kubectl get shows them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

from addon_framework.api.meta import Json
from addon_framework.local.apiserver.tables import cells, workloads
from addon_framework.local.apiserver.tables.cells import age_of, name_of, spec_of, status_of
from addon_framework.local.apiserver.tables.pods import pod_row

Row = Callable[[Json, datetime], list[Any]]


class Printer(NamedTuple):
    """Columns as (name, type, priority) and the cells of one object."""

    columns: tuple[tuple[str, str, int], ...]
    row: Row


def _columns(text: str) -> tuple[tuple[str, str, int], ...]:
    """From "Name Ready:integer Node+": a type after a colon, + for wide output, _ for a space."""
    out = []
    for each in text.split():
        name, _, kind = each.removesuffix("+").partition(":")
        out.append((name.replace("_", " "), kind or "string", int(each.endswith("+"))))
    return tuple(out)


def _node(obj: Json, now: datetime) -> list[Any]:
    status = status_of(obj)
    conditions: list[Json] = status.get("conditions") or []
    ready: Json = next((each for each in conditions if each.get("type") == "Ready"), {})
    state = {"True": "Ready", "False": "NotReady"}.get(
        ready.get("status", ""), "NotReady" if ready else "Unknown"
    )
    if spec_of(obj).get("unschedulable"):
        state += ",SchedulingDisabled"
    prefix, old = "node-role.kubernetes.io/", "kubernetes.io/role"
    found = obj["metadata"].get("labels") or {}
    roles = {key[len(prefix) :] for key in found if key.startswith(prefix)} | (
        {found[old]} if found.get(old) else set()
    )
    addresses = {each.get("type"): each.get("address") for each in status.get("addresses") or ()}
    info = status.get("nodeInfo") or {}
    return [
        name_of(obj),
        state,
        cells.joined(sorted(roles)),
        age_of(obj, now),
        info.get("kubeletVersion", ""),
        addresses.get("InternalIP") or cells.NONE,
        addresses.get("ExternalIP") or cells.NONE,
        info.get("osImage") or cells.UNKNOWN,
        info.get("kernelVersion") or cells.UNKNOWN,
        info.get("containerRuntimeVersion") or cells.UNKNOWN,
    ]


def _service(obj: Json, now: datetime) -> list[Any]:
    spec = spec_of(obj)
    kind = spec.get("type") or "ClusterIP"
    ingress = (status_of(obj).get("loadBalancer") or {}).get("ingress") or []
    given = [each.get("ip") or each.get("hostname") for each in ingress]
    external = cells.joined([*(each for each in given if each), *(spec.get("externalIPs") or ())], "")
    if kind == "ExternalName":
        external = spec.get("externalName", "")
    elif not external:
        external = "<pending>" if kind == "LoadBalancer" else cells.NONE
    ports = cells.joined(_port(each) for each in spec.get("ports") or ())
    return [
        name_of(obj),
        kind,
        spec.get("clusterIP") or cells.NONE,
        external,
        ports,
        age_of(obj, now),
        cells.labels(spec.get("selector")),
    ]


def _port(port: Json) -> str:
    node = f":{port['nodePort']}" if port.get("nodePort") else ""
    return f"{port.get('port')}{node}/{port.get('protocol', 'TCP')}"


def _some(values: list[Any], limit: int, empty: str) -> str:
    if not values:
        return empty
    more = f" + {len(values) - limit} more..." if len(values) > limit else ""
    return ",".join(str(each) for each in values[:limit]) + more


def _endpoint_slice(obj: Json, now: datetime) -> list[Any]:
    ports = [each.get("port", "*") for each in obj.get("ports") or ()]
    addresses = [address for each in obj.get("endpoints") or () for address in each.get("addresses") or ()]
    return [
        name_of(obj),
        obj.get("addressType", ""),
        _some(ports, 3, cells.UNSET),
        _some(addresses, 3, cells.UNSET),
        age_of(obj, now),
    ]


def _endpoints(obj: Json, now: datetime) -> list[Any]:
    found = [
        f"{address.get('ip')}:{port.get('port')}" if port else str(address.get("ip"))
        for subset in obj.get("subsets") or ()
        for port in subset.get("ports") or [None]
        for address in subset.get("addresses") or ()
    ]
    return [name_of(obj), _some(found, 3, cells.NONE), age_of(obj, now)]


def _config_map(obj: Json, now: datetime) -> list[Any]:
    return [name_of(obj), len(obj.get("data") or ()) + len(obj.get("binaryData") or ()), age_of(obj, now)]


def _volume(obj: Json, now: datetime) -> list[Any]:
    spec, status = spec_of(obj), status_of(obj)
    claim = spec.get("claimRef") or {}
    phase = "Terminating" if obj["metadata"].get("deletionTimestamp") else status.get("phase", "")
    return [
        name_of(obj),
        (spec.get("capacity") or {}).get("storage", ""),
        cells.modes(spec.get("accessModes")),
        spec.get("persistentVolumeReclaimPolicy", ""),
        phase,
        f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else "",
        spec.get("storageClassName") or "",
        spec.get("volumeAttributesClassName") or cells.UNSET,
        status.get("reason", ""),
        age_of(obj, now),
        spec.get("volumeMode") or cells.UNSET,
    ]


def _claim(obj: Json, now: datetime) -> list[Any]:
    spec, status = spec_of(obj), status_of(obj)
    bound = bool(spec.get("volumeName"))
    phase = "Terminating" if obj["metadata"].get("deletionTimestamp") else status.get("phase", "")
    return [
        name_of(obj),
        phase,
        spec.get("volumeName") or "",
        (status.get("capacity") or {}).get("storage", "") if bound else "",
        cells.modes(status.get("accessModes")) if bound else "",
        spec.get("storageClassName") or "",
        spec.get("volumeAttributesClassName") or cells.UNSET,
        age_of(obj, now),
        spec.get("volumeMode") or cells.UNSET,
    ]


def _event(obj: Json, now: datetime) -> list[Any]:
    about: Json = obj.get("involvedObject") or obj.get("regarding") or {}
    source = obj.get("source") or obj.get("deprecatedSource") or {}
    series = obj.get("series") or {}
    first = obj.get("firstTimestamp") or obj.get("deprecatedFirstTimestamp") or obj.get("eventTime")
    last = series.get("lastObservedTime") or obj.get("lastTimestamp") or first
    count = series.get("count") or obj.get("count") or obj.get("deprecatedCount") or 1
    component = (
        source.get("component") or obj.get("reportingComponent") or obj.get("reportingController") or ""
    )
    where = f"{component}, {source['host']}" if source.get("host") else component
    return [
        cells.age(last, now),
        obj.get("type", ""),
        obj.get("reason", ""),
        f"{str(about.get('kind', '')).lower()}/{about.get('name', '')}",
        about.get("fieldPath", ""),
        where,
        str(obj.get("message") or obj.get("note") or "").strip(),
        cells.age(first, now),
        count,
        name_of(obj),
    ]


def _certificate_request(obj: Json, now: datetime) -> list[Any]:
    spec, status = spec_of(obj), status_of(obj)
    kinds = [each.get("type") for each in status.get("conditions") or ()]
    state = "Denied" if "Denied" in kinds else "Approved" if "Approved" in kinds else "Pending"
    if "Failed" in kinds:
        state += ",Failed"
    if status.get("certificate"):
        state += ",Issued"
    seconds = spec.get("expirationSeconds")
    return [
        name_of(obj),
        age_of(obj, now),
        spec.get("signerName") or cells.NONE,
        spec.get("username", ""),
        cells.human(seconds) if seconds else cells.NONE,
        state,
    ]


def _binding(obj: Json, now: datetime) -> list[Any]:
    reference = obj.get("roleRef") or {}
    subjects = obj.get("subjects") or []

    def named(kind: str) -> str:
        return ", ".join(
            f"{each['namespace']}/{each['name']}" if each.get("namespace") else each.get("name", "")
            for each in subjects
            if each.get("kind") == kind
        )

    return [
        name_of(obj),
        f"{reference.get('kind', '')}/{reference.get('name', '')}",
        age_of(obj, now),
        named("User"),
        named("Group"),
        named("ServiceAccount"),
    ]


def _storage_class(obj: Json, now: datetime) -> list[Any]:
    default = (obj["metadata"].get("annotations") or {}).get("storageclass.kubernetes.io/is-default-class")
    return [
        name_of(obj) + (" (default)" if default == "true" else ""),
        obj.get("provisioner", ""),
        obj.get("reclaimPolicy") or "Delete",
        obj.get("volumeBindingMode") or "Immediate",
        str(bool(obj.get("allowVolumeExpansion"))).lower(),
        age_of(obj, now),
    ]


def _created(obj: Json, now: datetime) -> list[Any]:
    return [name_of(obj), obj["metadata"].get("creationTimestamp")]


_WORKLOAD = "Containers+ Images+ Selector+"
_RBAC = "rbac.authorization.k8s.io"
BY_NAME = Printer(_columns("Name Age"), lambda obj, now: [name_of(obj), age_of(obj, now)])
_CREATED = Printer(_columns("Name Created_At:date"), _created)
_BINDING = Printer(_columns("Name Role Age Users+ Groups+ ServiceAccounts+"), _binding)
_EVENT = Printer(
    _columns("Last_Seen Type Reason Object Subobject+ Source+ Message First_Seen+ Count:integer+ Name+"),
    _event,
)

PRINTERS: dict[tuple[str, str], Printer] = {
    ("", "pods"): Printer(
        _columns("Name Ready Status Restarts Age IP+ Node+ Nominated_Node+ Readiness_Gates+"), pod_row
    ),
    ("", "nodes"): Printer(
        _columns(
            "Name Status Roles Age Version Internal-IP+ External-IP+ OS-Image+ Kernel-Version+ "
            "Container-Runtime+"
        ),
        _node,
    ),
    ("apps", "deployments"): Printer(
        _columns(f"Name Ready Up-to-date:integer Available:integer Age {_WORKLOAD}"), workloads.deployment
    ),
    ("apps", "replicasets"): Printer(
        _columns(f"Name Desired:integer Current:integer Ready:integer Age {_WORKLOAD}"), workloads.replica_set
    ),
    ("apps", "daemonsets"): Printer(
        _columns(
            "Name Desired:integer Current:integer Ready:integer Up-to-date:integer Available:integer "
            f"Node_Selector Age {_WORKLOAD}"
        ),
        workloads.daemon_set,
    ),
    ("apps", "statefulsets"): Printer(_columns("Name Ready Age Containers+ Images+"), workloads.stateful_set),
    ("batch", "jobs"): Printer(_columns(f"Name Status Completions Duration Age {_WORKLOAD}"), workloads.job),
    ("batch", "cronjobs"): Printer(
        _columns(f"Name Schedule Timezone Suspend Active:integer Last_Schedule Age {_WORKLOAD}"),
        workloads.cron_job,
    ),
    ("", "services"): Printer(_columns("Name Type Cluster-IP External-IP Port(s) Age Selector+"), _service),
    ("discovery.k8s.io", "endpointslices"): Printer(
        _columns("Name AddressType Ports Endpoints Age"), _endpoint_slice
    ),
    ("", "endpoints"): Printer(_columns("Name Endpoints Age"), _endpoints),
    ("", "secrets"): Printer(
        _columns("Name Type Data:integer Age"),
        lambda obj, now: [name_of(obj), obj.get("type", ""), len(obj.get("data") or ()), age_of(obj, now)],
    ),
    ("", "configmaps"): Printer(_columns("Name Data:integer Age"), _config_map),
    ("", "namespaces"): Printer(
        _columns("Name Status Age"),
        lambda obj, now: [name_of(obj), status_of(obj).get("phase", ""), age_of(obj, now)],
    ),
    ("", "serviceaccounts"): Printer(
        _columns("Name Secrets:integer Age"),
        lambda obj, now: [name_of(obj), len(obj.get("secrets") or ()), age_of(obj, now)],
    ),
    ("", "persistentvolumes"): Printer(
        _columns(
            "Name Capacity Access_Modes Reclaim_Policy Status Claim StorageClass VolumeAttributesClass "
            "Reason Age VolumeMode+"
        ),
        _volume,
    ),
    ("", "persistentvolumeclaims"): Printer(
        _columns(
            "Name Status Volume Capacity Access_Modes StorageClass VolumeAttributesClass Age VolumeMode+"
        ),
        _claim,
    ),
    ("", "events"): _EVENT,
    ("events.k8s.io", "events"): _EVENT,
    ("coordination.k8s.io", "leases"): Printer(
        _columns("Name Holder Age"),
        lambda obj, now: [name_of(obj), spec_of(obj).get("holderIdentity") or "", age_of(obj, now)],
    ),
    ("certificates.k8s.io", "certificatesigningrequests"): Printer(
        _columns("Name Age SignerName Requestor RequestedDuration Condition"), _certificate_request
    ),
    ("apiextensions.k8s.io", "customresourcedefinitions"): _CREATED,
    (_RBAC, "roles"): _CREATED,
    (_RBAC, "clusterroles"): _CREATED,
    (_RBAC, "rolebindings"): _BINDING,
    (_RBAC, "clusterrolebindings"): _BINDING,
    ("storage.k8s.io", "storageclasses"): Printer(
        _columns("Name Provisioner ReclaimPolicy VolumeBindingMode AllowVolumeExpansion:boolean Age"),
        _storage_class,
    ),
    ("scheduling.k8s.io", "priorityclasses"): Printer(
        _columns("Name Value:integer Global-Default:boolean Age PreemptionPolicy"),
        lambda obj, now: [
            name_of(obj),
            obj.get("value", 0),
            bool(obj.get("globalDefault")),
            age_of(obj, now),
            obj.get("preemptionPolicy", ""),
        ],
    ),
}
