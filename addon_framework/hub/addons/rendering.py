"""From a plug-in's hooks and the configuration of its add-on to the manifests of one cluster."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from addon_framework.api.meta import Json
from addon_framework.hub.addons.images import BadRegistries, mirrors_of
from addon_framework.hub.addons.packing import TooLarge
from addon_framework.hub.addons.places import BadManifest, hosting_cluster, mode_values
from addon_framework.hub.addons.template import TemplateAddon
from addon_framework.hub.addons.values import BadValues, decorate, moves, relocate, render_values
from addon_framework.hub.addons.works import check
from addon_framework.plugins import Plugin, PluginBusy, PluginError, Plugins

NOT_RENDERED = (PluginError, BadManifest, TooLarge, BadValues, BadRegistries)


def is_hosted(addon: Json, plugin: Plugin) -> bool:
    """Whether the manifests are for two clusters."""
    return plugin.describe().hosted and hosting_cluster(addon) is not None


async def render(
    plugin: Plugin,
    plugins: Plugins,
    cluster: Json,
    addon: Json,
    namespace: str,
    configs: Sequence[Json],
) -> tuple[list[Json], list[str]]:
    """The manifests as shipped, and what a person should know about them. Raises NOT_RENDERED."""
    notes = []
    values = render_values(cluster, addon, namespace, configs)
    values |= mode_values(addon, hosted=is_hosted(addon, plugin))
    given = {"cluster": _copy(cluster), "addon": _copy(addon)}  # the cache's own are not for plug-ins
    manifests = await plugin.ask("addon_manifests", **given, values=values) or []
    check(manifests)
    if isinstance(template := plugin.load(), TemplateAddon) and (unset := template.unset(values)):
        notes.append(f"variables without a value: {', '.join(unset)}")
    mirrors = mirrors_of(cluster)
    try:
        if moves(plugin.describe(), configs):
            manifests = relocate(manifests, namespace)
        manifests = decorate(manifests, configs, name=addon["metadata"]["name"], mirrors=mirrors)
    except (AttributeError, KeyError, TypeError) as error:
        what = f"{type(error).__name__}: {error}"
        raise BadManifest(f"a manifest has a field of a type that Kubernetes has not: {what}") from error
    for other in plugins.implementing("mutate_manifests"):
        try:
            changed = await other.ask("mutate_manifests", **given, manifests=manifests)
            check(changed or [])
        except PluginBusy:
            raise
        except (PluginError, BadManifest) as error:
            notes.append(f"left unchanged by {other.name}: {error}")
            continue
        if changed is not None:
            manifests = changed
    return manifests, notes


def _copy(obj: Json) -> Json:
    copied: Json = orjson.loads(orjson.dumps(obj))
    return copied
