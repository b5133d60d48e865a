"""Who makes an add-on: the plug-in of its name, or else the AddOnTemplate that it is configured with."""

from __future__ import annotations

from addon_framework.api.addon import AddOnTemplate
from addon_framework.api.meta import Json
from addon_framework.hub.addons.template import template_name, template_plugin
from addon_framework.kube import Controller, Key
from addon_framework.plugins import Plugin, Plugins

RETRY_PLUGIN = 30.0  # seconds: what a plug-in raised may have been about something outside
BUSY = 1.0  # seconds: the plug-in is in another call


def source_of(
    controller: Controller, plugins: Plugins, addon: Json, *, templates: bool = True
) -> Plugin | None:
    """None when there is neither (yet). The controller must watch AddOnTemplates.

    Beside OCM's own add-on manager `templates` must be False: it makes the add-ons that have one.
    """
    name = addon["metadata"]["name"]
    if (plugin := plugins.get(name)) is not None:
        return plugin
    if templates and (wanted := template_name(addon)):
        template = controller.cache(AddOnTemplate.RESOURCE).get(Key("", wanted))
        if template is not None:
            return plugins.made_from(template, name, lambda: template_plugin(name, template))
    return None
