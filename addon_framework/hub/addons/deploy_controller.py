"""From a plug-in to a cluster: hub identity, manifests as ManifestWorks, health, in the add-on's status."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime

import structlog

from addon_framework.api.addon import (
    AddOnDeploymentConfig,
    AddOnTemplate,
    ClusterManagementAddOn,
    ManagedClusterAddOn,
)
from addon_framework.api.cluster import ManagedCluster
from addon_framework.api.conditions import get_condition, is_true, set_condition
from addon_framework.api.meta import Json
from addon_framework.api.names import CONDITION_AVAILABLE
from addon_framework.api.work import ManifestWork
from addon_framework.hub.addons import works as shipping
from addon_framework.hub.addons.configs import hash_annotation, spec_hash
from addon_framework.hub.addons.health import available
from addon_framework.hub.addons.identity import registration_status, role_name
from addon_framework.hub.addons.install import spec_changed
from addon_framework.hub.addons.lookup import DEPLOY_LABELS, addon_of_labelled, works_of
from addon_framework.hub.addons.packing import TooLarge
from addon_framework.hub.addons.predelete import PRE_DELETE, split_hooks
from addon_framework.hub.addons.removal import MANAGER, finish
from addon_framework.hub.addons.rights import grant, rights_watches
from addon_framework.hub.addons.rollouts import is_progressive
from addon_framework.hub.addons.sources import source_of
from addon_framework.hub.addons.template import TemplateAddon
from addon_framework.hub.addons.values import (
    BadValues,
    decorate,
    install_namespace,
    mirrors_of,
    moves,
    relocate,
    render_values,
)
from addon_framework.kube import ApiError, Conflict, Controller, Key, Watch
from addon_framework.kube.ensure import remove, set_finalizers, write_status
from addon_framework.plugins import AddonDescription, KubeClient, Lease, Plugin, PluginError, Plugins

log = structlog.get_logger(__name__)

RETRY_PLUGIN = 30.0  # seconds: what a plug-in raised may have been about something outside
_NOT_RENDERED = (PluginError, shipping.BadManifest, TooLarge, BadValues)


class AddonDeployController(Controller):
    """ManagedClusterAddOn of a plug-in -> Role, registrations, ManifestWorks, Available."""

    name = "addon-deploy"
    workers = 16

    def __init__(
        self,
        plugins: Plugins,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        *,
        templates: bool = True,
    ) -> None:
        self._plugins, self._now, self._templates = plugins, now, templates

    def watches(self) -> list[Watch]:
        """Add-ons, what configures and what is made for them, and the clusters they are on."""
        return [
            Watch(ManagedClusterAddOn.RESOURCE),
            Watch(ClusterManagementAddOn.RESOURCE, map=self._installed, predicate=spec_changed),
            Watch(ManifestWork.RESOURCE, map=addon_of_labelled, label_selector=DEPLOY_LABELS),
            Watch(ManagedCluster.RESOURCE, map=self._on_cluster, predicate=_cluster_matters),
            # Their hashes in the add-on's status call us.
            *(Watch(r, map=lambda _: ()) for r in (AddOnDeploymentConfig.RESOURCE, AddOnTemplate.RESOURCE)),
            *rights_watches(),
        ]

    async def reconcile(self, key: Key) -> float | None:
        """One add-on on one cluster, all steps on one copy of its status."""
        addon = self.cache(ManagedClusterAddOn.RESOURCE).get(key)
        if addon is None:
            await grant(self, key, None, (), MANAGER)  # what lies in other namespaces has no owner to go with
            return None
        plugin = source_of(self, self._plugins, addon, templates=self._templates)
        cma = self.cache(ClusterManagementAddOn.RESOURCE).get(Key("", key.name))
        cluster = self.cache(ManagedCluster.RESOURCE).get(Key("", key.namespace))
        if addon["metadata"].get("deletionTimestamp"):
            return await self._remove(cluster, addon, plugin)
        if plugin is None or cma is None or cluster is None or cluster["metadata"].get("deletionTimestamp"):
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
            # Otherwise what was shipped stays, until the status has the hash of what the configs say now.
            if not is_progressive(cma) or self._has_its_turn(addon):
                self._describe(cma, description, self._deployment_configs(addon), status)
                await self._register(addon, plugin, status)
                if self._configured(cma, addon) and not await self._deploy(cluster, addon, plugin, status):
                    return None  # that write calls us again
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
            wanted = plugin.call("addon_hub_permissions", cluster_name=cluster) or []
            if registrations is None:
                registrations = [KubeClient()]
            await grant(self, Key(cluster, name), addon, wanted, MANAGER)
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

    def _configured(self, cma: Json, addon: Json) -> bool:
        supported = (cma.get("spec") or {}).get("supportedConfigs")
        return not supported or is_true(addon, "Configured")

    async def _deploy(self, cluster: Json, addon: Json, plugin: Plugin, status: Json) -> bool:
        """Ship the works; False when a finalizer had to be written first."""
        conditions = status["conditions"]
        key = Key(addon["metadata"]["namespace"], addon["metadata"]["name"])
        rendered, notes = self._render(cluster, addon, plugin, status["namespace"])
        manifests, hooks = split_hooks(rendered)
        finalizers = addon["metadata"].get("finalizers") or []
        if bool(hooks) != (PRE_DELETE in finalizers):
            others = [each for each in finalizers if each != PRE_DELETE]
            wanted = [*others, PRE_DELETE] if hooks else others
            await set_finalizers(self.client, ManagedClusterAddOn.RESOURCE, addon, wanted)
            return False
        description = plugin.describe()
        present = {work["metadata"]["name"]: work for work in works_of(self, key)}
        references = status.get("configReferences") or []
        works = shipping.build(
            addon,
            manifests,
            health=description.prober,
            manifest_configs=description.manifest_configs,
            config_hashes=hash_annotation(references),
            present=present.values(),
        )
        try:
            for work in works:
                live = present.get(work["metadata"]["name"])
                if live is not None and live["metadata"].get("deletionTimestamp"):
                    continue  # of an earlier life of this add-on; once it is gone we are called again
                if live is None or not shipping.same_work(live, work):
                    await self.client.apply(work, field_manager=MANAGER, resource=ManifestWork.RESOURCE)
                    log.info("work shipped", cluster=key.namespace, work=work["metadata"]["name"])
            names = {work["metadata"]["name"] for work in works}
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
        return True

    async def _remove(self, cluster: Json | None, addon: Json, plugin: Plugin | None) -> float | None:
        """See the pre-delete hooks through; afterwards owners take the rest along."""
        if PRE_DELETE not in (addon["metadata"].get("finalizers") or []):
            return None
        hooks: list[Json] = []
        deadline, problem = AddonDescription(name="").pre_delete_deadline, ""
        if cluster is not None and plugin is not None:
            try:
                deadline = plugin.describe().pre_delete_deadline
                namespace = (addon.get("status") or {}).get("namespace", "")
                hooks = split_hooks(self._render(cluster, addon, plugin, namespace)[0])[1]
            except _NOT_RENDERED as error:
                problem = str(error)
        return await finish(self, addon, hooks, problem=problem, deadline=deadline, now=self._now())

    def _render(
        self, cluster: Json, addon: Json, plugin: Plugin, namespace: str
    ) -> tuple[list[Json], list[str]]:
        """The manifests as shipped, and what a person should know about them."""
        configs, notes = self._deployment_configs(addon), []
        values = render_values(cluster, addon, namespace, configs)
        manifests = plugin.call("addon_manifests", cluster=cluster, addon=addon, values=values) or []
        shipping.check(manifests)
        if isinstance(template := plugin.load(), TemplateAddon) and (unset := template.unset(values)):
            notes.append(f"variables without a value: {', '.join(unset)}")
        if moves(plugin.describe(), configs):
            manifests = relocate(manifests, namespace)
        manifests = decorate(manifests, configs, name=addon["metadata"]["name"], mirrors=mirrors_of(cluster))
        for other in self._plugins:
            try:
                changed = other.call("mutate_manifests", cluster=cluster, addon=addon, manifests=manifests)
            except PluginError as error:
                notes.append(f"left unchanged by {other.name}: {error}")
                continue
            if changed is not None:
                manifests = list(changed)
        return manifests, notes

    def _has_its_turn(self, addon: Json) -> bool:
        for entry in (addon.get("status") or {}).get("configReferences") or []:
            for resource in (AddOnDeploymentConfig.RESOURCE, AddOnTemplate.RESOURCE):
                if (entry.get("group"), entry["resource"]) == (resource.group, resource.plural):
                    desired = entry.get("desiredConfig") or {}
                    live = self.cache(resource).get(
                        Key(desired.get("namespace", ""), desired.get("name", ""))
                    )
                    if live is None or spec_hash(live) != desired.get("specHash"):
                        return False
        return True

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
