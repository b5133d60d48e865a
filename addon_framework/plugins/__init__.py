"""Plug-ins: hooks, descriptions, discovery. Everything an add-on author imports is here."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from addon_framework.plugins.errors import PluginBusy, PluginError, PluginMissing
from addon_framework.plugins.hookspecs import Hooks, hookimpl, hookspec
from addon_framework.plugins.loader import (
    ADDONS,
    ENGINES,
    RUNTIMES,
    Plugin,
    Plugins,
    discover,
)
from addon_framework.plugins.manifests import agent_manifests
from addon_framework.plugins.types import (
    ADDON_DEPLOYMENT_CONFIG,
    DEFAULT_INSTALL_NAMESPACE,
    AddonDescription,
    AgentContext,
    ConfigKind,
    CurrentCluster,
    CustomSigner,
    Health,
    HubPermission,
    KubeClient,
    Lease,
    NoProbe,
    Probe,
    Registration,
    SigningCA,
    SingleNamespace,
    Work,
    Workload,
    default_groups,
    default_user,
)

if TYPE_CHECKING:
    from addon_framework.plugins.helm import render_chart
    from addon_framework.plugins.rendering import TemplateFailed, render_folder, render_objects

_LAZY = {  # they load Jinja2 and YAML, which `fleetadm --help` can do without
    "TemplateFailed": "rendering",
    "render_chart": "helm",
    "render_folder": "rendering",
    "render_objects": "rendering",
}

__all__ = [
    "ADDONS",
    "ADDON_DEPLOYMENT_CONFIG",
    "DEFAULT_INSTALL_NAMESPACE",
    "ENGINES",
    "RUNTIMES",
    "AddonDescription",
    "AgentContext",
    "ConfigKind",
    "CurrentCluster",
    "CustomSigner",
    "Health",
    "Hooks",
    "HubPermission",
    "KubeClient",
    "Lease",
    "NoProbe",
    "Plugin",
    "PluginBusy",
    "PluginError",
    "PluginMissing",
    "Plugins",
    "Probe",
    "Registration",
    "SigningCA",
    "SingleNamespace",
    "TemplateFailed",
    "Work",
    "Workload",
    "agent_manifests",
    "default_groups",
    "default_user",
    "discover",
    "hookimpl",
    "hookspec",
    "render_chart",
    "render_folder",
    "render_objects",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
