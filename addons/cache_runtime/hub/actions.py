"""What `fleetadm dataset` does."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import Any

import click

from addon_framework.api.cluster import ManagedCluster, ManagedClusterSetBinding, Placement
from addon_framework.api.conditions import get_condition
from addon_framework.api.core import SECRETS
from addon_framework.api.data import DataMigrate, Dataset
from addon_framework.api.meta import Json, Resource
from addon_framework.api.names import PLACEMENT_LABEL
from addon_framework.cli.connect import Failure, NotThere, Where, is_kind_missing
from addon_framework.cli.get.printer import print_document
from addon_framework.hub.clustersets import GLOBAL_SET
from addon_framework.kube import Client, NotFound, wait_for
from addons.cache_runtime.agent.names import DATALOADS, DATASETS
from addons.cache_runtime.agent.sizes import human_size
from addons.cache_runtime.hub import payload
from addons.cache_runtime.hub.names import CLUSTER_ANNOTATION, dataset_of, placement_of
from addons.cache_runtime.hub.runtimes import UNCACHED

_MANAGER = "fleetadm"
MIGRATES = DataMigrate.RESOURCE
_BY_LABEL = {"data.boundaryless.io/by": _MANAGER}  # so that `delete` takes what `create` made, and no more


async def create(where: Where, *, namespace: str, wait: bool, timeout: float, **said: Any) -> None:
    """Dataset, runtime, DataLoad, and a Placement where clusters are named."""
    name, names = said["name"], [each.strip() for each in said["clusters"].split(",") if each.strip()]
    chooser = said["placement"] or f"dataset-{name}"
    async with where.client() as client:
        for cluster in names:
            await _there(client, ManagedCluster.RESOURCE, cluster)
        if not names:
            await _there(client, Placement.RESOURCE, chooser, namespace)
        if said["secret"]:
            await _check_secret(client, said["secret"], namespace)
        metadata: Json = {"name": name, "namespace": namespace, "labels": {**_BY_LABEL}}
        labelled = {**metadata, "labels": {**_BY_LABEL, PLACEMENT_LABEL: chooser}}
        options = {"endpoint": said["s3_endpoint"]} if said["s3_endpoint"] else {}
        dataset = payload.dataset(labelled, said["source"], options, said["secret"])
        parts = _parts(metadata, said, chooser, names)
        await _absent(client, dataset, f"fleetadm dataset delete {name} -n {namespace}")
        for part in parts:
            await _absent(client, part, "delete it, or give the Dataset another name")
        if names:
            await _bind(client, namespace)
        made = await client.create(DATASETS, dataset)
        for part in parts:
            part["metadata"] = {**part["metadata"], "ownerReferences": [_owner(made)]}
            await client.apply(part, field_manager=_MANAGER)
        click.echo(f"Dataset {namespace}/{name} created")
        if wait:
            await _until_complete(client, namespace, name, timeout)


async def load(where: Where, namespace: str, name: str, wait: bool, timeout: float) -> None:
    """A new DataLoad, which clusters have not run yet."""
    async with where.client() as client:
        dataset = await _dataset(client, namespace, name)
        metadata = {
            "name": f"{name}-{secrets.token_hex(3)}",
            "namespace": namespace,
            "labels": {**_BY_LABEL},
            "ownerReferences": [_owner(dataset)],
        }
        await client.create(DATALOADS, payload.data_load(metadata, name))
        click.echo(f"DataLoad {namespace}/{metadata['name']} created")
        if wait:
            await _until_complete(client, namespace, name, timeout)


async def migrate(where: Where, *, namespace: str, wait: bool, timeout: float, **said: Any) -> None:
    """A DataMigrate between the Dataset and other storage."""
    name = said["name"]
    async with where.client() as client:
        dataset = await _dataset(client, namespace, name)
        entries = (dataset.get("status") or {}).get("clusters") or []
        bound = [entry["name"] for entry in entries if entry["phase"] == "Bound"]
        cluster = said["cluster"] or next(iter(bound), "")
        if cluster not in bound:
            raise Failure(f"Dataset {namespace}/{name} is bound on {', '.join(bound) or 'no cluster'}")
        if said["secret"]:
            await _check_secret(client, said["secret"], namespace)
        mine: Json = {"dataset": {"name": name, "namespace": namespace}}
        other = payload.external(said["target"] or said["source"], said["secret"])
        metadata = {
            "name": f"{name}-{secrets.token_hex(3)}",
            "namespace": namespace,
            "labels": {**_BY_LABEL},
            "annotations": {CLUSTER_ANNOTATION: cluster},
            "ownerReferences": [_owner(dataset)],
        }
        options = {"endpoint": said["s3_endpoint"]} if said["s3_endpoint"] else {}
        ends = (mine, other) if said["target"] else (other, mine)
        await client.create(MIGRATES, payload.migrate(metadata, ends, options))
        click.echo(f"DataMigrate {namespace}/{metadata['name']} created; {cluster} runs it")
        if wait:
            await wait_for(
                client,
                MIGRATES,
                str(metadata["name"]),
                namespace,
                until=lambda op: op is not None and _is_loaded(op),
                timeout=timeout,
                what="complete",
            )
            click.echo(f"DataMigrate {namespace}/{metadata['name']} is complete")


async def delete(where: Where, namespace: str, name: str, wait: bool, timeout: float) -> None:
    """The Dataset; what `create` made for it goes with it."""
    async with where.client() as client:
        dataset = await _dataset(client, namespace, name)
        await client.delete(DATASETS, name, namespace, uid=dataset["metadata"]["uid"])
        if not wait:
            click.echo(f"Dataset {namespace}/{name} is being deleted")
            return
        progress = _Progress()
        await wait_for(
            client,
            DATASETS,
            name,
            namespace,
            until=lambda obj: obj is None or obj["metadata"]["uid"] != dataset["metadata"]["uid"],
            timeout=timeout,
            what="gone",
            on_change=progress.show,
        )
        click.echo(f"Dataset {namespace}/{name} is gone")


async def show_all(where: Where, namespace: str | None, output: str) -> None:
    """A line for each of the hub's Datasets that goes to clusters."""
    async with where.client() as client:
        try:
            listed = (await client.list(DATASETS, namespace))["items"]
        except NotFound as error:
            raise (_no_kind() if is_kind_missing(error) else error) from None
    found = [_whole(obj) for obj in listed if placement_of(obj)]
    if output:
        print_document({"apiVersion": "v1", "kind": "List", "items": found}, output)
        return
    if not found:
        click.echo("No datasets.", err=True)
        return
    rows = [["NAMESPACE", "NAME", "PLACEMENT", "PHASE", "BOUND", "SIZE", "CACHED %", "MESSAGE"]]
    for obj in found:
        status, clusters = obj.get("status") or {}, (obj.get("status") or {}).get("clusters") or []
        bound = sum(entry["phase"] == "Bound" for entry in clusters)
        metadata = obj["metadata"]
        rows.append(
            [
                *(metadata["namespace"], metadata["name"], placement_of(obj), status.get("phase", "")),
                *(f"{bound}/{len(clusters)}", status.get("ufsTotal", "")),
                (status.get("cacheStates") or {}).get("cachedPercentage", ""),
                _message(obj),
            ]
        )
    _table(rows)


