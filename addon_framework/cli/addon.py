"""`fleetadm addon`: add-ons by hand, where no Placement installs them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import click

from addon_framework.cli.connect import Failure, NotThere, Where, cluster_options, run

if TYPE_CHECKING:
    from addon_framework.kube import Client

clusters_option = click.option(
    "--clusters", required=True, metavar="A,B", help="The clusters, separated by commas."
)


@click.group()
def addon() -> None:
    """Enable or disable an add-on on clusters by hand.

    \b
    Example:
      fleetadm addon enable resource-scorer --clusters cluster1,cluster2
    """


@addon.command()
@click.argument("name")
@clusters_option
@cluster_options
def enable(where: Where, name: str, clusters: str) -> None:
    """Install an add-on on clusters: a ManagedClusterAddOn in the namespace of each.

    \b
    Example:
      fleetadm addon enable resource-scorer --clusters cluster1,cluster2
    """
    _each(where, name, clusters, _enable)


@addon.command()
@click.argument("name")
@clusters_option
@cluster_options
def disable(where: Where, name: str, clusters: str) -> None:
    """Remove an add-on from clusters: deletes its ManagedClusterAddOns.

    \b
    Example:
      fleetadm addon disable resource-scorer --clusters cluster2
    """
    _each(where, name, clusters, _disable)


def _each(where: Where, name: str, clusters: str, act: Callable[[Client, str, str], Awaitable[str]]) -> None:
    wanted = list(dict.fromkeys(part.strip() for part in clusters.split(",") if part.strip()))
    if not wanted:
        raise click.BadParameter("names no cluster", param_hint="--clusters")

    async def work() -> None:
        async with where.client() as client:
            await _check_by_hand(client, name)
            for cluster in wanted:
                click.echo(f"{cluster}: {name} {await act(client, name, cluster)}")

    run(work)


async def _check_by_hand(client: Client, name: str) -> None:
    from addon_framework.api.addon import ClusterManagementAddOn
    from addon_framework.cli.connect import is_kind_missing
    from addon_framework.kube import NotFound

    try:
        found = await client.get(ClusterManagementAddOn.RESOURCE, name)
    except NotFound as error:
        if is_kind_missing(error):
            raise
        raise NotThere(f"the hub knows no add-on {name}: apply its ClusterManagementAddOn first") from None
    strategy: Any = (found.get("spec") or {}).get("installStrategy") or {}
    if strategy.get("type") == "Placements":
        places = ", ".join(f"{p['namespace']}/{p['name']}" for p in strategy.get("placements") or [])
        raise Failure(f"add-on {name} is installed where a Placement says: change {places} instead")


async def _enable(client: Client, name: str, cluster: str) -> str:
    from addon_framework.api.addon import ManagedClusterAddOn
    from addon_framework.kube import AlreadyExists, NotFound

    resource = ManagedClusterAddOn.RESOURCE
    metadata = {"name": name, "namespace": cluster}
    obj = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, "spec": {}}
    try:
        await client.create(resource, obj)
    except AlreadyExists:
        return "was enabled already"
    except NotFound:
        raise NotThere(f"cluster {cluster} has no namespace on the hub: is it accepted?") from None
    return "enabled"


async def _disable(client: Client, name: str, cluster: str) -> str:
    from addon_framework.api.addon import ManagedClusterAddOn
    from addon_framework.kube import NotFound

    try:
        await client.delete(ManagedClusterAddOn.RESOURCE, name, cluster)
    except NotFound:
        return "was not enabled"
    return "disabled"
