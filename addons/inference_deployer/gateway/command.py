"""`fleetadm gateway`."""

from __future__ import annotations

from pathlib import Path

import click

from addon_framework.cli.connect import Failure, Where, cluster_options
from addon_framework.cli.connect import run as run_command


@click.group()
def gateway() -> None:
    """One OpenAI endpoint for all models.

    \b
    Example:
      fleetadm gateway run --kubeconfig hub.kubeconfig
    """


@gateway.command()
@cluster_options
@click.option("--address", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(1, 65535), help="On which port.")
@click.option("--url", default="", help="What clients call it by. [http://ADDRESS:PORT]")
@click.option(
    "--files",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where Envoy's files are kept: what they say is served until the hub answers. [nowhere]",
)
def run(where: Where, address: str, port: int, url: str, files: Path | None) -> None:
    """Run Envoy, configured from the hub's InferenceDeployments, until SIGTERM or SIGINT.

    \b
    Example:
      fleetadm gateway run --kubeconfig hub.kubeconfig --address 0.0.0.0 --port 8080
    """
    # Imported here, because fleetadm --help loads this module to list the command.
    import tempfile
    from contextlib import ExitStack

    from addons.inference_deployer.gateway.envoy import GatewayError
    from addons.inference_deployer.gateway.run import run_gateway

    async def work(directory: Path) -> None:
        async with where.client() as client:
            await run_gateway(client, directory, address, port, url=url)

    with ExitStack() as stack:
        if files is None:
            files = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="boundaryless-gateway-")))
        files.mkdir(parents=True, exist_ok=True)
        directory = files.resolve()
        try:
            run_command(lambda: work(directory), verbosity="info", serves=True)
        except GatewayError as error:
            raise Failure(str(error)) from error
