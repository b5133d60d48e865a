"""From a plug-in to a cluster: hub identity, manifests as ManifestWorks, health, in the add-on's status."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime

from addon_framework.api.addon import (
    AddOnDeploymentConfig,
    AddOnTemplate,
    ClusterManagementAddOn,
    ManagedClusterAddOn,
)
from addon_framework.api.cluster import ManagedCluster
from addon_framework.api.conditions import get_condition, is_true, set_condition
from addon_framework.api.meta import Json, copy_json
from addon_framework.api.names import CONDITION_AVAILABLE
from addon_framework.api.work import ManifestWork
from addon_framework.hub.acceptance import is_accepted
from addon_framework.hub.addons.configs import spec_hash
from addon_framework.hub.addons.delivery import deliver, discard
from addon_framework.hub.addons.health import Verdict, available, degraded, set_degraded
from addon_framework.hub.addons.identity import registration_status, role_name, uses_tokens
from addon_framework.hub.addons.install import spec_changed
from addon_framework.hub.addons.lookup import addon_of_labelled, works_of
from addon_framework.hub.addons.places import (
    HOSTING_CLEANUP,
    OURS,
    Place,
    home_of,
    hosting_cluster,
    place_of,
    sort_out,
)
from addon_framework.hub.addons.predelete import deadline_of, split_hooks, unreachable
from addon_framework.hub.addons.removal import MANAGER, finish
from addon_framework.hub.addons.rendering import NOT_RENDERED, is_hosted, render
from addon_framework.hub.addons.rights import grant, rights_watches
from addon_framework.hub.addons.rollouts import is_progressive
from addon_framework.hub.addons.sources import BUSY, RETRY_PLUGIN, source_of
from addon_framework.hub.addons.template import template_name
from addon_framework.hub.addons.values import (
    install_namespace,
)
from addon_framework.kube import ApiError, Conflict, Controller, Key, Watch, key_of
from addon_framework.kube.ensure import set_finalizers, write_status
from addon_framework.plugins import (
    AddonDescription,
    KubeClient,
    Lease,
    Plugin,
    PluginBusy,
    PluginError,
    Plugins,
    Work,
)


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
            Watch(ManifestWork.RESOURCE, map=addon_of_labelled),
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
            return await self._remove(cma, cluster, addon, plugin)
        if plugin is None or cma is None or cluster is None or cluster["metadata"].get("deletionTimestamp"):
            return None
        owners = addon["metadata"].get("ownerReferences") or []
        if not any(owner.get("uid") == cma["metadata"]["uid"] for owner in owners):
            return None  # the owner comes first, as with OCM
        status = copy_json(addon.get("status") or {})
        conditions = status.setdefault("conditions", [])
        if not (accepted := is_accepted(cluster)):
            # A certificate cannot be taken back; what it is good for can.
            await grant(self, key, addon, (), MANAGER)
            text = f"the hub does not accept cluster {key.namespace}: the agent has no rights on it"
            set_condition(conditions, "RegistrationApplied", "False", "ClusterNotAccepted", text)
        failure: ApiError | None = None
        delay: float | None = None
        try:
            places = self._places(addon, plugin.describe(), conditions)
            # Otherwise what was shipped stays, until the status has the hash of what the configs say now.
            if not is_progressive(cma) or self._has_its_turn(addon):
                self._describe(cma, plugin.describe(), self._deployment_configs(addon), status)
                if accepted:
                    await self._register(addon, plugin, status)
                if self._configured(cma, addon) and not await self._deploy(
                    cluster, addon, plugin, status, places
                ):
                    return None  # that write calls us again
            delay = await self._health(cluster, key, plugin, places, conditions)
        except PluginBusy:
            return BUSY
        except NOT_RENDERED as error:
            set_condition(conditions, "ManifestApplied", "False", "ManifestWorkApplyFailed", str(error))
            set_degraded(conditions, Verdict("True", "ManifestsNotMade", str(error)))
            delay = RETRY_PLUGIN
        except Conflict:
            raise
        except ApiError as error:
            failure = error
        await write_status(self.client, ManagedClusterAddOn.RESOURCE, addon, status)
        if failure is not None:
            raise failure
        return delay

    def _places(self, addon: Json, description: AddonDescription, conditions: list[Json]) -> list[Place]:
        """The clusters that get manifests, and the condition HostingClusterValidity."""
        name, hosting, problem = hosting_cluster(addon), None, ""
        if name is None:
            gone = ("HostingClusterValidity", "HostingManifestApplied")
            conditions[:] = [c for c in conditions if c.get("type") not in gone]
            return [home_of(addon)]
        if not description.hosted:
            problem = f"add-on {addon['metadata']['name']} has no hosted mode: its agent runs on its cluster"
        elif (hosting := self.cache(ManagedCluster.RESOURCE).get(Key("", name))) is None:
            problem = f"hosting cluster {name} is not a managed cluster of the hub"
        if problem:
            set_condition(conditions, "HostingClusterValidity", "False", "HostingClusterInvalid", problem)
        else:
            text = f"hosting cluster {name} is a managed cluster of the hub"
            set_condition(conditions, "HostingClusterValidity", "True", "HostingClusterValid", text)
        if hosting is None or hosting["metadata"].get("deletionTimestamp"):
            return [home_of(addon)]
        return [home_of(addon), Place(name, hosting=True)]

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
            registrations = await plugin.ask("addon_registrations", cluster_name=cluster)
            wanted = await plugin.ask("addon_hub_permissions", cluster_name=cluster) or []
            if registrations is None:
                registrations = [KubeClient()]
            await grant(self, Key(cluster, name), addon, wanted, MANAGER)
        except (PluginError, ApiError) as error:
            if not isinstance(error, Conflict):
                text = f"Role {role_name(name)}: {error}" if isinstance(error, ApiError) else str(error)
                set_condition(conditions, "RegistrationApplied", "False", "SetPermissionFailed", text)
            raise
        tokens = uses_tokens(addon)
        status["registrations"] = registration_status(registrations, cluster, name, tokens=tokens)
        if registrations:
            text = "Registration of the addon agent is configured"
            set_condition(conditions, "RegistrationApplied", "True", "SetPermissionApplied", text)
        else:
            text = "Registration of the addon agent is not needed"
            set_condition(conditions, "RegistrationApplied", "True", "NilRegistration", text)

    def _configured(self, cma: Json, addon: Json) -> bool:
        supported = (cma.get("spec") or {}).get("supportedConfigs")
        return not supported or is_true(addon, "Configured")

    async def _deploy(
        self, cluster: Json, addon: Json, plugin: Plugin, status: Json, places: list[Place]
    ) -> bool:
        """Ship the works; False when finalizers had to be written, before what they are for or after it."""
        conditions, metadata = status["conditions"], addon["metadata"]
        rendered, notes = await self._render(cluster, addon, plugin, status["namespace"])
        manifests, finalizers = {}, set()
        for place, mine in sort_out(rendered, places, hosted=is_hosted(addon, plugin)).items():
            manifests[place], hooks = split_hooks(mine)
            finalizers |= ({place.pre_delete} if hooks else set()) | (
                {HOSTING_CLEANUP} if place.hosting else set()
            )
        held = metadata.get("finalizers") or []
        if missing := finalizers.difference(held):
            wanted = [*held, *sorted(missing)]
            await set_finalizers(self.client, ManagedClusterAddOn.RESOURCE, addon, wanted)
            return False
        present = works_of(self, key_of(addon))
        references = status.get("configReferences") or []
        for place, mine in manifests.items():
            try:
                found = await deliver(self.client, addon, place, mine, plugin.describe(), references, present)
            except ApiError as error:
                if not isinstance(error, Conflict):
                    text = error.message
                    set_condition(conditions, place.applied, "False", "ManifestWorkApplyFailed", text)
                raise
            if found is not None:
                text = "; ".join([found.message, *notes])
                set_condition(conditions, place.applied, found.status, found.reason, text)
            elif (before := get_condition(conditions, place.applied)) and before["status"] == "False":
                conditions.remove(before)  # of what was there before
        await discard(self.client, [work for work in present if place_of(work) not in manifests])
        if (OURS & set(held)) - finalizers:
            wanted = [each for each in held if each in finalizers or each not in OURS]
            await set_finalizers(self.client, ManagedClusterAddOn.RESOURCE, addon, wanted)
            return False
        return True

    async def _remove(
        self, cma: Json | None, cluster: Json | None, addon: Json, plugin: Plugin | None
    ) -> float | None:
        """See the pre-delete hooks through; afterwards owners take the rest along."""
        finalizers = OURS.intersection(addon["metadata"].get("finalizers") or [])
        if not finalizers or (plugin is None and not (self._templates and template_name(addon))):
            return None  # none are left, or another manager's add-on
        hooks: dict[Place, list[Json]] = {}
        default, problems = AddonDescription(name="").pre_delete_deadline, []
        if cluster is not None and plugin is not None:
            try:
                default = plugin.describe().pre_delete_deadline
                places = self._places(addon, plugin.describe(), [])
                namespace = (addon.get("status") or {}).get("namespace", "")
                rendered, _ = await self._render(cluster, addon, plugin, namespace)
                parts = sort_out(rendered, places, hosted=is_hosted(addon, plugin))
                hooks = {p: split_hooks(mine)[1] for p, mine in parts.items() if p.pre_delete in finalizers}
            except PluginBusy:
                return BUSY
            except NOT_RENDERED as error:
                problems = [str(error)] if finalizers - {HOSTING_CLEANUP} else []
        deadline, note = deadline_of(default, addon, cma)
        notes = [note, unreachable(cluster)]
        return await finish(
            self, addon, hooks, problems=problems, notes=notes, deadline=deadline, now=self._now()
        )

    async def _render(
        self, cluster: Json, addon: Json, plugin: Plugin, namespace: str
    ) -> tuple[list[Json], list[str]]:
        configs = self._deployment_configs(addon)
        return await render(plugin, self._plugins, cluster, addon, namespace, configs)

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

    async def _health(
        self, cluster: Json, key: Key, plugin: Plugin, places: list[Place], conditions: list[Json]
    ) -> float | None:
        reachable = get_condition(cluster, CONDITION_AVAILABLE)
        if reachable is not None and reachable["status"] == "Unknown":
            return None  # what the works say is old; registration has set the add-on Unknown
        works = [work for work in works_of(self, key) if place_of(work) in places]
        health, delay = plugin.describe().prober, None
        if isinstance(health, Work) and health.check is not None:
            try:
                verdict = await plugin.watch_over("the health check", lambda: available(health, works))
            except PluginBusy:
                raise
            except PluginError as error:
                verdict, delay = Verdict("Unknown", "NoProbeResult", str(error)), RETRY_PLUGIN
        else:
            verdict = available(health, works)
        for place in places:
            hosting = self.cache(ManagedCluster.RESOURCE).get(Key("", place.cluster))
            if place.hosting and verdict is not None and (text := unreachable(hosting)):
                verdict = Verdict("Unknown", "HostingClusterNotAvailable", text)
        if verdict is not None:
            set_condition(conditions, "Available", *verdict)
        set_degraded(conditions, degraded(works))
        return delay

    # From an event to add-ons

    def _installed(self, cma: Json) -> Iterable[Key]:
        cache = self.cache(ManagedClusterAddOn.RESOURCE)
        cache.add_index("addon", lambda addon: [addon["metadata"]["name"]])
        return cache.keys_by_index("addon", cma["metadata"]["name"])

    def _on_cluster(self, cluster: Json) -> Iterable[Key]:
        cache, name = self.cache(ManagedClusterAddOn.RESOURCE), cluster["metadata"]["name"]
        cache.add_index("hosting", lambda addon: filter(None, [hosting_cluster(addon)]))
        return [*cache.keys_in_namespace(name), *cache.keys_by_index("hosting", name)]


def _cluster_matters(old: Json | None, new: Json | None) -> bool:
    """What of a cluster an add-on may depend on: acceptance, labels, annotations, claims, its being there."""
    if old is None or new is None:
        return True

    def facts(cluster: Json) -> object:
        metadata, status = cluster["metadata"], cluster.get("status") or {}
        reachable = get_condition(cluster, CONDITION_AVAILABLE)
        return (
            is_accepted(cluster),
            metadata.get("labels"),
            metadata.get("annotations"),
            metadata.get("deletionTimestamp"),
            status.get("clusterClaims"),
            reachable and reachable["status"],
        )

    return facts(old) != facts(new)
