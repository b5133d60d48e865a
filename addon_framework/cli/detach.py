"""`fleetadm detach`: a cluster leaves the hub in order, with all that the hub has put on it."""

from __future__ import annotations

import asyncio
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import click

from addon_framework.cli.connect import NotThere, TimedOut, Where, check_hub, cluster_options, run

if TYPE_CHECKING:
    from addon_framework.kube import Client

_LINE = 240  # progress is to be read as it passes; the ManagedCluster's condition has all of it


@click.command()
@click.argument("clusters", nargs=-1, required=True, metavar="CLUSTER...")
@cluster_options
@click.option("--no-wait", is_flag=True, help="Only ask for it.")
@click.option(
    "--force", is_flag=True, help="The cluster never comes back: wait for nothing there, leave what is on it."
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=300,
    show_default=True,
    help="Seconds to wait for each.",
)
def detach(where: Where, clusters: tuple[str, ...], no_wait: bool, force: bool, timeout: float) -> None:
    """Let clusters leave the hub: add-ons and works go first, in the order of their cleanup priority.

    What still blocks it is told as it changes; the cluster's agent must run until the end, since it takes the
    works' objects away; --force is for one that is lost. Safe to repeat. An agent that goes on running
    afterwards asks to join again, and gets nothing until it is accepted. Exit code 4: there is no such
    cluster; 5: it was not gone in time.

    \b
    Example:
      fleetadm detach cluster1
    """
    run(lambda: _detach(where, list(dict.fromkeys(clusters)), no_wait, force, timeout))


async def _detach(where: Where, clusters: list[str], no_wait: bool, force: bool, timeout: float) -> None:
    async with where.client() as client:
        await check_hub(client)
        uids = [await _ask(client, name) for name in clusters]
        if force:
            for name in clusters:
                await _let_go(client, name)
        if no_wait:
            return
        leaving = zip(clusters, uids, strict=True)
        await asyncio.gather(*(_until_gone(client, name, uid, timeout) for name, uid in leaving))


async def _ask(client: Client, name: str) -> str:
    from addon_framework.api.cluster import ManagedCluster
    from addon_framework.kube import NotFound

    try:
        cluster = await client.get(ManagedCluster.RESOURCE, name)
        uid = str(cluster["metadata"]["uid"])
        await client.delete(ManagedCluster.RESOURCE, name, uid=uid)
    except NotFound:
        raise NotThere(f"there is no cluster {name} on this hub") from None
    click.echo(f"{name}: is leaving")
    return uid


async def _let_go(client: Client, name: str) -> None:
    """Deletes the cluster's add-ons and works, and takes from them the finalizers that wait for its agent."""
    from addon_framework.api.addon import ManagedClusterAddOn
    from addon_framework.api.work import ManifestWork
    from addon_framework.kube import NotFound

    for resource in (ManagedClusterAddOn.RESOURCE, ManifestWork.RESOURCE):
        for obj in (await client.list(resource, name))["items"]:
            metadata = obj["metadata"]
            body = {"metadata": {"uid": metadata["uid"], "finalizers": None}}
            try:
                await client.delete(resource, metadata["name"], name, uid=metadata["uid"])
                await client.patch(resource, metadata["name"], body, name)
            except NotFound:
                continue
            click.echo(f"{name}: gave up {resource.kind} {metadata['name']}")


async def _until_gone(client: Client, name: str, uid: str, timeout: float) -> None:
    """By uid: its agent may have asked to join again a moment later."""
    from addon_framework.api.cluster import ManagedCluster
    from addon_framework.kube import WaitTimeoutError, wait_for

    told = ""

    def tell(cluster: dict[str, Any] | None) -> None:
        nonlocal told
        if not _is_gone(cluster, uid) and (blocking := _blocking(cluster)) not in ("", told):
            told = blocking
            click.echo(f"{name}: {shorten(told, _LINE, placeholder=' ...')}")

    try:
        await wait_for(
            client,
            ManagedCluster.RESOURCE,
            name,
            until=lambda cluster: _is_gone(cluster, uid),
            timeout=timeout,
            on_change=tell,
        )
    except WaitTimeoutError as error:
        why = _blocking(error.last) or "the hub's registration controller has not said why; does it run?"
        raise TimedOut(f"{name} is not gone after {timeout:.0f} s: {why}") from None
    click.echo(f"{name}: detached")


def _is_gone(cluster: dict[str, Any] | None, uid: str) -> bool:
    return cluster is None or cluster["metadata"]["uid"] != uid


def _blocking(cluster: dict[str, Any] | None) -> str:
    from addon_framework.api.conditions import get_condition

    return str(((get_condition(cluster, "Deleting") if cluster else None) or {}).get("message", ""))
