"""From a plug-in to a cluster: hub identity, manifests as ManifestWorks, health, in the add-on's status."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import structlog

from addon_framework.api.addon import AddOnDeploymentConfig, ClusterManagementAddOn, ManagedClusterAddOn
from addon_framework.api.cluster import ManagedCluster
from addon_framework.api.conditions import get_condition, is_true, set_condition
from addon_framework.api.core import ROLEBINDINGS, ROLES
from addon_framework.api.meta import Json, Resource
from addon_framework.api.names import ADDON_NAME_LABEL, CONDITION_AVAILABLE
from addon_framework.api.work import ManifestWork
from addon_framework.hub.addons import works as shipping
from addon_framework.hub.addons.configs import hash_annotation
from addon_framework.hub.addons.health import available
from addon_framework.hub.addons.identity import permissions, registration_status, role_name
from addon_framework.hub.addons.install import spec_changed
from addon_framework.hub.addons.lookup import DEPLOY_LABELS, addon_of_labelled, works_of
from addon_framework.hub.addons.packing import TooLarge
from addon_framework.hub.addons.values import BadValues, decorate, install_namespace, render_values
from addon_framework.kube import ApiError, Conflict, Controller, Key, Watch
from addon_framework.kube.ensure import ensure, remove, write_status
from addon_framework.plugins import AddonDescription, KubeClient, Lease, Plugin, PluginError, Plugins

log = structlog.get_logger(__name__)
MANAGER = "boundaryless-addon-manager"
RETRY_PLUGIN = 30.0  # seconds: what a plug-in raised may have been about something outside
_NOT_RENDERED = (PluginError, shipping.BadManifest, TooLarge, BadValues)


class AddonDeployController(Controller):
    """ManagedClusterAddOn of a plug-in -> Role, registrations, ManifestWorks, Available."""

    name = "addon-deploy"
    workers = 16

    def __init__(self, plugins: Plugins) -> None:
        self._plugins = plugins

    def watches(self) -> list[Watch]:
        """Add-ons, what configures and what is made for them, and the clusters they are on."""
        made = [
            Watch(r, map=addon_of_labelled, label_selector=ADDON_NAME_LABEL) for r in (ROLES, ROLEBINDINGS)
        ]
        return [
            Watch(ManagedClusterAddOn.RESOURCE),
            Watch(ClusterManagementAddOn.RESOURCE, map=self._installed, predicate=spec_changed),
            Watch(ManifestWork.RESOURCE, map=addon_of_labelled, label_selector=DEPLOY_LABELS),
            Watch(ManagedCluster.RESOURCE, map=self._on_cluster, predicate=_cluster_matters),
            Watch(
                AddOnDeploymentConfig.RESOURCE, map=lambda _: ()
            ),  # its hash in the add-on's status calls us
            *made,
        ]

    async def reconcile(self, key: Key) -> float | None:
        """One add-on on one cluster, all steps on one copy of its status."""
        addon = self.cache(ManagedClusterAddOn.RESOURCE).get(key)
        plugin = self._plugins.get(key.name)
        cma = self.cache(ClusterManagementAddOn.RESOURCE).get(Key("", key.name))
        cluster = self.cache(ManagedCluster.RESOURCE).get(Key("", key.namespace))
        if addon is None or plugin is None or cma is None or cluster is None:
            return None
        if addon["metadata"].get("deletionTimestamp") or cluster["metadata"].get("deletionTimestamp"):
            return None
        owners = addon["metadata"].get("ownerReferences") or []
        if not any(owner.get("uid") == cma["metadata"]["uid"] for owner in owners):
            return None  # the owner comes first, as with OCM
        status = copy.deepcopy(addon.get("status") or {})
        conditions = status.setdefault("conditions", [])
        failure: ApiError | None = None
        delay: float | None = None
        try:
            description = plugin.describe()
            configs = self._deployment_configs(addon)
            self._describe(cma, description, configs, status)
            await self._register(addon, plugin, status)
            if self._configured(cma, addon):
                await self._deploy(cluster, addon, plugin, description, configs, status)
            self._health(cluster, key, description, conditions)
        except _NOT_RENDERED as error:
            set_condition(conditions, "ManifestApplied", "False", "ManifestWorkApplyFailed", str(error))
            delay = RETRY_PLUGIN
        except Conflict:
            raise
        except ApiError as error:
            failure = error
        await write_status(self.client, ManagedClusterAddOn.RESOURCE, addon, status)
        if failure is not None:
            raise failure
        return delay

    def _describe(
        self, cma: Json, description: AddonDescription, configs: Sequence[Json], status: Json
    ) -> None:
        supported = [{"group": c.group, "resource": c.resource} for c in description.supported_configs]
        status["supportedConfigs"] = supported
        mode = "Lease" if isinstance(description.prober, Lease) else "Customized"
        status["healthCheck"] = {**(status.get("healthCheck") or {}), "mode": mode}
        status["namespace"] = install_namespace(description, configs)
        meta = (cma.get("spec") or {}).get("addOnMeta")
        if meta:
            status["addOnMeta"] = dict(meta)

    async def _register(self, addon: Json, plugin: Plugin, status: Json) -> None:
        """Rights first, then the registration that lets the spoke ask for the certificate they go with."""
        name, cluster = addon["metadata"]["name"], addon["metadata"]["namespace"]
        conditions = status["conditions"]
        try:
            registrations = plugin.call("addon_registrations", cluster_name=cluster)
            rules = plugin.call("addon_hub_permissions", cluster_name=cluster) or []
            if registrations is None:
                registrations = [KubeClient()]
            await self._permit(addon, rules)
        except (PluginError, ApiError) as error:
            if not isinstance(error, Conflict):
                text = f"Role {role_name(name)}: {error}" if isinstance(error, ApiError) else str(error)
                set_condition(conditions, "RegistrationApplied", "False", "SetPermissionFailed", text)
            raise
        status["registrations"] = registration_status(registrations, cluster, name)
        if registrations:
            text = "Registration of the addon agent is configured"
            set_condition(conditions, "RegistrationApplied", "True", "SetPermissionApplied", text)
        else:
            text = "Registration of the addon agent is not needed"
            set_condition(conditions, "RegistrationApplied", "True", "NilRegistration", text)

    async def _permit(self, addon: Json, rules: Sequence[Json]) -> None:
        role, binding = permissions(addon, rules)
        for resource, desired in ((ROLES, role), (ROLEBINDINGS, binding)):
            live = self._live(resource, desired)
            if not rules:
                await remove(self.client, resource, live)
            elif resource is ROLES and live is not None and live.get("rules") != desired["rules"]:
                # Rules in fewer words than before must not be taken for rules that are there.
                await self.client.apply(desired, field_manager=MANAGER, resource=resource)
            else:
                await ensure(self.client, live, desired, field_manager=MANAGER, resource=resource)

    def _live(self, resource: Resource, desired: Json) -> Json | None:
        key = Key(desired["metadata"]["namespace"], desired["metadata"]["name"])
        found: Json | None = self.cache(resource, label_selector=ADDON_NAME_LABEL).get(key)
        return found

    def _configured(self, cma: Json, addon: Json) -> bool:
        supported = (cma.get("spec") or {}).get("supportedConfigs")
        return not supported or is_true(addon, "Configured")

    async def _deploy(
        self,
        cluster: Json,
        addon: Json,
        plugin: Plugin,
        description: AddonDescription,
        configs: Sequence[Json],
        status: Json,
    ) -> None:
        conditions = status["conditions"]
        key = Key(addon["metadata"]["namespace"], addon["metadata"]["name"])
        values = render_values(cluster, addon, status["namespace"], configs)
        manifests, notes = self._render(cluster, addon, plugin, values, configs)
        present = {work["metadata"]["name"]: work for work in works_of(self, key)}
        references = status.get("configReferences") or []
        wanted = shipping.build(
            addon,
            manifests,
            health=description.prober,
            manifest_configs=description.manifest_configs,
            config_hashes=hash_annotation(references),
            present=present.values(),
        )
        try:
            for work in wanted:
                live = present.get(work["metadata"]["name"])
                if live is not None and live["metadata"].get("deletionTimestamp"):
                    continue  # of an earlier life of this add-on; once it is gone we are called again
                if live is None or not shipping.same_work(live, work):
                    await self.client.apply(work, field_manager=MANAGER, resource=ManifestWork.RESOURCE)
                    log.info("work shipped", cluster=key.namespace, work=work["metadata"]["name"])
            names = {work["metadata"]["name"] for work in wanted}
            gone = [
                remove(self.client, ManifestWork.RESOURCE, w) for n, w in present.items() if n not in names
            ]
            await asyncio.gather(*gone)
        except ApiError as error:
            if not isinstance(error, Conflict):
                set_condition(
                    conditions, "ManifestApplied", "False", "ManifestWorkApplyFailed", error.message
                )
            raise
        text = "; ".join(["manifests of addon are applied successfully", *notes])
        set_condition(conditions, "ManifestApplied", "True", "AddonManifestApplied", text)

    def _render(
        self,
        cluster: Json,
        addon: Json,
        plugin: Plugin,
        values: Mapping[str, Any],
        configs: Sequence[Json],
    ) -> tuple[list[Json], list[str]]:
        """The manifests as shipped, and what a person should know about them."""
        rendered = plugin.call("addon_manifests", cluster=cluster, addon=addon, values=values) or []
        shipping.check(rendered)
        manifests, notes = decorate(rendered, configs), []
        for other in self._plugins:
            try:
                changed = other.call("mutate_manifests", cluster=cluster, addon=addon, manifests=manifests)
            except PluginError as error:
                notes.append(f"left unchanged by {other.name}: {error}")
                continue
            if changed is not None:
                manifests = list(changed)
        return manifests, notes

    def _deployment_configs(self, addon: Json) -> list[Json]:
        resource = AddOnDeploymentConfig.RESOURCE
        found = []
        for entry in (addon.get("status") or {}).get("configReferences") or []:
            desired = entry.get("desiredConfig") or {}
            if (entry.get("group"), entry.get("resource")) == (resource.group, resource.plural):
                key = Key(desired.get("namespace", ""), desired.get("name", ""))
                if (config := self.cache(resource).get(key)) is not None:
                    found.append(config)
        return found

    def _health(self, cluster: Json, key: Key, description: AddonDescription, conditions: list[Json]) -> None:
        reachable = get_condition(cluster, CONDITION_AVAILABLE)
        if reachable is not None and reachable["status"] == "Unknown":
            return  # what the works say is old; registration has set the add-on Unknown
        verdict = available(description.prober, works_of(self, key))
        if verdict is not None:
            set_condition(conditions, "Available", *verdict)

    # From an event to add-ons

    def _installed(self, cma: Json) -> Iterable[Key]:
        cache = self.cache(ManagedClusterAddOn.RESOURCE)
        cache.add_index("addon", lambda addon: [addon["metadata"]["name"]])
        for addon in cache.by_index("addon", cma["metadata"]["name"]):
            yield Key(addon["metadata"]["namespace"], addon["metadata"]["name"])

    def _on_cluster(self, cluster: Json) -> Iterable[Key]:
        for addon in self.cache(ManagedClusterAddOn.RESOURCE).in_namespace(cluster["metadata"]["name"]):
            yield Key(addon["metadata"]["namespace"], addon["metadata"]["name"])


def _cluster_matters(old: Json | None, new: Json | None) -> bool:
    """What of a cluster an add-on may depend on: labels, annotations, claims, whether it is there."""
    if old is None or new is None:
        return True

    def facts(cluster: Json) -> object:
        metadata, status = cluster["metadata"], cluster.get("status") or {}
        reachable = get_condition(cluster, CONDITION_AVAILABLE)
        return (
            metadata.get("labels"),
            metadata.get("annotations"),
            metadata.get("deletionTimestamp"),
            status.get("clusterClaims"),
            reachable and reachable["status"],
        )

    return facts(old) != facts(new)
