"""`fleetadm agent`: the process that runs on, or for, a spoke."""

from __future__ import annotations

from pathlib import Path

import click

from addon_framework.cli.connect import run
from addon_framework.cli.hub import names, verbosity_option

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def agent() -> None:
    """Run a spoke's agent.

    \b
    Example:
      fleetadm agent run --hub-kubeconfig bootstrap.kubeconfig --spoke-kubeconfig ~/.kube/config \\
        --cluster-name cluster1
    """


@agent.command("run")
@click.option(
    "--hub-kubeconfig",
    type=_FILE,
    required=True,
    help="Of the hub, with the right to ask to join: fleetadm hub bootstrap-kubeconfig.",
)
@click.option("--spoke-kubeconfig", type=_FILE, required=True, help="Of the cluster that is to join.")
@click.option(
    "--hosting-kubeconfig",
    type=_FILE,
    help="Hosted mode: of the cluster that the agent runs on, and keeps its identity on.",
)
@click.option("--cluster-name", required=True, help="What the cluster is called on the hub.")
@click.option(
    "--addon-auth",
    type=click.Choice(["csr", "token"]),
    default="csr",
    show_default=True,
    help="By what add-ons' agents get their identity on the hub: certificates, or service account tokens.",
)
@click.option("--controllers", metavar="A,B", help="Only these of registration, work. [all]")
@verbosity_option
def run_command(
    hub_kubeconfig: Path,
    spoke_kubeconfig: Path,
    hosting_kubeconfig: Path | None,
    cluster_name: str,
    addon_auth: str,
    controllers: str | None,
    verbosity: str,
) -> None:
    """Join a cluster to a hub, apply what the hub sends it, until SIGTERM or SIGINT.

    \b
    Example:
      fleetadm agent run --hub-kubeconfig bootstrap.kubeconfig --spoke-kubeconfig ~/.kube/config \\
        --cluster-name cluster1
    """
    chosen = names(controllers)

    async def work() -> None:
        from addon_framework.spoke.run import CONTROLLERS, run_agent

        if unknown := [name for name in chosen or [] if name not in CONTROLLERS]:
            known = ", ".join(CONTROLLERS)
            raise click.BadParameter(
                f"unknown: {', '.join(unknown)}; known are {known}", param_hint="--controllers"
            )
        await run_agent(
            hub_kubeconfig=hub_kubeconfig,
            spoke_kubeconfig=spoke_kubeconfig,
            cluster_name=cluster_name,
            controllers=chosen,
            hosting_kubeconfig=hosting_kubeconfig,
            addon_auth=addon_auth,
        )

    run(work, verbosity=verbosity)
