"""The ClusterManagementAddOn that makes a plug-in's add-on known to a hub."""

from __future__ import annotations

from addon_framework.api.addon import ClusterManagementAddOn
from addon_framework.api.meta import Json
from addon_framework.plugins import AddonDescription


def management(description: AddonDescription) -> Json:
    """To be installed by hand; its configurations have no defaults."""
    resource = ClusterManagementAddOn.RESOURCE
    named = {"displayName": description.display_name, "description": description.description}
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": description.name},
        "spec": {
            "addOnMeta": {name: value for name, value in named.items() if value},
            "supportedConfigs": [
                {"group": kind.group, "resource": kind.resource} for kind in description.supported_configs
            ],
            "installStrategy": {"type": "Manual"},
        },
    }
