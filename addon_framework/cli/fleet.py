"""`fleetadm up`, `down` and `delete`: the embedded fleet."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from addon_framework.cli.connect import directory_option, errors_for_people, run

if TYPE_CHECKING:
    from addon_framework.kube import Client
    from addon_framework.local.fleet import Fleet, FleetOptions, FleetState

DEFAULT_LINK = "1gbit"
DEFAULT_SPOKES = 2
JOIN_TIMEOUT = 60.0


@click.command()
@directory_option
@click.option(
    "--spokes", type=click.IntRange(1), help=f"How many spokes. [those that are there, else {DEFAULT_SPOKES}]"
)
@click.option("--gpus", default="4,1", show_default=True, help="GPUs each spoke's node declares, in order.")
@click.option("--regions", help="The spokes' regions, in order, separated by commas.")
@click.option(
    "--link",
    default=None,
    help=f"Rate of each spoke's link, such as 500mbit; or none. [{DEFAULT_LINK} as root]",
)
@click.option("--accept/--no-accept", default=True, show_default=True, help="Accept the spokes into the hub.")
@click.option(
    "-o", "--output", type=click.Choice(["text", "json", "yaml"]), default="text", help="What to print."
)
def up(
    directory: Path,
    spokes: int | None,
    gpus: str,
    regions: str | None,
    link: str | None,
    accept: bool,
    output: str,
) -> None:
    """Bring up a hub and spokes on this machine, as processes: no Docker, no cluster.

    Safe to repeat: what is missing is started. An S3 server comes with it: store.env beside the kubeconfig
    has its address and keys for S3 clients, the Secret default/object-store on the hub for Datasets.

    \b
    Example:
      fleetadm up --spokes 2 --gpus 4,1
      kubectl --kubeconfig ~/.boundaryless/kubeconfig --context hub get managedclusters
      . ~/.boundaryless/store.env && s5cmd mb s3://models && s5cmd cp DIRECTORY/ s3://models/llama/
    """
    with errors_for_people():
        wanted = spokes or _spokes_of(directory) or DEFAULT_SPOKES
    options = fleet_options(wanted, gpus, regions, link)
    state = run(lambda: bring_up(directory, options, accept=accept, say=progress))
    endpoints = {
        "kubeconfig": str(directory.resolve() / "kubeconfig"),
        "contexts": ["hub", *(cluster.name for cluster in state.clusters)],
        "store": state.store_endpoint,
        "storeKeys": str(directory.resolve() / "store.env"),
        "gateway": f"http://{state.hub_address}:{state.gateway_port}",
    }
    if output != "text":
        import yaml

        said = (
            json.dumps(endpoints, indent=2)
            if output == "json"
            else yaml.safe_dump(endpoints, sort_keys=False)
        )
        click.echo(said.rstrip())
        return
    click.echo(f"export KUBECONFIG={shlex.quote(str(endpoints['kubeconfig']))}")


@click.command()
@directory_option
def down(directory: Path) -> None:
    """Stop the fleet's processes and remove its network; its data stays for the next `up`.

    \b
    Example:
      fleetadm down
    """
    with errors_for_people():
        there = _is_there(directory)
        _fleet(directory).stop()
    progress(f"The fleet in {directory} is down." if there else f"There is no fleet in {directory}.")


@click.command()
@directory_option
def delete(directory: Path) -> None:
    """Stop the fleet and remove all its data.

    \b
    Example:
      fleetadm delete --dir ~/.boundaryless
    """
    with errors_for_people():
        there = _is_there(directory)
        _fleet(directory).delete()
    progress(f"The fleet in {directory} is gone." if there else f"There is no fleet in {directory}.")


def fleet_options(spokes: int, gpus: str, regions: str | None, link: str | None) -> FleetOptions:
    """What the options mean. Without root there are no network namespaces and no shaped link."""
    from addon_framework.local.fleet import FleetOptions
    from addon_framework.local.fleet.network import valid_rate

    try:
        counts = [int(count) for count in gpus.split(",") if count]
    except ValueError:
        raise click.BadParameter(
            f"{gpus!r} is not numbers separated by commas", param_hint="--gpus"
        ) from None
    if link is not None and not valid_rate(link):
        raise click.BadParameter(
            f"{link!r} is not a rate such as 1gbit or 500mbit, nor none", param_hint="--link"
        )
    isolated = os.geteuid() == 0
    if not isolated and link not in (None, "none"):
        progress(f"The link is not shaped to {link}: that needs root.")
    more: dict[str, Any] = {"regions": regions.split(",")} if regions else {}
    rate = link or (DEFAULT_LINK if isolated else "none")
    return FleetOptions(spokes=spokes, gpus=counts, link=rate, isolated=isolated, **more)


async def bring_up(
    directory: Path, options: FleetOptions, *, accept: bool, say: Callable[[str], None]
) -> FleetState:
    """The fleet with hub manager, gateway and agents; with `accept`, every spoke is joined at the end."""
    import yaml

    from addon_framework.hub.install import bootstrap_kubeconfig, install
    from addon_framework.kube import until_reached
    from addon_framework.local.fleet import Fleet, processes, programs
    from addon_framework.local.private import write_private

    programs.require(["envoy"])
    fleet = Fleet(directory)
    state = await fleet.start(options, say)
    async with fleet.client("hub") as hub:
        await until_reached(lambda: install(hub), timeout=JOIN_TIMEOUT)
        bootstrap = await until_reached(lambda: bootstrap_kubeconfig(hub), timeout=JOIN_TIMEOUT)
        write_private(fleet.layout.bootstrap(), yaml.safe_dump(bootstrap).encode())
        agents = [processes.agent(fleet.layout, state, cluster) for cluster in state.clusters]
        manager, gateway = processes.hub_manager(fleet.layout), processes.gateway(fleet.layout, state)
        await asyncio.to_thread(fleet.add, [manager, gateway, *agents])
        if accept:
            with blaming(fleet):
                await join(hub, [cluster.name for cluster in state.clusters], say)
    return state


async def join(hub: Client, clusters: Sequence[str], say: Callable[[str], None]) -> None:
    """Accepts clusters as they ask to join, and returns when all are joined and available."""
    from addon_framework.cli.accept import until_joined
    from addon_framework.hub.install import accept_when_asked
    from addon_framework.kube import until_reached

    await until_reached(lambda: accept_when_asked(hub, clusters, timeout=JOIN_TIMEOUT), timeout=JOIN_TIMEOUT)
    await asyncio.gather(*(until_joined(hub, name, JOIN_TIMEOUT) for name in clusters))
    say(f"{', '.join(clusters)} joined the hub, available")


@contextmanager
def blaming(fleet: Fleet) -> Iterator[None]:
    """What takes too long while a process of the fleet does not stay up is that process's fault."""
    from addon_framework.hub.install import CannotAccept
    from addon_framework.local.fleet import FleetError

    try:
        yield
    except (TimeoutError, CannotAccept) as error:
        if unsteady := fleet.unsteady():
            raise FleetError("\n".join([str(error), *unsteady])) from None
        raise


def progress(text: str) -> None:
    """For people, on stderr, so that stdout stays what was asked for."""
    click.echo(text, err=True)
    sys.stderr.flush()


def _fleet(directory: Path) -> Fleet:
    from addon_framework.local.fleet import Fleet

    return Fleet(directory)


def _spokes_of(directory: Path) -> int:
    state = _fleet(directory).layout.load()
    return len(state.clusters) if state is not None else 0


def _is_there(directory: Path) -> bool:
    return _fleet(directory).layout.state.exists()
