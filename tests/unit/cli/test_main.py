"""The command line itself: light to start, plug-ins kept apart, every command explained."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from addon_framework.cli.contributed import contributed
from addon_framework.cli.lazy import LazyGroup
from addon_framework.cli.main import cli
from addon_framework.plugins import AddonDescription, Plugins, hookimpl

HEAVY = ("aiohttp", "structlog", "kubernetes", "rich", "orjson", "cryptography", "boto3")
OTHERS_ROOM = ("demo",)  # written apart from this one


def modules_after(*arguments: str) -> set[str]:
    code = (
        "import sys\nfrom addon_framework.cli.main import cli\n"
        f"try: cli({list(arguments)!r}, prog_name='fleetadm')\nexcept SystemExit: pass\n"
        "print('\\n'.join(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


@pytest.mark.parametrize(
    "arguments",
    [("--help",), ("get", "--help"), ("hub", "run", "--help"), ("accept", "--help"), ("version",)],
    ids=" ".join,
)
def test_help_imports_nothing_heavy(arguments: tuple[str, ...]) -> None:
    assert not modules_after(*arguments) & set(HEAVY)


def test_built_in_commands_leave_plugins_alone() -> None:
    imported = modules_after("get", "clusters", "--help")
    assert "addon_framework.plugins" not in imported
    assert not any(name.startswith(("addons", "runtimes")) for name in imported)


def commands(
    command: click.Command, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        ctx = click.Context(command, resilient_parsing=True)
        names = command._lazy if isinstance(command, LazyGroup) else command.list_commands(ctx)
        for name in names:
            if name not in OTHERS_ROOM:
                child = command.get_command(ctx, name)
                assert child is not None, name
                yield from commands(child, (*path, name))


def all_commands() -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Those of our add-ons too."""
    yield from commands(cli)
    for command in contributed(taken=()).values():
        yield from commands(command, (command.name,))


def test_every_command_has_help_with_an_example_those_of_our_add_ons_too() -> None:
    known = [*all_commands()]
    assert ("gateway", "run") in [path for path, _ in known]
    bare = [path for path, command in known if "Example:" not in (command.help or "")]
    assert bare == []


def test_every_option_says_what_it_is() -> None:
    options = [(path, each) for path, command in all_commands() for each in command.params]
    assert [
        (path, each.name) for path, each in options if isinstance(each, click.Option) and not each.help
    ] == []


def test_the_gateway_finds_its_hub_as_other_commands_do(tmp_path: Path) -> None:
    result = CliRunner(env={"KUBECONFIG": ""}).invoke(cli, ["gateway", "run", "--dir", str(tmp_path)])
    assert result.exit_code == 1
    assert f"kubeconfig {tmp_path / 'kubeconfig'} does not exist: run fleetadm up" in result.stderr


def test_what_the_list_says_of_a_command_is_there_without_importing_it() -> None:
    shown = CliRunner().invoke(cli, ["--help"])
    assert shown.exit_code == 0
    assert "accept   Let clusters that ask to join into the hub." in shown.output
    assert "Exit codes:" in shown.output


def test_unknown_commands_and_options_are_usage_errors() -> None:
    assert CliRunner().invoke(cli, ["nonsense"]).exit_code == 2
    assert CliRunner().invoke(cli, ["get", "clusters", "--nonsense"]).exit_code == 2
    assert CliRunner().invoke(cli, ["get", "works", "-A", "-n", "x"]).exit_code == 2
    assert CliRunner().invoke(cli, ["get", "clusters", "-n", "x"]).exit_code == 2
    nowhere = ["dataset", "create", "llama", "--from", "s3://m/llama", "--clusters", " ,"]
    assert CliRunner().invoke(cli, nowhere).exit_code == 2
    ends = ["--from-cluster", "a", "--to-cluster", "a"]
    same = CliRunner().invoke(cli, ["dataset", "migrate", "llama", *ends])
    assert (same.exit_code, "must be two clusters" in same.stderr) == (2, True)


def test_a_rate_that_is_none_is_a_usage_error(tmp_path: Path) -> None:
    up = CliRunner().invoke(cli, ["up", "--dir", str(tmp_path / "fleet"), "--link", "fast"])
    assert (up.exit_code, "'fast' is not a rate" in up.stderr) == (2, True)


@pytest.mark.parametrize("verb", ["down", "delete"])
def test_a_fleet_that_is_not_there_needs_no_end(verb: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, [verb, "--dir", str(tmp_path / "fleet")])
    assert result.exit_code == 0
    assert "There is no fleet in" in " ".join(result.stderr.split())


def test_completion_knows_commands_and_kinds() -> None:
    def complete(words: str, position: int) -> str:
        env = {"_FLEETADM_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(position)}
        return CliRunner().invoke(cli, [], prog_name="fleetadm", env=env).stdout

    assert "plain,get" in complete("fleetadm ge", 1)
    assert "plain,clusters" in complete("fleetadm get cl", 2)
    assert "plain,yaml" in complete("fleetadm get clusters -o ", 4)


class Brings:
    """A plug-in with commands."""

    def __init__(self, name: str, *names: str) -> None:
        self.name, self.names = name, names

    @hookimpl
    def addon_describe(self) -> AddonDescription:
        return AddonDescription(name=self.name)

    @hookimpl
    def addon_commands(self) -> list[click.Command]:
        if "broken" in self.names:
            raise RuntimeError("no gateway")
        return [click.Command(name) for name in self.names]


def plugins(**named: Any) -> Plugins:
    found = Plugins()
    for name, names in named.items():
        found.add(name, Brings(name, *names))
    return found


def test_commands_of_plugins(capsys: pytest.CaptureFixture[str]) -> None:
    found = contributed(
        taken={"get"}, plugins=plugins(a=["gateway"], b=["broken"], c=["gateway", "get", "more"])
    )
    assert list(found) == ["gateway", "more"]
    said = capsys.readouterr().err
    assert 'plug-in "b" from registered directly failed in addon_commands: RuntimeError: no gateway' in said
    assert 'plug-in "c" brings a command "gateway", which plug-in "a" has already' in said
    assert 'plug-in "c" brings a command "get", which fleetadm itself has already' in said


def test_quiet_while_the_shell_completes(capsys: pytest.CaptureFixture[str]) -> None:
    assert contributed(taken=(), quiet=True, plugins=plugins(b=["broken"])) == {}
    assert capsys.readouterr().err == ""


def test_without_the_embedded_fleet_its_commands_say_what_to_install() -> None:
    """As in an image, or after `pip install boundaryless` alone."""
    script = "import sys; sys.modules['setproctitle'] = None\n"
    script += "from addon_framework.cli.main import main; main()"
    ended = subprocess.run([sys.executable, "-c", script, "up"], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr == "Error: setproctitle is not installed: pip install 'boundaryless[local]'\n"
