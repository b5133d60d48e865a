"""`fleetadm plugins`: what is installed, and what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import click


@click.group()
def plugins() -> None:
    """Show the plug-ins that are installed.

    \b
    Example:
      fleetadm plugins list
    """


@plugins.command("list")
@click.option(
    "-o", "--output", type=click.Choice(["table", "wide", "json"]), default="table", help="The form."
)
@click.option("--strict", is_flag=True, help="Exit with 1 when a plug-in is quarantined.")
def list_command(output: str, strict: bool) -> None:
    """Load every plug-in and show its name, state, and where it comes from; and why, if it cannot be used.

    \b
    Example:
      fleetadm plugins list -o json --strict
    """
    from addon_framework.plugins import ADDONS, ENGINES, RUNTIMES, discover
    from addon_framework.plugins.loader import status

    rows = [
        {"kind": kind, **row}
        for kind, group in (("addon", ADDONS), ("runtime", RUNTIMES), ("engine", ENGINES))
        for row in status(discover(group))
    ]
    if output == "json":
        click.echo(json.dumps(rows, indent=2))
    else:
        _table(rows, output == "wide")
    if strict and any(row["state"] == "Quarantined" for row in rows):
        raise click.exceptions.Exit(1)


def _table(rows: list[Mapping[str, Any]] | list[dict[str, Any]], wide: bool) -> None:
    lines = [["KIND", "NAME", "STATE", "LOADED IN", "FROM"] + (["HOOKS"] if wide else [])]
    for row in rows:
        seconds = row["load_seconds"]
        took = f"{seconds * 1000:.0f} ms" if seconds is not None else "-"
        line = [row["kind"], row["name"], row["state"], took, row["origin"]]
        lines.append(line + ([",".join(row["hooks"]) or "-"] if wide else []))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        click.echo("   ".join(cells).rstrip())
    for row in rows:
        if row["reason"]:
            click.echo(f"\n{row['reason']}")
