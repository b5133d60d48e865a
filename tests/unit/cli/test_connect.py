"""Which kubeconfig and context, and what an error becomes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from click.testing import CliRunner

from addon_framework.cli.connect import (
    Failure,
    NotThere,
    TimedOut,
    Where,
    cluster_options,
    explained,
    locate,
    run,
)
from addon_framework.kube import Forbidden, Invalid, NotFound, Unreachable


@click.command()
@cluster_options
def show(where: Where) -> None:
    """Prints what was chosen."""
    click.echo(f"{where.kubeconfig} {where.context}")


@pytest.mark.parametrize(
    ("arguments", "environment", "chosen"),
    [
        (["--kubeconfig", "/f", "--dir", "/d"], {"KUBECONFIG": "/e"}, "/f"),
        (["--dir", "/d"], {"KUBECONFIG": "/e"}, "/d/kubeconfig"),
        ([], {"KUBECONFIG": "/e:/e2", "BOUNDARYLESS_DIR": "/b"}, "/e"),
        ([], {"KUBECONFIG": "", "BOUNDARYLESS_DIR": "/b"}, "/b/kubeconfig"),
    ],
)
def test_which_kubeconfig(arguments: list[str], environment: dict[str, str], chosen: str) -> None:
    done = CliRunner().invoke(show, [*arguments, "--context", "c"], env=environment)
    assert done.output.strip() == f"{chosen} c"


def test_the_fleets_own_when_nothing_is_said() -> None:
    assert locate(Path("/home/me/.boundaryless"), False, "") == Path("/home/me/.boundaryless/kubeconfig")


def kubeconfig(path: Path, *contexts: str, current: str = "") -> Where:
    config: dict[str, Any] = {"apiVersion": "v1", "kind": "Config", "current-context": current}
    config["clusters"] = [{"name": c, "cluster": {"server": f"http://{c}"}} for c in contexts]
    config["contexts"] = [{"name": c, "context": {"cluster": c}} for c in contexts]
    path.write_text(yaml.safe_dump(config))
    return Where(path)


def test_which_context(tmp_path: Path) -> None:
    fleet = kubeconfig(tmp_path / "fleet", "cluster1", "hub", current="cluster1")
    assert fleet.client().server == "http://hub"
    assert fleet.client("cluster1").server == "http://cluster1"
    other = kubeconfig(tmp_path / "other", "a", "b", current="b")
    assert other.client().server == "http://b"
    assert Where(other.kubeconfig, "a").client().server == "http://a"
    with pytest.raises(Failure, match=r"no context 'x' in contexts \(there: a, b\)"):
        Where(other.kubeconfig, "x").client()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a: [", "is not valid YAML"),
        ("", "is not a kubeconfig"),
        ("- a", "is not a kubeconfig"),
        ("contexts: [x]", "is not a kubeconfig"),
        ("{contexts: [{name: c, context: {cluster: x}}], current-context: c, clusters: 5}", "cannot be used"),
        (
            "{contexts: [{name: c, context: {cluster: x}}], current-context: c,"
            " clusters: [{name: x, cluster: {server: 'https://x', certificate-authority: none.crt}}]}",
            "none.crt",
        ),
    ],
)
def test_bad_kubeconfigs_are_explained(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "config"
    path.write_text(content)
    with pytest.raises(Failure, match=said):
        Where(path).client()


def test_what_errors_become() -> None:
    unreachable = explained(
        Unreachable(0, "Unreachable", "cannot reach the API server at https://x: refused")
    )
    assert unreachable.exit_code == 1
    assert "fleetadm up" in unreachable.message
    no_kind = explained(NotFound(404, "NotFound", "the server could not find the requested resource"))
    assert no_kind.exit_code == 1
    assert "fleetadm hub install" in no_kind.message
    gone = explained(NotFound(404, "NotFound", 'x "a" not found', {"name": "a", "kind": "x"}))
    assert isinstance(gone, NotThere)
    assert gone.exit_code == 4
    assert explained(Forbidden(403, "Forbidden", "user x cannot")).message == "not allowed: user x cannot"
    assert explained(Invalid(422, "Invalid", "spec.a: wrong")).message == "spec.a: wrong"


def test_time_that_is_over_and_keys_that_interrupt() -> None:
    async def late() -> None:
        raise TimeoutError("not joined after 1 s")

    async def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(TimedOut, match="not joined") as over:
        run(late)
    assert over.value.exit_code == 5
    with pytest.raises(click.exceptions.Exit) as stopped:
        run(interrupted)
    assert stopped.value.exit_code == 130
