"""InferenceDeployment -> Placement -> one ManifestWork per chosen cluster -> status."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

import structlog

from addon_framework.api.cluster import ManagedCluster
from addon_framework.api.conditions import get_condition
from addon_framework.api.core import ROLEBINDINGS, ROLES, SECRETS
from addon_framework.api.meta import Json, Resource
from addon_framework.hub.acceptance import acceptance_changed, is_accepted
from addon_framework.hub.addons.lookup import placement_of
from addon_framework.hub.addons.works import same_work
from addon_framework.hub.placement.decisions import clusters_of
from addon_framework.kube import ApiError, Controller, Key, Watch, key_of
from addon_framework.kube.ensure import ensure, remove, set_finalizers, write_status
from addon_framework.plugins import ENGINES, PluginError, Plugins, discover
from addons.cache_runtime.hub.payload import secret_keys
from addons.cache_runtime.hub.rivals import AGAIN, TAKEN, rival
from addons.inference_deployer.controller.hubobjects import credentials, manifest_work, placement
from addons.inference_deployer.controller.payload import InvalidSpecError, revision
from addons.inference_deployer.controller.status import (
    cluster_status,
    deleting_status,
    failed_status,
    next_status,
)
from addons.inference_deployer.engines.interface import Engine
from addons.inference_deployer.kinds import (
    FINALIZER,
    INFERENCEDEPLOYMENTS,
    MANIFESTWORKS,
    OWNER_NAME_LABEL,
    PLACEMENTDECISIONS,
    PLACEMENTS,
    owner_of,
    placement_name,
    work_name,
)

log = structlog.get_logger(__name__)

MANAGER = "inference-deployer"
CREDENTIALS = (SECRETS, ROLES, ROLEBINDINGS)
# Secrets that no model is read with, and that may be many.
_PLAIN = "type!=helm.sh/release.v1,type!=kubernetes.io/service-account-token"


class InferenceController(Controller):
    """Makes one InferenceDeployment true on the clusters that its Placement has chosen."""

    name = "inference"
    workers = 4

    def __init__(self, engines: Plugins | None = None) -> None:
        self._engines = discover(ENGINES) if engines is None else engines

    def watches(self) -> list[Watch]:
        """The deployment, what it owns, and the Secrets that it names."""
        owned = [
            Watch(resource, map=owner_of, label_selector=OWNER_NAME_LABEL)
            for resource in (MANIFESTWORKS, *CREDENTIALS)
        ]
        return [
            Watch(INFERENCEDEPLOYMENTS),
            Watch(PLACEMENTS, map=owner_of),
            Watch(PLACEMENTDECISIONS, map=self._deciders),
            *owned,
            Watch(SECRETS, map=self._readers, field_selector=_PLAIN),
            Watch(ManagedCluster.RESOURCE, map=self._delivered_to, predicate=acceptance_changed),
        ]

    async def reconcile(self, key: Key) -> float | None:
        """One InferenceDeployment."""
        deployment = self.cache(INFERENCEDEPLOYMENTS).get(key)
        if deployment is None:
            await self._remove(key, keep={})
            return None
        finalizers = deployment["metadata"].get("finalizers") or []
        if deployment["metadata"].get("deletionTimestamp"):
            if left := await self._remove(key, keep={}):
                await self._write(deployment, deleting_status(deployment, left))
            elif FINALIZER in finalizers:
                kept = [name for name in finalizers if name != FINALIZER]
                await set_finalizers(self.client, INFERENCEDEPLOYMENTS, deployment, kept)
            return None
        if FINALIZER not in finalizers:  # the event of this write brings us back
            await set_finalizers(self.client, INFERENCEDEPLOYMENTS, deployment, [*finalizers, FINALIZER])
            return None
        try:
            await self._deploy(key, deployment)
        except InvalidSpecError as error:
            await self._write(deployment, failed_status(deployment, error.reason, str(error)))
            return AGAIN if error.reason == TAKEN else None
        return None

    async def _deploy(self, key: Key, deployment: Json) -> None:
        engine, secret = self._engine(deployment), self._secret(deployment)
        manifest_work(deployment, "", engine)  # a spec that cannot be carried out is refused before any write
        if not self._owned(MANIFESTWORKS, key) and (
            taken := await rival(self.client, INFERENCEDEPLOYMENTS, deployment)
        ):
            raise InvalidSpecError(taken, reason=TAKEN)
        chooser = await self._placement(key, deployment)
        clusters = self._decided(chooser)
        if clusters is None:
            clusters = sorted(work["metadata"]["namespace"] for work in self._owned(MANIFESTWORKS, key))
        failures: list[ApiError] = []
        trusted = [c for c in clusters if secret is not None and self._is_accepted(c)]
        for cluster in clusters:
            try:
                if secret is not None and cluster in trusted:
                    await self._deliver(deployment, secret, cluster)
                await self._work(key, manifest_work(deployment, cluster, engine))
            except ApiError as error:  # one cluster's trouble is not the others'
                failures.append(error)
        keep = dict.fromkeys(CREDENTIALS, trusted)
        await self._remove(key, keep={MANIFESTWORKS: clusters, **keep})
        works = self.cache(MANIFESTWORKS, label_selector=OWNER_NAME_LABEL)
        said = [cluster_status(c, works.get(Key(c, work_name(*key))), revision(deployment)) for c in clusters]
        await self._write(deployment, next_status(deployment, said, placed=_placed(chooser)))
        if failures:
            raise failures[0]

    def _engine(self, deployment: Json) -> Engine:
        name = str((deployment["spec"].get("engine") or {}).get("name") or "vllm")
        try:
            return cast(Engine, self._engines.require(name).load())
        except PluginError as error:
            raise InvalidSpecError(f"spec.engine.name: {error}") from error

    def _is_accepted(self, cluster: str) -> bool:
        """A certificate cannot be taken back from a cluster that was let in; what it opens can."""
        return is_accepted(self.cache(ManagedCluster.RESOURCE).get(Key("", cluster)))

    def _secret(self, deployment: Json) -> Json | None:
        """The credentials on the hub, if the model needs any."""
        name = (deployment["spec"]["model"].get("credentialsRef") or {}).get("name")
        if not name:
            return None
        key = Key(deployment["metadata"]["namespace"], name)
        secret: Json | None = self.cache(SECRETS, field_selector=_PLAIN).get(key)
        field = "spec.model.credentialsRef.name"
        if secret is None:
            raise InvalidSpecError(f"{field}: there is no Secret {key}; create it", reason="NoCredentials")
        needed = secret_keys(deployment["spec"]["model"]["source"]).values()
        missing = [name for name in needed if name not in (secret.get("data") or {})]
        if missing:
            text = f"{field}: Secret {key} has no {' and no '.join(missing)}"
            raise InvalidSpecError(text, reason="NoCredentials")
        return secret

    async def _placement(self, key: Key, deployment: Json) -> Json | None:
        """Our Placement as last seen, after it was made what it should be."""
        live: Json | None = self.cache(PLACEMENTS).get(Key(key.namespace, placement_name(key.name)))
        if live is not None:
            owners = live["metadata"].get("ownerReferences") or []
            if all(owner.get("uid") != deployment["metadata"]["uid"] for owner in owners):
                raise InvalidSpecError(
                    f"metadata.name: Placement {placement_name(key.name)} exists already and is not ours; "
                    "delete it or choose another name",
                    reason="PlacementExists",
                )
        await ensure(self.client, live, placement(deployment), field_manager=MANAGER, resource=PLACEMENTS)
        return live

    def _decided(self, chooser: Json | None) -> list[str] | None:
        """The chosen clusters; None while the decisions in the cache are not those that the status counts."""
        if chooser is None or get_condition(chooser, "PlacementSatisfied") is None:
            return None
        metadata = chooser["metadata"]
        decisions = [
            decision
            for decision in self.cache(PLACEMENTDECISIONS).in_namespace(metadata["namespace"])
            if Key(metadata["namespace"], metadata["name"]) in placement_of(decision)
        ]
        decisions.sort(key=lambda decision: decision["metadata"]["name"])
        clusters = list(dict.fromkeys(c for decision in decisions for c in clusters_of(decision)))
        counted = int((chooser.get("status") or {}).get("numberOfSelectedClusters") or 0)
        return clusters if len(clusters) == counted else None

    async def _deliver(self, deployment: Json, secret: Json, cluster: str) -> None:
        """The credentials, for the agent of that cluster only."""
        for resource, obj in zip(CREDENTIALS, credentials(deployment, secret, cluster), strict=True):
            cache = self.cache(resource, label_selector=OWNER_NAME_LABEL)
            live = cache.get(Key(cluster, obj["metadata"]["name"]))
            await ensure(self.client, live, obj, field_manager=MANAGER, resource=resource)

    async def _work(self, key: Key, desired: Json) -> None:
        metadata = desired["metadata"]
        cache = self.cache(MANIFESTWORKS, label_selector=OWNER_NAME_LABEL)
        live = cache.get(Key(metadata["namespace"], metadata["name"]))
        if live is not None and (live["metadata"].get("deletionTimestamp") or same_work(live, desired)):
            return  # what is being deleted is made anew once it is gone
        await self.client.apply(desired, field_manager=MANAGER, resource=MANIFESTWORKS)
        log.info("work written", deployment=str(key), cluster=metadata["namespace"])

    async def _remove(self, key: Key, *, keep: dict[Resource, Sequence[str]]) -> list[str]:
        """Delete what is in namespaces of other clusters than those to keep; the clusters not yet clean."""
        left = set()
        for resource in (MANIFESTWORKS, *CREDENTIALS):
            for obj in self._owned(resource, key):
                cluster = obj["metadata"]["namespace"]
                if cluster not in keep.get(resource, ()) and await remove(self.client, resource, obj):
                    left.add(cluster)
        return sorted(left)

    async def _write(self, deployment: Json, status: Json) -> None:
        await write_status(self.client, INFERENCEDEPLOYMENTS, deployment, status)

    def _owned(self, resource: Resource, key: Key) -> list[Json]:
        cache = self.cache(resource, label_selector=OWNER_NAME_LABEL)
        cache.add_index("owner", lambda obj: [str(owner) for owner in owner_of(obj)])
        return cache.by_index("owner", str(key))

    def _deciders(self, decision: Json) -> Iterable[Key]:
        """The deployments whose Placement decided."""
        prefix = placement_name("")
        for chooser in placement_of(decision):
            if chooser.name.startswith(prefix):
                yield Key(chooser.namespace, chooser.name.removeprefix(prefix))

    def _delivered_to(self, cluster: Json) -> Iterable[Key]:
        """The deployments with credentials, on a cluster that is let in or rejected."""
        for deployment in self.cache(INFERENCEDEPLOYMENTS).items():
            if _secret_named(deployment):
                yield key_of(deployment)

    def _readers(self, secret: Json) -> Iterable[Key]:
        """The deployments that read their model with a Secret."""
        cache = self.cache(INFERENCEDEPLOYMENTS)
        cache.add_index("secret", _secret_named)
        metadata = secret["metadata"]
        for deployment in cache.by_index("secret", str(Key(metadata["namespace"], metadata["name"]))):
            yield Key(metadata["namespace"], deployment["metadata"]["name"])


def _secret_named(deployment: Json) -> list[str]:
    name = (deployment["spec"]["model"].get("credentialsRef") or {}).get("name")
    return [str(Key(deployment["metadata"]["namespace"], name))] if name else []


def _placed(chooser: Json | None) -> tuple[bool, str, str]:
    """Whether the Placement has found what was asked for, in its own words."""
    said = get_condition(chooser, "PlacementSatisfied") if chooser is not None else None
    if said is None:
        return False, "Undecided", "No cluster has been chosen yet: the Placement has not been decided on"
    return said["status"] == "True", said["reason"], said["message"]