async def show(where: Where, namespace: str, name: str, output: str) -> None:
    """A line for each cluster."""
    async with where.client() as client:
        dataset = await _dataset(client, namespace, name)
    if output in ("json", "yaml"):
        print_document(_whole(dataset), output)
        return
    status = dataset.get("status") or {}
    click.echo(f"{namespace}/{name}: {status.get('phase', 'Pending')}; {_message(dataset)}")
    wide = ["FROM ORIGIN", "UPDATED"] if output == "wide" else []
    rows = [["CLUSTER", "PHASE", "CACHED", "CACHED %", "LOAD", *wide, "MESSAGE"]]
    for entry in status.get("clusters") or []:
        more = [_size(entry.get("originBytes")), entry.get("lastUpdateTime", "")] if wide else []
        rows.append(
            [
                *(entry["name"], entry["phase"], _size(entry.get("cachedBytes"))),
                *(entry.get("cachedPercentage", ""), entry.get("loadPhase", "")),
                *(*more, entry.get("message", "")),
            ]
        )
    if len(rows) > 1:
        _table(rows)


class _Progress:
    """A line for each change that a person would want to see, cluster by cluster once there are any."""

    def __init__(self) -> None:
        self._said: dict[str, str] = {}

    def show(self, dataset: Json | None) -> None:
        entries = ((dataset or {}).get("status") or {}).get("clusters") or []
        if dataset is not None and not entries:
            self._say(dataset["metadata"]["name"], _message(dataset))
        for entry in entries:
            parts = [entry["phase"], entry.get("cachedPercentage", ""), entry.get("rate", "")]
            if entry.get("eta"):
                parts.append(f"{entry['eta']} left")
            self._say(entry["name"], ", ".join(filter(None, [*parts, entry.get("message", "")])))

    def _say(self, name: str, text: str) -> None:
        if self._said.get(name) != text:
            self._said[name] = text
            click.echo(f"{name}: {text}", err=True)


