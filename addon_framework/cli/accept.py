"""`fleetadm accept`: the hub's half of the double opt-in."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from addon_framework.cli.connect import NotThere, TimedOut, Where, check_hub, cluster_options, run

if TYPE_CHECKING:
    from addon_framework.kube import Client


@click.command()
@click.argument("clusters", nargs=-1, required=True, metavar="CLUSTER...")
@cluster_options
@click.option("--wait", is_flag=True, help="Wait for each to ask, and then until it is joined and available.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=120,
    show_default=True,
    help="Seconds to --wait.",
)
@click.option(
    "--requester",
    "requesters",
    multiple=True,
    metavar="USER",
    help="Also trust certificate requests of this user; may be repeated.",
)
def accept(
    where: Where, clusters: tuple[str, ...], wait: bool, timeout: float, requesters: tuple[str, ...]
) -> None:
    """Let clusters that ask to join into the hub.

    Approves their certificate requests, if they come from the hub's bootstrap account or from the cluster
    itself, and sets hubAcceptsClient; both, or neither where a certificate was not asked for yet. Safe to
    repeat. Exit code 4: a cluster has not asked; 5: with --wait, it did not ask, or was not available, in
    time.

    \b
    Example:
      fleetadm accept cluster1 cluster2 --wait
    """
    run(lambda: _accept(where, list(dict.fromkeys(clusters)), wait, timeout, requesters))


async def _accept(
    where: Where, clusters: Sequence[str], wait: bool, timeout: float, requesters: Sequence[str]
) -> None:
    from addon_framework.hub.install import CannotAccept, accept, accept_when_asked

    async with where.client() as client:
        await check_hub(client)
        if wait:
            deadline = asyncio.get_running_loop().time() + timeout
            try:
                changed = await accept_when_asked(client, clusters, timeout=timeout, requesters=requesters)
            except CannotAccept as error:
                raise TimedOut(str(error)) from None
        else:
            try:
                changed = await accept(client, clusters, requesters=requesters)
            except CannotAccept as error:
                raise NotThere(str(error)) from None
        for name in clusters:
            click.echo(f"{name}: {'accepted' if name in changed else 'was accepted already'}")
        if wait:
            await asyncio.gather(*(_report_joined(client, name, deadline) for name in clusters))


async def until_joined(client: Client, name: str, timeout: float) -> None:
    """Returns when a cluster is joined and available. Raises TimeoutError."""
    from addon_framework.api.cluster import ManagedCluster
    from addon_framework.api.conditions import is_true
    from addon_framework.api.names import CONDITION_AVAILABLE
    from addon_framework.kube import wait_for

    await wait_for(
        client,
        ManagedCluster.RESOURCE,
        name,
        until=lambda obj: (
            obj is not None
            and all(is_true(obj, kind) for kind in ("ManagedClusterJoined", CONDITION_AVAILABLE))
        ),
        timeout=timeout,
        what="joined and available",
    )


async def _report_joined(client: Client, name: str, deadline: float) -> None:
    await until_joined(client, name, max(0.1, deadline - asyncio.get_running_loop().time()))
    click.echo(f"{name}: joined and available")
