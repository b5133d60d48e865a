"""`fleetadm hub`: what makes a cluster a hub, and the process that runs it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import click

from addon_framework.cli.connect import Failure, Where, check_hub, cluster_options, run

_VERBOSITY = click.Choice(["debug", "info", "warning", "error"])
verbosity_option = click.option(
    "--log-level", "verbosity", type=_VERBOSITY, default="info", show_default=True, help="What to log."
)


def names(text: str | None) -> list[str] | None:
    """What a list separated by commas says; None when it was not given."""
    if text is None:
        return None
    found = [name.strip() for name in text.split(",") if name.strip()]
    if not found:
        raise click.BadParameter("names no controller", param_hint="--controllers")
    return found


def _address(_c: click.Context, _p: click.Parameter, text: str | None) -> tuple[str, int] | None:
    if text is None:
        return None
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise click.BadParameter(f"{text} is not HOST:PORT")
    return host.strip("[]"), int(port)


def _check_port(port: int) -> None:
    import socket

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            raise Failure(f"cannot listen for conversions on port {port}: {error.strerror}") from None


@click.group()
def hub() -> None:
    """Make a cluster a hub, run the hub manager.

    \b
    Example:
      fleetadm hub install --kubeconfig hub.kubeconfig
      fleetadm hub run --kubeconfig hub.kubeconfig
    """


@hub.command("run")
@cluster_options
@click.option(
    "--controllers",
    metavar="A,B",
    help="Only these of registration, placement, work, addons. [those that OCM does not run on this hub]",
)
@click.option(
    "--auto-approve-user",
    "auto_approve_users",
    multiple=True,
    metavar="USER",
    help="Clusters that this user asks for join without a person; may be repeated. [none]",
)
@click.option(
    "--strict-ocm", is_flag=True, help="Placements are decided exactly as OCM's own controller decides."
)
@click.option("--elect", is_flag=True, help="Work only while holding a Lease: for several at a time.")
@click.option(
    "--health-port", type=click.IntRange(1, 65535), help="Serve /healthz, /readyz, /metrics on 127.0.0.1."
)
@click.option(
    "--conversion-address",
    metavar="HOST:PORT",
    callback=_address,
    help="Where the API server reaches us, to convert add-ons between v1alpha1 and v1beta1. [not served]",
)
@verbosity_option
def run_command(
    where: Where,
    controllers: str | None,
    auto_approve_users: tuple[str, ...],
    strict_ocm: bool,
    elect: bool,
    health_port: int | None,
    conversion_address: tuple[str, int] | None,
    verbosity: str,
) -> None:
    """Run the hub's controllers and those of the plug-ins, until SIGTERM or SIGINT.

    By default it looks what OCM runs on this hub already, by its Deployments and by the Leases that its
    processes hold in the namespace open-cluster-management-hub, and adds what is missing; the log's first
    line says what was chosen and why. Add-ons of plug-ins always run; where OCM's add-on manager is, install
    strategies and configs are left to it. With --controllers nothing is looked for: name OCM's missing parts
    where its processes run without leader election, since those cannot be seen.

    A cluster joins when a person accepts it (fleetadm accept). With --auto-approve-user both halves are done
    by themselves, the certificate and hubAcceptsClient, for whom that user's credentials ask; once: a cluster
    that a person denies later stays denied. The user in bootstrap kubeconfigs is
    system:serviceaccount:open-cluster-management:cluster-bootstrap.

    OCM's hub and the embedded one serve add-ons as v1alpha1 and v1beta1; on another cluster v1beta1 is served
    with --conversion-address, as long as this runs. Our own controllers need one of them, whichever.

    \b
    Example:
      fleetadm hub run --kubeconfig hub.kubeconfig --controllers placement,addons --elect
      fleetadm hub run --kubeconfig hub.kubeconfig \\
        --auto-approve-user system:serviceaccount:open-cluster-management:cluster-bootstrap
    """
    options: dict[str, Any] = {
        "auto_approve_users": auto_approve_users,
        "strict_ocm": strict_ocm,
        "elect": elect,
        "health_port": health_port,
        "conversion": conversion_address,
    }
    chosen = names(controllers)
    run(lambda: _serve(where, chosen, options), verbosity=verbosity, serves=True)


async def _serve(where: Where, chosen: list[str] | None, options: dict[str, Any]) -> None:
    """The hub manager; `options` are those of run_hub."""
    from addon_framework.hub.run import UnknownController, run_hub, select
    from addon_framework.kube import Unreachable

    try:
        select(chosen)
    except UnknownController as error:
        raise click.BadParameter(str(error), param_hint="--controllers") from None
    if options["conversion"] is not None:
        _check_port(options["conversion"][1])
    async with where.client() as client:
        try:
            await check_hub(client)
        except Unreachable:
            pass  # it may be starting, as we are
        try:
            await run_hub(client, chosen, **options)
        except OSError as error:
            if options["health_port"] is None:
                raise
            raise Failure(f"cannot serve health on port {options['health_port']}: {error.strerror}") from None


@hub.command()
@cluster_options
def install(where: Where) -> None:
    """Make a cluster a hub: CRDs, namespaces, roles, the account with which clusters ask to join.

    Safe to repeat, and what brings a hub up to the version of this program.

    \b
    Example:
      fleetadm hub install --kubeconfig ~/.kube/config --context my-hub
    """

    async def work() -> str:
        from addon_framework.hub.install import install

        async with where.client() as client:
            await install(client)
            return client.server

    click.echo(f"{run(work)} is a hub.")


@hub.command("bootstrap-kubeconfig")
@cluster_options
@click.option("--server", metavar="URL", help="Where spokes reach the hub. [as in the kubeconfig]")
@click.option(
    "--hours", type=click.FloatRange(min=1), default=24, show_default=True, help="How long it is valid."
)
def bootstrap(where: Where, server: str | None, hours: float) -> None:
    """Print a kubeconfig with which clusters may ask to join this hub, and do nothing else.

    \b
    Example:
      fleetadm hub bootstrap-kubeconfig > bootstrap.kubeconfig
    """

    async def work() -> object:
        from addon_framework.hub.install import bootstrap_kubeconfig

        async with where.client() as client:
            return await bootstrap_kubeconfig(client, server, lifetime=timedelta(hours=hours))

    config = run(work)
    import yaml

    click.echo(yaml.safe_dump(config, sort_keys=False), nl=False)
