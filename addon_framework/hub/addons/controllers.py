"""The controllers of the add-on manager, in one list."""

from __future__ import annotations

from addon_framework.hub.addons.cma import CmaStatusController
from addon_framework.hub.addons.config_controller import AddonConfigController
from addon_framework.hub.addons.csr import AddonCsrController
from addon_framework.hub.addons.deploy_controller import AddonDeployController
from addon_framework.hub.addons.install import InstallController
from addon_framework.hub.addons.signing import AddonSignController
from addon_framework.hub.addons.tokens import AddonTokenController
from addon_framework.kube import Controller
from addon_framework.plugins import Plugins


def addon_controllers(plugins: Plugins, *, templates: bool = True) -> list[Controller]:
    """All of them, over the plug-ins given; `templates` are add-ons without code."""
    return [
        InstallController(),
        AddonConfigController(),
        AddonDeployController(plugins, templates=templates),
        AddonCsrController(plugins, templates=templates),
        AddonSignController(plugins, templates=templates),
        AddonTokenController(),
        CmaStatusController(),
    ]
