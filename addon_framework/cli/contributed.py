"""The commands that plug-ins bring, by the hook `addon_commands`."""

from __future__ import annotations

from collections.abc import Collection

import click

from addon_framework.plugins.errors import PluginError
from addon_framework.plugins.loader import Plugins, discover


def contributed(
    *, taken: Collection[str], quiet: bool = False, plugins: Plugins | None = None
) -> dict[str, click.Command]:
    """Commands by name. What a plug-in does wrong is said on stderr and costs only its own commands.

    `quiet` is for shell completion, which must not write between the user's keys.
    """

    def warn(text: str) -> None:
        if not quiet:
            click.echo(f"Warning: {text}", err=True)

    found: dict[str, click.Command] = {}
    owners: dict[str, str] = {}
    for plugin in discover() if plugins is None else plugins:
        try:
            commands = plugin.call("addon_commands") or []
        except PluginError as error:
            warn(str(error))
            continue
        for command in commands:
            name = command.name or ""
            if name in taken or name in found:
                owner = owners.get(name, "fleetadm itself")
                warn(f'plug-in "{plugin.name}" brings a command "{name}", which {owner} has already')
                continue
            found[name], owners[name] = command, f'plug-in "{plugin.name}"'
    return dict(sorted(found.items()))
