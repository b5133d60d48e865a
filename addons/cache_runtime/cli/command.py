"""`fleetadm dataset`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from addon_framework.cli.connect import Where, cluster_options, run
from addons.cache_runtime.hub.runtimes import RUNTIMES

_namespace = click.option("-n", "--namespace", default="default", show_default=True, help="On the hub.")
_wait = click.option("--wait", is_flag=True, help="Stay until it is so; progress is shown.")
_timeout = click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=600,
    show_default=True,
    help="Seconds to --wait.",
)
_output = click.option("-o", "--output", type=click.Choice(["wide", "json", "yaml"]), help="Another form.")


def _options(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def add(function: Any) -> Any:
        for option in reversed(options):
            function = option(function)
        return cluster_options(function)

    return add


def _pairs(_: click.Context, __: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    if wrong := next((text for text in given if "=" not in text), None):
        raise click.BadParameter(f"{wrong!r} must be NAME=VALUE")
    return {name: value for name, _, value in (text.partition("=") for text in given)}


def _source_options(what: str) -> Callable[[Any], Any]:
    return click.option(
        "--option", "options", multiple=True, metavar="NAME=VALUE", callback=_pairs, help=what
    )


@click.group()
def dataset() -> None:
    """Datasets of the hub, on the clusters that a Placement chooses.

    \b
    Example:
      fleetadm dataset create llama --from s3://models/llama --secret keys --placement gpus --wait
      fleetadm dataset get llama
    """


@dataset.command()
@click.argument("name")
@click.option("--from", "source", required=True, metavar="URL", help="Where the data is; see below.")
@click.option("--placement", default="", help="A Placement of the namespace. [--clusters]")
@click.option("--clusters", default="", metavar="A,B", help="These clusters, by a Placement made for them.")
@click.option("--secret", default="", help="A Secret of the namespace: accessKeyId and secretAccessKey, ...")
@click.option("--s3-endpoint", default="", metavar="URL", help="Where the bucket is, if not at AWS.")
@_source_options("Of the source, such as region=eu-west-1.")
@click.option(
    "--runtime",
    type=click.Choice(sorted(RUNTIMES)),
    default="local",
    show_default=True,
    help="What caches it: local and juicefs keep copies on nodes, s3fs and rclone read the source.",
)
@click.option("--quota", default="", help="The most that a node keeps, such as 200Gi.")
@click.option("--no-load", is_flag=True, help="Leave the cache empty until something is read.")
@_options(_namespace, _wait, _timeout)
def create(where: Where, **said: Any) -> None:
    """Bring data to clusters and keep it there.

    \b
    Sources, and the keys of --secret:
      s3:// oss:// cos:// obs:// gs:// minio://bucket/path   accessKeyId, secretAccessKey
      https://host/file https://host/directory/             token
      hf://owner/name[@revision]                            token
      ftp:// sftp:// webhdfs://host:port/directory, and     username, password
      whatever the image has an fsspec driver for

    Exit code 4: the Placement, a cluster or the Secret does not exist; 5: with --wait, not complete in time.

    \b
    Example:
      fleetadm dataset create llama --from s3://models/llama --secret keys --placement gpus --wait
      fleetadm dataset create llama --from s3://m/llama --secret keys --clusters cluster1,cluster2
      fleetadm dataset create docs --from oss://b/docs --option region=cn-beijing --placement gpus
    """
    from addons.cache_runtime.cli import actions

    if bool(said["placement"]) == bool(said["clusters"].strip(", ")):
        raise click.UsageError("Give either --placement or --clusters.")
    run(lambda: actions.create(where, **said))


@dataset.command("list")
@click.option("-n", "--namespace", help="Only of this namespace. [all]")
@_output
@cluster_options
def list_(where: Where, namespace: str | None, output: str | None) -> None:
    """Show the hub's Datasets.

    \b
    Example:
      fleetadm dataset list -o wide
    """
    from addons.cache_runtime.cli import showing

    run(lambda: showing.show_all(where, namespace, output or ""))


@dataset.command()
@click.argument("name")
@_options(_namespace, _output)
def get(where: Where, name: str, namespace: str, output: str | None) -> None:
    """Show a Dataset, cluster by cluster.

    \b
    Example:
      fleetadm dataset get llama -o wide
    """
    from addons.cache_runtime.cli import showing

    run(lambda: showing.show(where, namespace, name, output or ""))


@dataset.command()
@click.argument("name")
@_options(_namespace, _wait, _timeout)
def load(where: Where, name: str, namespace: str, wait: bool, timeout: float) -> None:
    """Load it again on all its clusters, by a new DataLoad.

    \b
    Example:
      fleetadm dataset load llama --wait
    """
    from addons.cache_runtime.cli import actions

    run(lambda: actions.load(where, namespace, name, wait, timeout))


@dataset.command()
@click.argument("name")
@click.option("--to", "target", default="", metavar="URL", help="Copy it there. [--from]")
@click.option("--from", "source", default="", metavar="URL", help="Copy from there into it.")
@click.option("--from-cluster", default="", metavar="A", help="Fill a cluster's cache from this one's.")
@click.option("--to-cluster", default="", metavar="B", help="Which cluster's cache. [--from-cluster]")
@click.option("--cluster", default="", help="Which of its clusters does it. [the first that has it bound]")
@click.option("--secret", default="", help="For the other storage: accessKeyId, secretAccessKey.")
@click.option("--s3-endpoint", default="", metavar="URL", help="Where the other bucket is, if not at AWS.")
@_source_options("Of the DataMigrate: include=*.json; listing=cache where the source is gone.")
@_options(_namespace, _wait, _timeout)
def migrate(where: Where, **said: Any) -> None:
    """Copy its data to other storage or from there, or from one cluster's cache to another's.

    It is one DataMigrate, run by one cluster. Clusters reach each other's caches where annotation
    data.boundaryless.io/peers of their ManagedClusters says.

    \b
    Example:
      fleetadm dataset migrate llama --to s3://archive/llama --secret keys --wait
      fleetadm dataset migrate llama --from-cluster cluster1 --to-cluster cluster2 --wait
    """
    from addons.cache_runtime.cli import migrating

    if bool(said["from_cluster"]) != bool(said["to_cluster"]):
        raise click.UsageError("--from-cluster and --to-cluster need each other.")
    if said["from_cluster"] and said["from_cluster"] == said["to_cluster"]:
        raise click.UsageError("--from-cluster and --to-cluster must be two clusters.")
    if sum(bool(said[option]) for option in ("source", "target", "from_cluster")) != 1:
        raise click.UsageError("Give either --to, or --from, or --from-cluster and --to-cluster.")
    if said["from_cluster"] and (unused := [o for o in ("cluster", "secret", "s3_endpoint") if said[o]]):
        raise click.UsageError(f"--{unused[0].replace('_', '-')} is for other storage, not for clusters.")
    run(lambda: migrating.migrate(where, **said))


@dataset.command()
@click.argument("name")
@_options(_namespace, _wait, _timeout)
def delete(where: Where, name: str, namespace: str, wait: bool, timeout: float) -> None:
    """Remove it from the hub and from all clusters, with its runtime, loads and cached data.

    Pods that use it are waited for.

    \b
    Example:
      fleetadm dataset delete llama --wait
    """
    from addons.cache_runtime.cli import actions

    run(lambda: actions.delete(where, namespace, name, wait, timeout))
