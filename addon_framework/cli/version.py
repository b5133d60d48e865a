"""`fleetadm version`."""

from __future__ import annotations

import json
import platform
from importlib import metadata

import click


@click.command()
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", help="Another form.")
def version(output: str) -> None:
    """Show the version.

    \b
    Example:
      fleetadm version -o json
    """
    said = {"fleetadm": metadata.version("boundaryless"), "python": platform.python_version()}
    if output == "json":
        click.echo(json.dumps(said))
    else:
        click.echo(f"fleetadm {said['fleetadm']}, Python {said['python']}")