async def _until_complete(client: Client, namespace: str, name: str, timeout: float) -> None:
    """Bound everywhere, and every DataLoad that was asked for complete."""
    loads = [
        load
        for load in (await client.list(DATALOADS, namespace))["items"]
        if dataset_of(load).name == name and dataset_of(load).namespace == namespace
    ]
    deadline = asyncio.get_running_loop().time() + timeout

    async def until(resource: Resource, wanted: str, check: Callable[[Json], bool], what: str) -> None:
        def done(obj: Json | None) -> bool:
            if obj is None:
                raise NotThere(f"Dataset {namespace}/{name} was deleted meanwhile")
            return check(obj)

        left = max(0.1, deadline - asyncio.get_running_loop().time())
        await wait_for(client, resource, wanted, namespace, until=done, timeout=left, what=what)

    progress = asyncio.create_task(_report(client, namespace, name, timeout))
    try:
        await until(DATASETS, name, _is_bound, "bound on all its clusters")
        for load in loads:
            await until(DATALOADS, load["metadata"]["name"], _is_loaded, "complete on all its clusters")
    except TimeoutError as error:
        raise TimeoutError(f"{error}: {_message(await _dataset(client, namespace, name))}") from None
    finally:
        progress.cancel()
        await asyncio.gather(progress, return_exceptions=True)
    click.echo(f"Dataset {namespace}/{name} is complete on all its clusters")


async def _report(client: Client, namespace: str, name: str, timeout: float) -> None:
    """Shows progress until it is cancelled."""
    show = _Progress().show
    await wait_for(
        client, DATASETS, name, namespace, until=lambda obj: False, timeout=timeout, on_change=show
    )


def _is_bound(dataset: Json) -> bool:
    """Raises Failure when a cluster has given up."""
    status = dataset.get("status") or {}
    for entry in status.get("clusters") or []:
        if entry["phase"] == "Failed":
            raise Failure(f"{entry['name']}: {entry.get('message') or 'failed'}")
    return bool(status.get("phase") == "Bound" and status.get("clusters"))


def _is_loaded(load: Json) -> bool:
    """Raises Failure when it failed anywhere."""
    status = load.get("status") or {}
    if status.get("phase") == "Failed":
        why = (status.get("infos") or {}).get("message") or "see its status"
        raise Failure(f"{load['metadata']['name']} failed: {why}")
    return bool(status.get("phase") == "Complete")


def _parts(metadata: Json, said: dict[str, Any], chooser: str, names: list[str]) -> list[Json]:
    """What is made for a Dataset, and goes with it."""
    made = [_placement(metadata, chooser, names)] if names else []
    if said["runtime"] != "local" or said["quota"]:
        made.append(payload.runtime(metadata, said["runtime"], quota=said["quota"]))
    if not said["no_load"] and said["runtime"] not in UNCACHED:
        made.append(payload.data_load(metadata, metadata["name"]))
    return made


