"""What `fleetadm dataset list` and `get` show."""

from __future__ import annotations

import click

from addon_framework.api.data import Dataset
from addon_framework.api.meta import Json
from addon_framework.cli.connect import Where, is_kind_missing
from addon_framework.cli.get.printer import print_document
from addon_framework.kube import NotFound
from addons.cache_runtime.agent.names import DATASETS
from addons.cache_runtime.agent.sizes import human_size
from addons.cache_runtime.cli.asking import dataset_there, message, no_kind
from addons.cache_runtime.hub.names import placement_of
from addons.cache_runtime.hub.progress import told

_SHORT = 60  # characters of a message where there is no -o wide


async def show_all(where: Where, namespace: str | None, output: str) -> None:
    """A line for each of the hub's Datasets that goes to clusters."""
    async with where.client() as client:
        try:
            listed = (await client.list(DATASETS, namespace))["items"]
        except NotFound as error:
            raise (no_kind() if is_kind_missing(error) else error) from None
    found = [obj for obj in listed if placement_of(obj)]
    if output in ("json", "yaml"):
        print_document({"apiVersion": "v1", "kind": "List", "items": [_whole(obj) for obj in found]}, output)
        return
    if not found:
        click.echo("No datasets.", err=True)
        return
    wide = output == "wide"
    more = ["SOURCE", "CLUSTERS", "FROM ORIGIN"] if wide else []
    headings = ["NAMESPACE", "NAME", "PLACEMENT", "PHASE", "BOUND", "SIZE", "CACHED %", "LOADING"]
    headings += [*more, "MESSAGE"]
    _table([headings, *(_row(obj, wide) for obj in found)])


def _row(dataset: Json, wide: bool) -> list[str]:
    metadata, status = dataset["metadata"], dataset.get("status") or {}
    clusters = status.get("clusters") or []
    bound = sum(entry["phase"] == "Bound" for entry in clusters)
    row = [
        *(metadata["namespace"], metadata["name"], placement_of(dataset), status.get("phase", "")),
        *(f"{bound}/{len(clusters)}", status.get("ufsTotal", "")),
        (status.get("cacheStates") or {}).get("cachedPercentage", ""),
        _loading(status, [str(entry.get("loadPhase", "")) for entry in clusters]),
    ]
    if not wide:
        text = message(dataset)
        return [*row, text if len(text) <= _SHORT else f"{text[: _SHORT - 3]}..."]
    sources = [str(mount.get("mountPoint", "")) for mount in dataset["spec"].get("mounts") or []]
    origin = [entry["originBytes"] for entry in clusters if "originBytes" in entry]
    named = ",".join(entry["name"] for entry in clusters)
    return [*row, ",".join(sources), named, _size(sum(origin) if origin else None), message(dataset)]


async def show(where: Where, namespace: str, name: str, output: str) -> None:
    """A line for each cluster."""
    async with where.client() as client:
        dataset = await dataset_there(client, namespace, name)
    if output in ("json", "yaml"):
        print_document(_whole(dataset), output)
        return
    status = dataset.get("status") or {}
    click.echo(f"{namespace}/{name}: {status.get('phase', 'Pending')}; {message(dataset)}")
    wide = ["FROM ORIGIN", "UPDATED"] if output == "wide" else []
    rows = [["CLUSTER", "PHASE", "CACHED", "CACHED %", "LOAD", "LOADING", *wide, "MESSAGE"]]
    for entry in status.get("clusters") or []:
        more = [_size(entry.get("originBytes")), entry.get("lastUpdateTime", "")] if wide else []
        rows.append(
            [
                *(entry["name"], entry["phase"], _size(entry.get("cachedBytes"))),
                *(entry.get("cachedPercentage", ""), entry.get("loadPhase", "")),
                _loading(entry, [str(entry.get("loadPhase", ""))]),
                *(*more, entry.get("message", "")),
            ]
        )
    if len(rows) > 1:
        _table(rows)


def _loading(status: Json, phases: list[str]) -> str:
    """How far it is, while a load runs."""
    return told(status.get("progress") or {}) if "Executing" in phases else ""


def _whole(obj: Json) -> Json:
    metadata = {name: value for name, value in obj["metadata"].items() if name != "managedFields"}
    resource = Dataset.RESOURCE
    return {"apiVersion": resource.api_version, "kind": resource.kind, **obj, "metadata": metadata}


def _size(size: int | None) -> str:
    return "" if size is None else human_size(size)


def _table(rows: list[list[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("   ".join((cell or "-").ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip())
