"""`fleetadm agent`: the process that runs on, or for, a spoke."""

from __future__ import annotations

import json
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

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
    help="Of the hub, with the right to ask to join: fleetadm hub bootstrap-kubeconfig.",
)
@click.option("--hub-server", metavar="URL", help="In place of a kubeconfig: where the hub is,")
@click.option("--hub-token-file", type=_FILE, help="a token with the right to ask to join,")
@click.option("--hub-ca-file", type=_FILE, help="and who vouches for the hub. [the system's authorities]")
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
    hub_kubeconfig: Path | None,
    hub_server: str | None,
    hub_token_file: Path | None,
    hub_ca_file: Path | None,
    spoke_kubeconfig: Path,
    hosting_kubeconfig: Path | None,
    cluster_name: str,
    addon_auth: str,
    controllers: str | None,
    verbosity: str,
) -> None:
    """Join a cluster to a hub, apply what the hub sends it, until SIGTERM or SIGINT.

    The token may be one of the account in bootstrap kubeconfigs (kubectl create token cluster-bootstrap
    --namespace open-cluster-management), or a bootstrap token of Kubernetes with the group
    system:bootstrappers:managedcluster.

    \b
    Example:
      fleetadm agent run --hub-kubeconfig bootstrap.kubeconfig --spoke-kubeconfig ~/.kube/config \\
        --cluster-name cluster1
      fleetadm agent run --hub-server https://hub.example.com:6443 --hub-token-file token \\
        --hub-ca-file ca.crt --spoke-kubeconfig ~/.kube/config --cluster-name cluster1
    """
    chosen = names(controllers)
    if (hub_kubeconfig is None) == (hub_server is None) or (hub_server is None) != (hub_token_file is None):
        raise click.UsageError("give --hub-kubeconfig, or --hub-server with --hub-token-file")

    async def work() -> None:
        from addon_framework.spoke.run import CONTROLLERS, run_agent

        if unknown := [name for name in chosen or [] if name not in CONTROLLERS]:
            known = ", ".join(CONTROLLERS)
            raise click.BadParameter(
                f"unknown: {', '.join(unknown)}; known are {known}", param_hint="--controllers"
            )
        with ExitStack() as stack:
            if hub_kubeconfig is not None:
                bootstrap = hub_kubeconfig
            else:
                directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="fleetadm-"))
                bootstrap = Path(directory, "bootstrap.kubeconfig")
                assert hub_server is not None
                assert hub_token_file is not None
                bootstrap.write_text(json.dumps(_by_token(hub_server, hub_token_file, hub_ca_file)))
            await run_agent(
                hub_kubeconfig=bootstrap,
                spoke_kubeconfig=spoke_kubeconfig,
                cluster_name=cluster_name,
                controllers=chosen,
                hosting_kubeconfig=hosting_kubeconfig,
                addon_auth=addon_auth,
            )

    run(work, verbosity=verbosity, serves=True)


def _by_token(server: str, token: Path, ca: Path | None) -> dict[str, Any]:
    """A kubeconfig that names the files, so that a token may be replaced; it holds no secret itself."""
    cluster = {"server": server}
    if ca is not None:
        cluster["certificate-authority"] = str(ca.resolve())
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "hub", "cluster": cluster}],
        "users": [{"name": "bootstrap", "user": {"tokenFile": str(token.resolve())}}],
        "contexts": [{"name": "bootstrap", "context": {"cluster": "hub", "user": "bootstrap"}}],
        "current-context": "bootstrap",
    }
