"""What `fleetadm dataset migrate` does."""

from __future__ import annotations

import secrets
from typing import Any

import click

from addon_framework.api.data import DataMigrate
from addon_framework.api.meta import Json, owner_reference
from addon_framework.cli.connect import Failure, Where
from addon_framework.kube import Client, wait_for
from addons.cache_runtime.agent.names import DATASETS
from addons.cache_runtime.agent.sizes import human_size
from addons.cache_runtime.cli.asking import BY_LABEL, check_secret, dataset_there, is_complete
from addons.cache_runtime.hub import payload
from addons.cache_runtime.hub.names import CLUSTER_ANNOTATION, FROM_CLUSTER_ANNOTATION

MIGRATES = DataMigrate.RESOURCE


async def migrate(where: Where, *, namespace: str, wait: bool, timeout: float, **said: Any) -> None:
    """A DataMigrate between the Dataset and other storage, or between what two clusters cache of it."""
    name = said["name"]
    async with where.client() as client:
        dataset = await dataset_there(client, namespace, name)
        if said["secret"]:
            keys = payload.secret_keys(said["target"] or said["source"]).values()
            await check_secret(client, said["secret"], namespace, keys)
        mine: Json = {"dataset": {"name": name, "namespace": namespace}}
        annotations = {CLUSTER_ANNOTATION: _bound(dataset, said["to_cluster"] or said["cluster"])}
        if said["from_cluster"]:
            annotations[FROM_CLUSTER_ANNOTATION] = _bound(dataset, said["from_cluster"])
            ends = (mine, mine)
        else:
            other = payload.external(said["target"] or said["source"], said["secret"])
            ends = (mine, other) if said["target"] else (other, mine)
        metadata = {
            "name": f"{name}-{secrets.token_hex(3)}",
            "namespace": namespace,
            "labels": {**BY_LABEL},
            "annotations": annotations,
            "ownerReferences": [owner_reference(dataset, DATASETS)],
        }
        endpoint = {"endpoint": said["s3_endpoint"]} if said["s3_endpoint"] else {}
        options = {**endpoint, **said["options"]}
        await client.create(MIGRATES, payload.migrate(metadata, ends, options))
        click.echo(
            f"DataMigrate {namespace}/{metadata['name']} created; {annotations[CLUSTER_ANNOTATION]} runs it"
        )
        if wait:
            await _until_complete(client, namespace, str(metadata["name"]), timeout)


def _bound(dataset: Json, cluster: str) -> str:
    """A cluster that has it bound: this one, or the first. Raises Failure."""
    entries = (dataset.get("status") or {}).get("clusters") or []
    bound = [str(entry["name"]) for entry in entries if entry["phase"] == "Bound"]
    if (found := cluster or next(iter(bound), "")) in bound:
        return found
    metadata, asked = dataset["metadata"], f", not on {cluster}" if cluster else ""
    there = ", ".join(bound) or "no cluster"
    raise Failure(f"Dataset {metadata['namespace']}/{metadata['name']} is bound on {there}{asked}")


async def _until_complete(client: Client, namespace: str, name: str, timeout: float) -> None:
    """Says what it waits for meanwhile."""
    told, message = "", ""

    def show(op: Json | None) -> None:
        nonlocal told, message
        message = (((op or {}).get("status") or {}).get("infos") or {}).get("message", "")
        if message and message != told:
            told = message
            click.echo(f"{name}: {message}", err=True)

    def done(op: Json | None) -> bool:
        return op is not None and is_complete(op)

    try:
        op = await wait_for(
            client,
            MIGRATES,
            name,
            namespace,
            until=done,
            timeout=timeout,
            what="complete",
            on_change=show,
        )
    except TimeoutError as error:
        raise TimeoutError(f"{error}: {message}" if message else str(error)) from None
    infos = ((op or {}).get("status") or {}).get("infos") or {}
    parts = (("peerBytes", "from the other cluster"), ("originBytes", "from the source"))
    moved = [f"{human_size(int(infos[field]))} {whence}" for field, whence in parts if infos.get(field)]
    moved = moved or [infos[field] for field in ("loaded",) if infos.get(field)]
    click.echo(f"DataMigrate {namespace}/{name} is complete" + (f": {', '.join(moved)}" if moved else ""))
