"""`fleetadm addon`: add-ons by hand, where no Placement installs them, and classes as templates."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
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
    """Enable or disable an add-on on clusters by hand; render one for hubs without this program.

    \b
    Example:
      fleetadm addon enable resource-scorer --clusters cluster1,cluster2
      fleetadm addon render resource-scorer | kubectl apply -f -
    """


@addon.command()
@click.argument("name")
@clusters_option
@cluster_options
def enable(where: Where, name: str, clusters: str) -> None:
    """Install an add-on on clusters: a ManagedClusterAddOn in the namespace of each.

    One that the hub does not know, but that is a plug-in here (fleetadm plugins list), is made known to it
    first: by a ClusterManagementAddOn, which stays when the add-on is disabled. The hub manager needs that
    plug-in, too.

    \b
    Example:
      fleetadm addon enable resource-scorer --clusters cluster1,cluster2
    """
    _each(where, name, clusters, _enable, _make_known)


@addon.command()
@click.argument("name")
@clusters_option
@cluster_options
def disable(where: Where, name: str, clusters: str) -> None:
    """Remove an add-on from clusters: deletes its ManagedClusterAddOns. The hub knows it still.

    \b
    Example:
      fleetadm addon disable resource-scorer --clusters cluster2
    """
    _each(where, name, clusters, _disable, _refuse)


@addon.command()
@click.argument("name")
@click.option(
    "--variable",
    "variables",
    multiple=True,
    metavar="NAME=DEFAULT",
    help="A variable of the manifests, with its default; those that the class asks for as text are found.",
)
@click.option(
    "--placement", "placements", multiple=True, metavar="NAMESPACE/NAME", help="Install there. [by hand]"
)
@click.option(
    "--namespace",
    default="open-cluster-management-hub",
    show_default=True,
    help="Where on the hub the defaults are kept, in an AddOnDeploymentConfig.",
)
@click.option("-o", "--output", type=click.Choice(["yaml", "json"]), default="yaml", help="The form.")
def render(
    name: str, variables: tuple[str, ...], placements: tuple[str, ...], namespace: str, output: str
) -> None:
    """Print an installed add-on as objects that any OCM hub runs without this program.

    A ClusterManagementAddOn, an AddOnTemplate, an AddOnDeploymentConfig with the defaults, and roles. What
    needs code on the hub cannot be rendered, and is named; what changes is said on standard error.

    \b
    Example:
      fleetadm addon render resource-scorer | kubectl apply -f -
      fleetadm addon render hello-addon --placement default/all --variable text=hello -o json
    """
    from addon_framework.hub.addons.render import CannotRender, render_addon
    from addon_framework.plugins import PluginError, PluginMissing, discover

    where = [_split(each, "/", "--placement", "NAMESPACE/NAME") for each in placements]
    given = dict(_split(each, "=", "--variable", "NAME=DEFAULT") for each in variables)
    try:
        rendered = render_addon(
            discover().require(name), variables=given, namespace=namespace, placements=where
        )
    except PluginMissing as error:
        raise NotThere(str(error)) from None
    except (CannotRender, PluginError) as error:
        raise Failure(str(error)) from None
    for note in rendered.notes:
        click.echo(f"note: {note}", err=True)
    click.echo(_shown(rendered.objects, output), nl=False)


def _split(text: str, mark: str, option: str, form: str) -> tuple[str, str]:
    first, found, second = text.partition(mark)
    if not first or not found or (mark == "/" and not second):
        raise click.BadParameter(f"{text} is not {form}", param_hint=option)
    return first, second


def _shown(objects: list[dict[str, Any]], output: str) -> str:
    import json

    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}, indent=2)
    if output == "json":
        return f"{text}\n"
    import yaml

    # What objects share is written out for each.
    return yaml.safe_dump_all(json.loads(text)["items"], sort_keys=False)


def _each(
    where: Where,
    name: str,
    clusters: str,
    act: Callable[[Client, str, str], Awaitable[str]],
    unknown: Callable[[Client, str], Awaitable[None]],
) -> None:
    """`unknown` is called first when the hub has no ClusterManagementAddOn of that name."""
    wanted = list(dict.fromkeys(part.strip() for part in clusters.split(",") if part.strip()))
    if not wanted:
        raise click.BadParameter("names no cluster", param_hint="--clusters")

    async def work() -> None:
        async with where.client() as client:
            if not await _is_by_hand(client, name):
                await unknown(client, name)
            for cluster in wanted:
                click.echo(f"{cluster}: {name} {await act(client, name, cluster)}")

    run(work)


async def _is_by_hand(client: Client, name: str) -> bool:
    """Whether the hub knows the add-on. Raises Failure where Placements install it."""
    from addon_framework.api.addon import ClusterManagementAddOn
    from addon_framework.cli.connect import is_kind_missing
    from addon_framework.kube import NotFound

    try:
        found = await client.get(ClusterManagementAddOn.RESOURCE, name)
    except NotFound as error:
        if is_kind_missing(error):
            raise
        return False
    strategy: Any = (found.get("spec") or {}).get("installStrategy") or {}
    if strategy.get("type") == "Placements":
        places = ", ".join(f"{p['namespace']}/{p['name']}" for p in strategy.get("placements") or [])
        raise Failure(f"add-on {name} is installed where a Placement says: change {places} instead")
    return True


async def _make_known(client: Client, name: str) -> None:
    """The ClusterManagementAddOn of a plug-in. Raises NotThere, or Failure with what is wrong with it."""
    from addon_framework.api.addon import ClusterManagementAddOn
    from addon_framework.hub.addons.management import management
    from addon_framework.kube import AlreadyExists
    from addon_framework.plugins import PluginError, discover

    plugin = discover().get(name)
    if plugin is None:
        await _refuse(client, name)
        return
    try:
        if not plugin.implements("addon_manifests"):
            raise Failure(f'plug-in "{name}" from {plugin.origin} installs nothing on clusters')
        obj = management(plugin.describe())
    except PluginError as error:
        raise Failure(str(error)) from None
    with suppress(AlreadyExists):
        await client.create(ClusterManagementAddOn.RESOURCE, obj)
    click.echo(f"note: made ClusterManagementAddOn {name} from the plug-in of {plugin.origin}", err=True)


async def _refuse(client: Client, name: str) -> None:
    """Raises NotThere with what there is."""
    from addon_framework.api.addon import ClusterManagementAddOn
    from addon_framework.plugins import discover

    listed = await client.list(ClusterManagementAddOn.RESOURCE)
    known = ", ".join(sorted(each["metadata"]["name"] for each in listed["items"])) or "none"
    here = ", ".join(plugin.name for plugin in discover()) or "none"
    raise NotThere(
        f"the hub knows no add-on {name}: it has no ClusterManagementAddOn {name}\n"
        f"ClusterManagementAddOns on the hub: {known}\nPlug-ins here (fleetadm plugins list): {here}"
    )


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
