"""fleetadm: the entry point. Everything else is imported when its command runs."""

from __future__ import annotations

import re
import sys

import click

from addon_framework.cli.lazy import LazyGroup

_HERE = "addon_framework.cli"
_COMMANDS = {
    "up": (f"{_HERE}.fleet:up", "Bring up a hub and spokes on this machine."),
    "down": (f"{_HERE}.fleet:down", "Stop the fleet; its data stays."),
    "delete": (f"{_HERE}.fleet:delete", "Stop the fleet and remove its data."),
    "demo": (f"{_HERE}.demo.command:demo", "From nothing to a model answering on the best of two clusters."),
    "accept": (f"{_HERE}.accept:accept", "Let clusters that ask to join into the hub."),
    "detach": (f"{_HERE}.detach:detach", "Let clusters leave the hub in order."),
    "get": (f"{_HERE}.get:get", "Show clusters, add-ons, works, placements, datasets, inference."),
    "addon": (f"{_HERE}.addon:addon", "Enable or disable an add-on on clusters by hand."),
    "plugins": (f"{_HERE}.plugins:plugins", "Show the plug-ins that are installed."),
    "hub": (f"{_HERE}.hub:hub", "Make a cluster a hub, run the hub manager."),
    "agent": (f"{_HERE}.agent:agent", "Run a spoke's agent."),
    "version": (f"{_HERE}.version:version", "Show the version."),
}
_EXIT_CODES = """
\b
Exit codes:
  0  done
  1  failed; the reason is on stderr
  2  used wrongly: unknown command, option or value
  4  what was named does not exist
  5  not so within the time given
  130  interrupted

\b
Which cluster: --kubeconfig, else --dir DIR where given, else $KUBECONFIG, else the fleet in
$BOUNDARYLESS_DIR (~/.boundaryless); of that kubeconfig the context "hub", else the current one.

\b
Completion in bash:
  eval "$(_FLEETADM_COMPLETE=bash_source fleetadm)"
"""


class Fleetadm(LazyGroup):
    """The built-in commands; then those that plug-ins contribute, which are loaded only when asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Built-in first."""
        return [*super().list_commands(ctx), *self._contributed(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A built-in command, or one of a plug-in."""
        return super().get_command(ctx, cmd_name) or self._contributed(ctx).get(cmd_name)

    def _contributed(self, ctx: click.Context) -> dict[str, click.Command]:
        meta = ctx.find_root().meta
        if _HERE not in meta:
            from addon_framework.cli.contributed import contributed

            meta[_HERE] = contributed(taken=set(_COMMANDS), quiet=ctx.resilient_parsing)
        commands: dict[str, click.Command] = meta[_HERE]
        return commands


@click.group(
    cls=Fleetadm,
    lazy=_COMMANDS,
    epilog=_EXIT_CODES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
def cli() -> None:
    """Boundaryless: LLM inference across clusters.

    \b
    Example:
      fleetadm up
      fleetadm get clusters
    """


def main() -> None:
    """The console script."""
    try:
        cli(prog_name="fleetadm")
    except ModuleNotFoundError as error:
        extra = _extra_with(error.name or "")
        if extra is None:
            raise
        sys.exit(f"Error: {error.name} is not installed: pip install 'boundaryless[{extra}]'")


def _extra_with(module: str) -> str | None:
    """Which extra of this distribution installs a module; those that commands need have its name."""
    from importlib import metadata

    for requirement in metadata.requires("boundaryless") or []:
        found = re.fullmatch(r"([\w.-]+).*;.*extra == ['\"](\w+)['\"]", requirement)
        if found and found[1] == module.partition(".")[0]:
            return found[2]
    return None


if __name__ == "__main__":
    main()
