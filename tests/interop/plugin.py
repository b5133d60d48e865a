"""A plug-in add-on for our manager; the scenario makes a distribution of it that `fleetadm hub run` finds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from addon_framework.api.meta import Json
from addon_framework.plugins import AddonDescription, Lease, agent_manifests, hookimpl
from tests.interop.objects import PLUGIN, config_map


class InteropPlugin:
    """Greets as its configuration says; its agent may read ConfigMaps in its namespace on the hub."""

    @hookimpl
    def addon_describe(self) -> AddonDescription:
        return AddonDescription(name=PLUGIN, health=Lease, install_namespace=PLUGIN)

    @hookimpl
    def addon_manifests(self, values: Mapping[str, Any]) -> list[Json]:
        where, cluster = values["install_namespace"], values["cluster_name"]
        says = config_map(f"{PLUGIN}-says", where, greeting=values.get("GREETING", ""), cluster=cluster)
        return [*agent_manifests(PLUGIN, where, cluster), says]

    @hookimpl
    def addon_hub_permissions(self) -> list[Json]:
        return [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "create"]}]


def install(directory: Path) -> Path:
    """What a PYTHONPATH has to name for the plug-in to be found."""
    site = directory / "site"
    info = site / "interop_plugin-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: interop-plugin\nVersion: 1.0\n")
    entry = f"[boundaryless.addons]\n{PLUGIN} = tests.interop.plugin:InteropPlugin\n"
    (info / "entry_points.txt").write_text(entry)
    return site
