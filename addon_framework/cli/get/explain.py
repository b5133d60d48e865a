"""`fleetadm get placement NAME -o explain`: every cluster, filter by filter and score by score."""

from __future__ import annotations

import click

from addon_framework.api.cluster import Placement
from addon_framework.cli.connect import NotThere
from addon_framework.hub.placement.explain import explain
from addon_framework.hub.placement.model import Schedule
from addon_framework.kube import Client

_GAP = "   "


async def print_explanation(client: Client, namespace: str | None, name: str) -> None:
    """What a placement decides on the hub as it is now, and why. Raises NotThere, UsageError."""
    namespace = await _only_namespace(client, namespace, name)
    found = await explain(client, namespace, name)
    schedule = found.schedule
    click.echo(f"Cluster sets: {', '.join(found.cluster_sets) or 'none is bound to the namespace'}")
    if schedule.misconfigured is not None:
        click.echo(f"Misconfigured: {schedule.misconfigured}")
    for warning in schedule.warnings:
        click.echo(f"Warning: {warning}")
    rows = lines(schedule)
    if len(rows) == 1:
        click.echo("No cluster is in these sets.")
        return
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo(_GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    if found.decided != set(schedule.selected):
        decided = ", ".join(sorted(found.decided)) or "no cluster"
        click.echo(f"The hub's present decision is another: {decided}.")
        click.echo(f"Why: kubectl get placementexplanation {name} -n {namespace} -o yaml")


async def _only_namespace(client: Client, namespace: str | None, name: str) -> str:
    """Where the placement is: as everywhere in `get`, no namespace said is all of them."""
    listed = await client.list(Placement.RESOURCE, namespace, field_selector=f"metadata.name={name}")
    places = sorted(found["metadata"]["namespace"] for found in listed["items"])
    if not places:
        raise NotThere(
            f"placements: {name} does not exist" + (f" in namespace {namespace}" if namespace else "")
        )
    if len(places) > 1:
        raise click.UsageError(f"Several namespaces have a {name}, say which by -n: {', '.join(places)}.")
    return str(places[0])


def lines(schedule: Schedule) -> list[list[str]]:
    """The heading and a line for each cluster: the chosen, those that scored less, those filtered out."""
    weights = {p.name: p.weight for p in schedule.prioritizers}
    heading = ["CLUSTER", "RANK", "TOTAL", *(f"{n.upper()} x{w}" for n, w in weights.items()), "WHY NOT"]
    rows = sorted(schedule.explain(), key=lambda row: ("filter" in row, row.get("rank") or float("inf")))
    found = [heading]
    for row in rows:
        if "filter" in row:
            blank = ["-"] * (2 + len(weights))
            found.append([row["cluster"], *blank, f"{row['filter']}: {row['reason']}"])
            continue
        scores = [str(row["scores"][name]["score"]) for name in weights]
        found.append([row["cluster"], str(row["rank"] or "-"), str(row["total"]), *scores, row["reason"]])
    return found
