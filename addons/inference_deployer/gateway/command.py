"""`fleetadm gateway`."""

from __future__ import annotations

from pathlib import Path

import click


@click.group()
def gateway() -> None:
    """One OpenAI endpoint for all models."""


@gateway.command()
@click.option("--kubeconfig", type=click.Path(path_type=Path), help="The hub's kubeconfig.")
@click.option("--context", help="The context in it; default: the current one.")
@click.option("--address", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(1, 65535))
@click.option("--url", default="", help="What clients call it by; default: http://ADDRESS:PORT.")
@click.option("--dir", "directory", type=click.Path(path_type=Path), help="Keep Envoy's files there.")
def run(
    kubeconfig: Path | None, context: str | None, address: str, port: int, url: str, directory: Path | None
) -> None:
    """Run Envoy, configured from the hub's InferenceDeployments.

    \b
    Example:
      fleetadm gateway run --kubeconfig hub.kubeconfig --address 0.0.0.0 --port 8080
    """
    # Imported here, because fleetadm --help loads this module to list the command.
    import asyncio
    import tempfile
    from contextlib import ExitStack

    from addon_framework.kube import Client, ConfigError
    from addon_framework.logs import configure
    from addons.inference_deployer.gateway.envoy import GatewayError
    from addons.inference_deployer.gateway.run import run_gateway

    async def work(place: Path) -> None:
        async with Client.from_kubeconfig(kubeconfig, context) as client:
            await run_gateway(client, place, address, port, url=url)

    configure()
    with ExitStack() as stack:
        if directory is None:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="boundaryless-gateway-")))
        directory.mkdir(parents=True, exist_ok=True)
        try:
            asyncio.run(work(directory.resolve()))
        except (GatewayError, ConfigError) as error:
            raise click.ClickException(str(error)) from error
