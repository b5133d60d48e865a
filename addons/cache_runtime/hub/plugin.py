"""Plug-in `fleet-datasets`: Datasets of the hub on the clusters that a Placement chooses.

Apart from `cache-runtime`, which a hub without this program can install as a template. Nothing of this one
runs on clusters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from addon_framework.api.core import CLUSTERROLES
from addon_framework.api.meta import Json
from addon_framework.plugins import AddonDescription, NoProbe, hookimpl

if TYPE_CHECKING:
    import click

    from addon_framework.kube import Controller

NAME = "fleet-datasets"
_READ = ["get", "list", "watch"]
_WRITE = ["create", "update", "patch", "delete", "deletecollection"]


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
        """Datasets of the hub to ManifestWorks; and the agents stay until these are gone."""
        from addons.cache_runtime.hub import elsewhere, strays
        from addons.cache_runtime.hub.controller import FleetDatasetController
        from addons.cache_runtime.hub.holding import HoldingController

        return [
            FleetDatasetController(),
            HoldingController(),
            *elsewhere.controllers(),
            *strays.controllers(),
        ]

    @hookimpl
    def addon_hub_manifests(self) -> list[Json]:
        """The kinds, and who may use them."""
        from addons.cache_runtime.hub.policy import policy
        from addons.cache_runtime.plugin import data_crds

        crds = data_crds()
        # Kinds without a namespace name images and commands for everybody: theirs to write who own the hub.
        mine = [crd for crd in crds if crd["spec"]["scope"] == "Namespaced"]
        roles = [_role("view", _READ, crds), _role("edit", [*_READ, *_WRITE], mine)]
        return [*crds, *roles, *policy()]

    @hookimpl
    def addon_commands(self) -> Sequence[click.Command]:
        """`fleetadm dataset`."""
        from addons.cache_runtime.cli.command import dataset

        return [dataset]


def _role(name: str, verbs: list[str], crds: Sequence[Json]) -> Json:
    """Kinds by name, and the number of replicas of those that have one; statuses are controllers'."""
    named: dict[str, list[str]] = {}
    for crd in crds:
        plural, versions = crd["spec"]["names"]["plural"], crd["spec"]["versions"]
        scaled = any("scale" in (version.get("subresources") or {}) for version in versions)
        named.setdefault(crd["spec"]["group"], []).extend([plural, *([f"{plural}/scale"] if scaled else [])])
    return {
        "apiVersion": f"{CLUSTERROLES.group}/v1",
        "kind": "ClusterRole",
        "metadata": {
            "name": f"boundaryless:datasets-{name}",
            "labels": {f"{CLUSTERROLES.group}/aggregate-to-{name}": "true"},
        },
        "rules": [
            {"apiGroups": [group], "resources": resources, "verbs": verbs}
            for group, resources in named.items()
        ],
    }
