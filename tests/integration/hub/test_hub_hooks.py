"""Hooks that the hub asks of every plug-in, or once: what they give is used, a failure stays their own."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import uuid
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from addon_framework.api.addon import ClusterManagementAddOn, ManagedClusterAddOn
from addon_framework.api.cluster import ManagedClusterSetBinding, Placement, PlacementDecision
from addon_framework.api.core import CLUSTERROLEBINDINGS, CONFIGMAPS, CRDS, CSRS
from addon_framework.api.work import ManifestWork
from addon_framework.hub.roles import BOOTSTRAP_ROLE
from addon_framework.kube import Client, Controller, Key, Watch
from addon_framework.local.pki import Authority
from addon_framework.plugins import AddonDescription, CustomSigner, NoProbe, Registration, hookimpl
from tests.integration.hub.conftest import Hub
from tests.integration.hub.objects import (
    Json,
    binding,
    labelled,
    management_addon,
    placement,
    score_policy,
)
from tests.unit.hub.certificates import csr_to_create


class Greeting(Controller):
    """Answers every ConfigMap that says hello."""

    name = "greeting"

    def __init__(self, label: str) -> None:
        self._label = label

    def watches(self) -> list[Watch]:
        return [Watch(CONFIGMAPS, label_selector=self._label)]

    async def reconcile(self, key: Key) -> float | None:
        found = self.cache(CONFIGMAPS, label_selector=self._label).get(key)
        if found is not None and "answer" not in found.get("data", {}):
            await self.client.patch(CONFIGMAPS, key.name, {"data": {"answer": "hi"}}, key.namespace)
        return None


class Everything:
    """An add-on that implements the hooks under test."""

    def __init__(self, name: str, namespace: str) -> None:
        self.name, self.namespace = name, namespace
        self.seen: list[tuple[list[str], list[str]]] = []
        self.best = ""
        self.declined: list[str] = []

    @hookimpl
    def addon_describe(self) -> AddonDescription:
        return AddonDescription(name=self.name, health=NoProbe)

    @hookimpl
    def addon_manifests(self) -> list[Json]:
        metadata = {"name": "m", "namespace": "n"}
        return [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}]

    @hookimpl
    def addon_registrations(self) -> list[Registration]:
        return [CustomSigner("example.com/own")]

    @hookimpl
    def addon_csr_approve(self, csr: Json) -> bool | None:
        if csr["metadata"]["labels"].get("decline"):
            self.declined.append(csr["metadata"]["name"])
            return False
        return None

    @hookimpl
    def addon_csr_sign(self, csr: Json) -> bytes:
        request = x509.load_pem_x509_csr(base64.b64decode(csr["spec"]["request"]))
        return Authority.create("of the plug-in").sign(request, ["client auth"])

    @hookimpl
    def addon_hub_controllers(self) -> list[Controller]:
        return [Greeting(f"greet={self.name}")]

    @hookimpl
    def addon_hub_manifests(self) -> list[Json]:
        metadata = {"name": self.name, "namespace": self.namespace}
        return [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}]

    @hookimpl
    def mutate_manifests(self, addon: Json, manifests: list[Json]) -> list[Json] | None:
        if addon["metadata"]["name"] != self.name:
            return None
        return [{**obj, "metadata": {**obj["metadata"], "labels": {"mutated": "yes"}}} for obj in manifests]

    @hookimpl
    def placement_scores(self, clusters: list[Json]) -> dict[str, int]:
        names = [cluster["metadata"]["name"] for cluster in clusters]
        return {name: 100 if name == self.best else -100 for name in names}

    @hookimpl
    def decision_observed(self, placement: Json, added: list[str], removed: list[str]) -> None:
        if placement["metadata"]["namespace"] == self.namespace:
            self.seen.append((sorted(added), sorted(removed)))


async def test_the_hooks_of_the_hub_are_used(quiet_hub: Hub, namespace: str) -> None:
    hub, client = quiet_hub, quiet_hub.client
    plugin = Everything(f"all-{uuid.uuid4().hex[:8]}", namespace)
    hub.plugins.add(plugin.name, plugin)
    await hub.start()
    mark = uuid.uuid4().hex[:8]
    first, second = await asyncio.gather(hub.cluster(test=mark), hub.cluster(test=mark))
    await hub.until(lambda: client.get(CONFIGMAPS, plugin.name, namespace))  # addon_hub_manifests

    greeted = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "greeted", "namespace": namespace, "labels": {"greet": plugin.name}},
    }
    await client.create(CONFIGMAPS, greeted)

    async def answered() -> bool:
        return bool((await client.get(CONFIGMAPS, "greeted", namespace))["data"]["answer"] == "hi")

    await hub.until(answered)  # addon_hub_controllers

    await hub.create(ClusterManagementAddOn.RESOURCE, management_addon(plugin.name))
    resource = ManagedClusterAddOn.RESOURCE
    metadata = {"name": plugin.name, "namespace": first}
    addon = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, "spec": {}}
    await client.create(resource, addon)
    name = f"addon-{plugin.name}-deploy-0"
    work = await hub.until(lambda: client.get(ManifestWork.RESOURCE, name, first))
    [shipped] = work["spec"]["workload"]["manifests"]
    assert shipped["metadata"]["labels"] == {"mutated": "yes"}  # mutate_manifests

    plugin.best = second
    await client.create(ManagedClusterSetBinding.RESOURCE, binding(namespace))
    policy = score_policy(plugin.name)
    wanted = placement(
        namespace, predicates=labelled("test", mark), numberOfClusters=1, prioritizerPolicy=policy
    )
    await client.create(Placement.RESOURCE, wanted)

    async def decided() -> list[str]:
        found = await client.list(PlacementDecision.RESOURCE, namespace)
        return [d["clusterName"] for o in found["items"] for d in (o.get("status") or {})["decisions"]]

    assert await hub.until(decided) == [second]  # placement_scores

    async def observed() -> bool:
        return ([second], []) in plugin.seen

    await hub.until(observed)  # decision_observed


async def test_a_plugin_declines_and_signs_requests(quiet_hub: Hub, namespace: str) -> None:
    hub, client = quiet_hub, quiet_hub.client
    plugin = Everything(f"own-{uuid.uuid4().hex[:8]}", namespace)
    hub.plugins.add(plugin.name, plugin)
    await hub.start()
    cluster = await hub.cluster()
    await hub.create(ClusterManagementAddOn.RESOURCE, management_addon(plugin.name))
    resource = ManagedClusterAddOn.RESOURCE
    metadata = {"name": plugin.name, "namespace": cluster}
    addon = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, "spec": {}}
    await client.create(resource, addon)

    async def registered() -> list[Json]:
        return list((await client.get(resource, plugin.name, cluster))["status"]["registrations"])

    [registration] = await hub.until(registered)
    agent = f"system:open-cluster-management:{cluster}:agent"
    group = "rbac.authorization.k8s.io"
    rights = {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": plugin.name},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": BOOTSTRAP_ROLE},
        "subjects": [{"apiGroup": group, "kind": "User", "name": agent}],
    }
    await hub.create(CLUSTERROLEBINDINGS, rights)

    async def ask(**more: str) -> str:
        labels = {
            "open-cluster-management.io/cluster-name": cluster,
            "open-cluster-management.io/addon-name": plugin.name,
            **more,
        }
        key, subject = ec.generate_private_key(ec.SECP256R1()), registration["subject"]
        prefix = f"addon-{cluster}-{plugin.name}-"
        request = csr_to_create(key, prefix, labels, subject["user"], subject["groups"])
        request["spec"]["signerName"] = "example.com/own"
        async with Client(dataclasses.replace(client.config, impersonate=agent)) as spoke:
            made = await hub.until(lambda: spoke.create(CSRS, request))
        return str(made["metadata"]["name"])

    unwanted = await ask(decline="yes")

    async def declined() -> bool:
        return unwanted in plugin.declined

    await hub.until(declined)
    wanted = await ask()

    async def signed() -> str:
        found = await client.get(CSRS, wanted)
        return str((found.get("status") or {}).get("certificate") or "")

    certificate = x509.load_pem_x509_certificate(base64.b64decode(await hub.until(signed)))
    assert "of the plug-in" in certificate.issuer.rfc4514_string()
    assert not (await client.get(CSRS, unwanted)).get("status", {}).get("conditions")


class Kinds:
    """A plug-in with a kind that somebody else has installed, and one of its own."""

    def __init__(self, name: str, groups: Sequence[str]) -> None:
        self.name, self.groups = name, groups

    @hookimpl
    def addon_describe(self) -> AddonDescription:
        return AddonDescription(name=self.name, health=NoProbe)

    @hookimpl
    def addon_hub_manifests(self) -> list[Json]:
        return [definition(group, "ours") for group in self.groups]


def definition(group: str, whose: str) -> Json:
    schema = {"type": "object", "description": whose}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"kind": "Thing", "plural": "things", "singular": "thing", "listKind": "ThingList"}
    return {
        "apiVersion": CRDS.api_version,
        "kind": CRDS.kind,
        "metadata": {"name": f"things.{group}"},
        "spec": {"group": group, "names": names, "scope": "Namespaced", "versions": [version]},
    }


async def test_kinds_that_somebody_else_has_installed_are_theirs(quiet_hub: Hub) -> None:
    hub, client = quiet_hub, quiet_hub.client
    mark = uuid.uuid4().hex[:8]
    theirs, own = f"a-{mark}.example.com", f"b-{mark}.example.com"
    plugin = Kinds(f"kinds-{mark}", [theirs, own])
    hub.plugins.add(plugin.name, plugin)
    await client.apply(definition(theirs, "theirs"), field_manager="helm", resource=CRDS)
    await hub.start()
    await hub.until(lambda: client.get(CRDS, f"things.{own}"))
    live = await client.get(CRDS, f"things.{theirs}")
    schema = live["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    assert schema["description"] == "theirs"
    for group in (theirs, own):
        await client.delete(CRDS, f"things.{group}")
