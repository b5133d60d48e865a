"""The hub's taints where OCM's webhooks have a say: they tell a taint's time, and let nobody else do it."""

from __future__ import annotations

from pathlib import Path

from addon_framework.api.cluster import ManagedCluster
from addon_framework.api.meta import Resource
from addon_framework.kube import Client
from tests.conformance.hookserver import patch, serve
from tests.integration.hub.conftest import Hub
from tests.integration.hub.objects import Json

GROUP = "admissionregistration.k8s.io"
CONFIGURATIONS = Resource(
    GROUP, "v1", "mutatingwebhookconfigurations", "MutatingWebhookConfiguration", namespaced=False
)
NAME, TIME = "managedclusters.taints.example.com", "2026-01-02T03:04:05Z"


def as_ocm(request: Json) -> Json:
    """https://github.com/open-cluster-management-io/ocm: pkg/registration/webhook/v1"""
    old = [t["key"] for t in (request["oldObject"]["spec"].get("taints") or [])]
    taints = request["object"]["spec"].get("taints") or []
    fresh = [n for n, taint in enumerate(taints) if taint["key"] not in old]
    if any(taints[n].get("timeAdded") for n in fresh):
        return {"allowed": False, "status": {"code": 400, "message": "It is not allowed to set TimeAdded"}}
    told = [{"op": "add", "path": f"/spec/taints/{n}/timeAdded", "value": TIME} for n in fresh]
    return patch(*told) if told else {"allowed": True}


def configuration(config: Json, label: str) -> Json:
    rule = {
        "operations": ["UPDATE"],
        "apiGroups": [ManagedCluster.RESOURCE.group],
        "apiVersions": ["*"],
        "resources": ["managedclusters"],
    }
    hook = {
        "name": NAME,
        "rules": [rule],
        "clientConfig": config,
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "objectSelector": {"matchLabels": {label: "yes"}},
    }
    return {
        "apiVersion": CONFIGURATIONS.api_version,
        "kind": CONFIGURATIONS.kind,
        "metadata": {"name": NAME},
        "webhooks": [hook],
    }


async def test_a_taints_time_is_left_to_a_webhook_that_wants_to_tell_it(
    hub: Hub, client: Client, tmp_path: Path
) -> None:
    async with serve(tmp_path) as hooks:
        hooks.answers["taints"] = as_ocm
        await hub.create(CONFIGURATIONS, configuration(hooks.url("taints"), "judged"))
        name = await hub.cluster(judged="yes")

        async def judged() -> bool:
            """A real server takes a moment to know of a configuration."""
            await client.patch(ManagedCluster.RESOURCE, name, {"metadata": {"labels": {"any": "thing"}}})
            return bool(hooks.asked)

        await hub.until(judged)
        await hub.available(name, "False")

        async def tainted() -> bool:
            [taint] = (await client.get(ManagedCluster.RESOURCE, name))["spec"]["taints"]
            return taint["key"].endswith("/unavailable") and taint["timeAdded"] == TIME

        await hub.until(tainted)
        await client.delete(CONFIGURATIONS, NAME)
