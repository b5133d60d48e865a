"""Applies what plug-ins need on the hub: their CRDs and cluster roles."""

from __future__ import annotations

import structlog

from addon_framework.api.core import CRDS
from addon_framework.hub.addons.places import BadManifest
from addon_framework.hub.addons.sources import BUSY, RETRY_PLUGIN
from addon_framework.hub.addons.works import check
from addon_framework.kube import Controller, Key, Watch, install_crds
from addon_framework.plugins import PluginBusy, PluginError, Plugins

log = structlog.get_logger(__name__)


class HubManifestsController(Controller):
    """Plug-in -> its hub objects, once per start of the manager; retried alone until they are there."""

    name = "addon-hub-manifests"

    def __init__(self, plugins: Plugins) -> None:
        self._plugins = plugins

    def watches(self) -> list[Watch]:
        """Nothing: the keys are plug-ins."""
        return []

    async def start(self) -> None:
        """Every plug-in once."""
        for plugin in self._plugins:
            self.queue.add(Key("", plugin.name))

    async def reconcile(self, key: Key) -> float | None:
        """Apply one plug-in's objects."""
        plugin = self._plugins.require(key.name)
        try:
            objects = await plugin.ask("addon_hub_manifests") or []
            check(objects)
        except PluginBusy:
            return BUSY
        except (PluginError, BadManifest) as error:
            log.error("hub manifests not made", plugin=key.name, reason=str(error))
            return None if plugin.quarantined else RETRY_PLUGIN
        manager = f"boundaryless-plugin-{key.name}"
        kinds = [dict(obj) for obj in objects if obj["kind"] == CRDS.kind]
        if kinds and (others := await install_crds(self.client, kinds, field_manager=manager)):
            log.info("left as they are: others have installed them", plugin=key.name, objects=others)
        for obj in objects:
            if obj["kind"] != CRDS.kind:
                await self.client.apply(obj, field_manager=manager)
        return None