async def _absent(client: Client, part: Json, otherwise: str) -> None:
    """What somebody else has made is not taken over, or it would go with the Dataset."""
    kind, name, namespace = part["kind"], part["metadata"]["name"], part["metadata"]["namespace"]
    try:
        await client.get(await client.resource_for(part["apiVersion"], kind), name, namespace)
    except NotFound as error:
        if is_kind_missing(error):
            raise _no_kind() from None
        return
    raise Failure(f"{kind} {namespace}/{name} exists: {otherwise}")


async def _check_secret(client: Client, name: str, namespace: str) -> None:
    secret = await _there(client, SECRETS, name, namespace)
    missing = [key for key in payload.CREDENTIAL_KEYS if key not in (secret.get("data") or {})]
    if missing:
        raise Failure(f"Secret {namespace}/{name} has no {' and no '.join(missing)}")


async def _there(client: Client, resource: Resource, name: str, namespace: str | None = None) -> Json:
    try:
        return await client.get(resource, name, namespace)
    except NotFound:
        where = f" in namespace {namespace}" if namespace else ""
        raise NotThere(f"there is no {resource.kind} {name}{where}") from None


async def _dataset(client: Client, namespace: str, name: str) -> Json:
    try:
        return await client.get(DATASETS, name, namespace)
    except NotFound as error:
        if is_kind_missing(error):
            raise _no_kind() from None
        raise NotThere(f"there is no Dataset {name} in namespace {namespace}") from None


def _no_kind() -> Failure:
    return Failure("the hub does not know Datasets yet: is fleetadm hub run running with the cache-runtime?")


async def _bind(client: Client, namespace: str) -> None:
    """A namespace that may use no set of clusters could choose none."""
    if (await client.list(ManagedClusterSetBinding.RESOURCE, namespace))["items"]:
        return
    await client.create(
        ManagedClusterSetBinding.RESOURCE,
        {
            "apiVersion": ManagedClusterSetBinding.RESOURCE.api_version,
            "kind": ManagedClusterSetBinding.RESOURCE.kind,
            "metadata": {"name": GLOBAL_SET, "namespace": namespace, "labels": {**_BY_LABEL}},
            "spec": {"clusterSet": GLOBAL_SET},
        },
    )
    click.echo(
        f"ManagedClusterSetBinding {namespace}/{GLOBAL_SET} created: the namespace had no clusters to use"
    )


def _placement(metadata: Json, name: str, clusters: list[str]) -> Json:
    """Chooses clusters by name, out of the sets bound to the namespace."""
    named = ", ".join(f'"{cluster}"' for cluster in clusters)
    expression = f"managedCluster.metadata.name in [{named}]"
    selector = {"requiredClusterSelector": {"celSelector": {"celExpressions": [expression]}}}
    return {
        "apiVersion": Placement.RESOURCE.api_version,
        "kind": Placement.RESOURCE.kind,
        "metadata": {**metadata, "name": name},
        "spec": {"predicates": [selector]},
    }


def _owner(dataset: Json) -> Json:
    return {
        "apiVersion": Dataset.RESOURCE.api_version,
        "kind": Dataset.RESOURCE.kind,
        "name": dataset["metadata"]["name"],
        "uid": dataset["metadata"]["uid"],
    }


def _whole(obj: Json) -> Json:
    metadata = {name: value for name, value in obj["metadata"].items() if name != "managedFields"}
    resource = Dataset.RESOURCE
    return {"apiVersion": resource.api_version, "kind": resource.kind, **obj, "metadata": metadata}


def _message(dataset: Json) -> str:
    return str((get_condition(dataset, "Ready") or {}).get("message") or "waiting for the hub manager")


def _size(size: int | None) -> str:
    return "" if size is None else human_size(size)


def _table(rows: list[list[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("   ".join((cell or "-").ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip())
