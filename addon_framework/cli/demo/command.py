"""`fleetadm demo`: the main job on a fleet of its own, measured."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from addon_framework.cli.connect import errors_for_people
from addon_framework.cli.fleet import DEFAULT_LINK, blaming, bring_up, fleet_options, join, progress

if TYPE_CHECKING:
    from addon_framework.cli.demo.report import Report
    from addon_framework.cli.demo.scenario import Options, Store
    from addon_framework.local.fleet import Fleet, FleetOptions, FleetState

_WITHOUT_ROOT = (
    "Without root nothing can be mounted, so the baseline is not s3fs but a plain copy, then stock vLLM; "
    "and what this machine has in its page cache stays there."
)


@click.command()
@click.option(
    "--model-mb",
    type=click.IntRange(5),
    default=500,
    show_default=True,
    help="Size of the model that is made.",
)
@click.option("--shards", type=click.IntRange(1), default=8, show_default=True, help="In how many files.")
@click.option("--model", help="A checkpoint's directory, or s3://bucket/path, instead of one that is made.")
@click.option(
    "--s3-endpoint",
    help="Store of the model; keys from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY. [the fleet's own]",
)
@click.option("--link", help=f"Rate of each spoke's link to the store, or none. [{DEFAULT_LINK} as root]")
@click.option(
    "--runtime",
    type=click.Choice(["local", "juicefs"]),
    default="local",
    show_default=True,
    help="What caches the model.",
)
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("build/demo"),
    show_default=True,
    help="Where result.json, timeline.png and the fleet go.",
)
@click.option("--keep", is_flag=True, help="Leave the fleet running afterwards.")
def demo(
    model_mb: int,
    shards: int,
    model: str | None,
    s3_endpoint: str | None,
    link: str | None,
    runtime: str,
    output: Path,
    keep: bool,
) -> None:
    """From nothing to a model answering on the best of two clusters, measured.

    A hub and two spokes come up, the three add-ons are installed, a model is served through s3fs by stock
    vLLM (the baseline), then preloaded into a cache while the engine starts, scaled to a second replica, and
    out to the second cluster. Prints the table; writes result.json and timeline.png.

    Without root nothing can be mounted and no link shaped: the baseline is then a plain copy followed by
    stock vLLM, and its row says so.

    \b
    Example:
      fleetadm demo --model-mb 500 --link 1gbit --runtime local
    """
    from addon_framework.cli.demo.scenario import Options, StepFailed
    from addon_framework.local.fleet import Fleet

    fleet = Fleet(output / "fleet")
    root = os.geteuid() == 0
    if not root:
        if runtime == "juicefs":
            raise click.UsageError("--runtime juicefs mounts a file system, which needs root; use local")
        progress(_WITHOUT_ROOT)
    options = Options(
        model_mb=model_mb, model=model, shards=shards, runtime=runtime, output=output, fuse=root
    )
    fleet_wanted = fleet_options(2, "4,1", None, link)
    began = time.monotonic()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as with Ctrl-C: the fleet goes, too
    with errors_for_people():
        _check(options)
        fleet.delete()  # of a demo that was interrupted, or kept
        try:
            report = asyncio.run(_run(fleet, fleet_wanted, options, s3_endpoint))
        except StepFailed as error:
            _keep_logs(fleet, output)
            raise click.ClickException(str(error)) from None
        except Exception:
            _keep_logs(fleet, output)
            raise
        finally:
            if not keep:
                fleet.delete()
    report.write(output)
    _show(report, output)
    progress(f"{time.monotonic() - began:.0f} s in all. " + (_how_to_go_on(fleet) if keep else ""))


def _keep_logs(fleet: Fleet, output: Path) -> None:
    """Of a demo that failed: the fleet goes, why it failed must not."""
    if fleet.layout.logs.is_dir():
        shutil.copytree(fleet.layout.logs, output / "logs", dirs_exist_ok=True)
        progress(f"The fleet's logs are kept in {output / 'logs'}")


def _check(options: Options) -> None:
    """What the demo needs beside the fleet. Raises FleetError."""
    from addon_framework.local.fleet import FleetError, programs
    from addon_framework.local.fleet.images import engine_directory

    needed = ["s5cmd"]
    needed += ["s3fs", "fusermount3"] if options.fuse else []
    needed += ["juicefs"] if options.runtime == "juicefs" else []
    programs.require(needed)
    engine = engine_directory()
    if not (engine / "bin" / "python3").exists():
        raise FleetError(
            f"the engine is not installed in {engine}; install it: make setup, or say where it is: "
            "BOUNDARYLESS_ENGINE=DIR"
        )


async def _run(fleet: Fleet, wanted: FleetOptions, options: Options, s3_endpoint: str | None) -> Report:
    from addon_framework.cli.demo.scenario import Scenario

    began = time.monotonic()

    def say(text: str) -> None:
        progress(f"{time.monotonic() - began:6.1f} s  {text}")

    state = await bring_up(fleet.layout.directory, wanted, accept=False, say=say)
    clusters = [cluster.name for cluster in state.clusters]
    if state.link == "none":
        say("The links between clusters and store are not shaped.")
    async with fleet.client("hub") as hub:
        with blaming(fleet):
            await join(hub, clusters, say)
        scenario = Scenario(hub, clusters, _store(state, s3_endpoint), options, say, link=state.link)
        with blaming(fleet):
            return await scenario.run()


def _store(state: FleetState, endpoint: str | None) -> Store:
    from addon_framework.cli.demo.scenario import Store

    if endpoint is None:
        return Store(state.store_endpoint, state.store.access_key, state.store.secret_key)
    try:
        return Store(endpoint, os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
    except KeyError as missing:
        raise click.UsageError(f"--s3-endpoint needs {missing.args[0]} in the environment") from None


def _show(report: Report, output: Path) -> None:
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 110)
    console.print(report.table())
    for name, ratio in report.ratios().items():
        console.print(f"  {name}: {ratio:g}", highlight=False)
    console.print(f"Answer, streamed: {json.dumps(report.completion, ensure_ascii=False)}", highlight=False)
    console.print(f"Clusters in order of use: {', '.join(report.clusters)}", highlight=False)
    console.print(f"Wrote {output / 'result.json'} and {output / 'timeline.png'}", highlight=False)


def _how_to_go_on(fleet: Fleet) -> str:
    kubeconfig, directory = (shlex.quote(str(p)) for p in (fleet.layout.kubeconfig, fleet.layout.directory))
    return f"The fleet runs on: export KUBECONFIG={kubeconfig}; end it with fleetadm delete --dir {directory}"
