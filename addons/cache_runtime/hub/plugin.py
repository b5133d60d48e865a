"""Plug-in `fleet-datasets`: Datasets of the hub on the clusters that a Placement chooses.

Apart from `cache-runtime`, which a hub without this program can install as a template. Nothing of this one
runs on clusters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from addon_framework.api.core import CLUSTERROLES
from addon_framework.api.data import GROUP, LOCAL_GROUP
from addon_framework.api.meta import Json
from addon_framework.plugins import AddonDescription, NoProbe, hookimpl

if TYPE_CHECKING:
    import click

    from addon_framework.kube import Controller

NAME = "fleet-datasets"
_READ = ["get", "list", "watch"]


class FleetDatasets:
    """The hooks."""

    @hookimpl
    def addon_describe(self) -> AddonDescription:
        """Who it is."""
        return AddonDescription(
            name=NAME,
            display_name="Datasets for the fleet",
            description="Sends the hub's Datasets to clusters, where cache-runtime caches them",
            health=NoProbe(),
        )

    @hookimpl
    def addon_hub_controllers(self) -> Sequence[Controller]:
        """Datasets of the hub to ManifestWorks."""
        from addons.cache_runtime.hub.controller import FleetDatasetController

        return [FleetDatasetController()]

    @hookimpl
    def addon_hub_manifests(self) -> list[Json]:
        """The kinds, and who may use them."""
        from addons.cache_runtime.plugin import data_crds

        verbs = {"view": _READ, "edit": ["*"]}
        return [*data_crds(), *(_role(name, allowed) for name, allowed in verbs.items())]

    @hookimpl
    def addon_commands(self) -> Sequence[click.Command]:
        """`fleetadm dataset`."""
        from addons.cache_runtime.hub.command import dataset

        return [dataset]


def _role(name: str, verbs: list[str]) -> Json:
    return {
        "apiVersion": f"{CLUSTERROLES.group}/v1",
        "kind": "ClusterRole",
        "metadata": {
            "name": f"boundaryless:datasets-{name}",
            "labels": {f"{CLUSTERROLES.group}/aggregate-to-{name}": "true"},
        },
        "rules": [{"apiGroups": [GROUP, LOCAL_GROUP], "resources": ["*"], "verbs": verbs}],
    }
