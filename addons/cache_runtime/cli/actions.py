"""What `fleetadm dataset` does."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any

import click

from addon_framework.api.cluster import ManagedCluster, ManagedClusterSetBinding, Placement
from addon_framework.api.meta import Json, Resource, owner_reference
from addon_framework.api.names import PLACEMENT_LABEL
from addon_framework.cli.connect import Failure, NotThere, Where
from addon_framework.hub.clustersets import GLOBAL_SET
from addon_framework.kube import Client, wait_for
from addon_framework.plugins import RUNTIMES, discover
from addons.cache_runtime.agent.names import DATALOADS, DATASETS
from addons.cache_runtime.cli.asking import (
    BY,
    BY_LABEL,
    absent,
    check_secret,
    dataset_there,
    is_complete,
    kept_by,
    message,
    there,
)
from addons.cache_runtime.hub import payload
from addons.cache_runtime.hub.progress import told
from addons.cache_runtime.hub.runtimes import UNCACHED
from runtimes import validation
from runtimes.interface import Cache


async def create(where: Where, *, namespace: str, wait: bool, timeout: float, **said: Any) -> None:
    """Dataset, runtime, DataLoad, and a Placement where clusters are named."""
    name, names = said["name"], [each.strip() for each in said["clusters"].split(",") if each.strip()]
    chooser = said["placement"] or f"dataset-{name}"
    metadata: Json = {"name": name, "namespace": namespace, "labels": {**BY_LABEL}}
    labelled = {**metadata, "labels": {**BY_LABEL, PLACEMENT_LABEL: chooser}}
    options = dict(said["options"])
    if said["s3_endpoint"]:
        options["endpoint"] = said["s3_endpoint"]
    dataset = payload.dataset(labelled, said["source"], options, said["secret"])
    _check(dataset, payload.runtime(metadata, said["runtime"], quota=said["quota"]))
    async with where.client() as client:
        for cluster in names:
            await there(client, ManagedCluster.RESOURCE, cluster)
        if not names:
            await there(client, Placement.RESOURCE, chooser, namespace)
        if said["secret"]:
            keys = payload.secret_keys(said["source"]).values()
            await check_secret(client, said["secret"], namespace, keys)
        parts = _parts(metadata, said, chooser, names)
        await absent(client, dataset, f"fleetadm dataset delete {name} -n {namespace}")
        for part in parts:
            await absent(client, part, "delete it, or give the Dataset another name")
        if names:
            await _bind(client, namespace)
        made = await client.create(DATASETS, dataset)
        for part in parts:
            part["metadata"] = {**part["metadata"], "ownerReferences": [owner_reference(made, DATASETS)]}
            await client.apply(part, field_manager=BY)
        click.echo(f"Dataset {namespace}/{name} created")
        if wait:
            loads = [part["metadata"]["name"] for part in parts if part["kind"] == DATALOADS.kind]
            await _until_complete(client, namespace, name, loads, timeout)


def _check(dataset: Json, runtime: Json) -> None:
    """What no cluster could ever set up is refused before it is written. Raises UsageError."""
    installed = (plugin.load() for plugin in discover(RUNTIMES).usable())
    backend = next((each for each in installed if each.resource.kind == runtime["kind"]), None)
    if backend is not None and (wrong := validation.problems(backend, Cache.of(dataset, runtime, image=""))):
        raise click.UsageError("\n".join(wrong))


async def load(where: Where, namespace: str, name: str, wait: bool, timeout: float) -> None:
    """A new DataLoad, which clusters have not run yet."""
    async with where.client() as client:
        dataset = await dataset_there(client, namespace, name)
        metadata = {
            "name": f"{name}-{secrets.token_hex(3)}",
            "namespace": namespace,
            "labels": {**BY_LABEL},
            "ownerReferences": [owner_reference(dataset, DATASETS)],
        }
        await client.create(DATALOADS, payload.data_load(metadata, name))
        click.echo(f"DataLoad {namespace}/{metadata['name']} created")
        if wait:
            await _until_complete(client, namespace, name, [str(metadata["name"])], timeout)


async def delete(where: Where, namespace: str, name: str, wait: bool, timeout: float) -> None:
    """The Dataset; what `create` made for it goes with it."""
    async with where.client() as client:
        dataset = await dataset_there(client, namespace, name)
        await client.delete(DATASETS, name, namespace, uid=dataset["metadata"]["uid"])
        if not wait:
            click.echo(f"Dataset {namespace}/{name} is being deleted")
            return
        progress = Progress()
        try:
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
        except TimeoutError as error:
            raise TimeoutError(f"{error}: {kept_by(await dataset_there(client, namespace, name))}") from None
        click.echo(f"Dataset {namespace}/{name} is gone")


class Progress:
    """A line for each change that a person would want to see, cluster by cluster once there are any.

    Of numbers that only grow a line in PERIOD seconds.
    """

    PERIOD = 5.0

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._said: dict[str, tuple[str, float]] = {}

    def show(self, dataset: Json | None) -> None:
        entries = ((dataset or {}).get("status") or {}).get("clusters") or []
        if dataset is not None and not entries:
            self._say(dataset["metadata"]["name"], message(dataset))
        for entry in entries:
            loading = told(entry.get("progress") or {}) if entry.get("loadPhase") == "Executing" else ""
            share = "" if loading else entry.get("cachedPercentage", "")
            self._say(entry["name"], entry["phase"], loading, share, entry.get("message", ""))

    def _say(self, name: str, phase: str, loading: str = "", *others: str) -> None:
        text, now = ", ".join(filter(None, (phase, *others))), self._clock()
        before, at = self._said.get(name, ("", now - self.PERIOD))
        if text != before or (loading and now - at >= self.PERIOD):
            self._said[name] = (text, now)
            click.echo(f"{name}: {', '.join(filter(None, (phase, loading, *others)))}", err=True)


async def _until_complete(
    client: Client, namespace: str, name: str, loads: Sequence[str], timeout: float
) -> None:
    """Bound everywhere, and these DataLoads complete: what became of others was asked by somebody else."""
    deadline = asyncio.get_running_loop().time() + timeout

    async def until(resource: Resource, wanted: str, check: Callable[[Json], bool], what: str) -> None:
        def done(obj: Json | None) -> bool:
            if obj is None:
                raise NotThere(f"{resource.kind} {namespace}/{wanted} was deleted meanwhile")
            return check(obj)

        left = max(0.1, deadline - asyncio.get_running_loop().time())
        await wait_for(client, resource, wanted, namespace, until=done, timeout=left, what=what)

    progress = asyncio.create_task(_report(client, namespace, name, timeout))
    try:
        await until(DATASETS, name, _is_bound, "bound on all its clusters")
        for load in loads:
            await until(DATALOADS, load, is_complete, "complete on all its clusters")
    except TimeoutError as error:
        raise TimeoutError(f"{error}: {message(await dataset_there(client, namespace, name))}") from None
    finally:
        progress.cancel()
        await asyncio.gather(progress, return_exceptions=True)
    click.echo(f"Dataset {namespace}/{name} is {'complete' if loads else 'bound'} on all its clusters")


async def _report(client: Client, namespace: str, name: str, timeout: float) -> None:
    """Shows progress until it is cancelled."""
    show = Progress().show
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


def _parts(metadata: Json, said: dict[str, Any], chooser: str, names: list[str]) -> list[Json]:
    """What is made for a Dataset, and goes with it."""
    made = [_placement(metadata, chooser, names)] if names else []
    if said["runtime"] != "local" or said["quota"]:
        made.append(payload.runtime(metadata, said["runtime"], quota=said["quota"]))
    if not said["no_load"] and said["runtime"] not in UNCACHED:
        made.append(payload.data_load(metadata, metadata["name"]))
    return made


async def _bind(client: Client, namespace: str) -> None:
    """A namespace that may use no set of clusters could choose none."""
    if (await client.list(ManagedClusterSetBinding.RESOURCE, namespace))["items"]:
        return
    await client.create(
        ManagedClusterSetBinding.RESOURCE,
        {
            "apiVersion": ManagedClusterSetBinding.RESOURCE.api_version,
            "kind": ManagedClusterSetBinding.RESOURCE.kind,
            "metadata": {"name": GLOBAL_SET, "namespace": namespace, "labels": {**BY_LABEL}},
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
