"""An add-on class that is rendered, and what must come of it whoever runs the template."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from addon_framework.api.addon import AddOnDeploymentConfig, ManagedClusterAddOn
from addon_framework.api.core import ROLEBINDINGS
from addon_framework.api.work import ManifestWork
from addon_framework.hub.addons.render import render_addon
from addon_framework.hub.roles import HUB_NAMESPACE
from addon_framework.kube import Client
from addon_framework.plugins import AddonDescription, Plugins, agent_manifests, hookimpl
from addon_framework.testing import eventually
from tests.integration.hub.objects import Json

NAME = "rendered-greeter"


class Greeter:
    """An agent with rights on the hub, and a text that may be configured."""

    @hookimpl
    def addon_describe(self) -> AddonDescription:
        return AddonDescription(name=NAME, display_name="Greeter")

    @hookimpl
    def addon_manifests(self, values: Mapping[str, Any]) -> list[Json]:
        namespace, cluster = values["install_namespace"], values["cluster_name"]
        greeting = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "greeting", "namespace": namespace},
            "data": {"text": f"{values.get('text', 'hello')} {cluster}"},
        }
        return [*agent_manifests(NAME, namespace, cluster), greeting]

    @hookimpl
    def addon_hub_permissions(self) -> list[Json]:
        return [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "watch"]}]


async def install(client: Client, cluster: str) -> None:
    """What a user does: apply what was rendered, enable it on a cluster."""
    for obj in render_addon(Plugins().add(NAME, Greeter())).objects:
        await client.apply(obj, field_manager="user")
    resource = ManagedClusterAddOn.RESOURCE
    addon = {"apiVersion": resource.api_version, "kind": resource.kind, "spec": {}}
    await client.create(resource, addon | {"metadata": {"name": NAME, "namespace": cluster}})


async def check(client: Client, cluster: str) -> None:
    """The class's objects with their variables, an identity with the class's rights, and configuration."""

    async def shipped(text: str, namespace: str) -> Json | None:
        work = await client.get(ManifestWork.RESOURCE, f"addon-{NAME}-deploy-0", cluster)
        found = {m["kind"]: m for m in work["spec"]["workload"]["manifests"]}
        greeting = found["ConfigMap"]
        there = (greeting["data"]["text"], greeting["metadata"]["namespace"]) == (text, namespace)
        return found if there else None

    async def until_shipped(text: str, namespace: str) -> Json:
        found: Json = await eventually(lambda: shipped(text, namespace), timeout=60, swallow=Exception)
        return found

    found = await until_shipped(f"hello {cluster}", "open-cluster-management-agent-addon")
    pod = found["Deployment"]["spec"]["template"]["spec"]
    env = [(e["name"], e.get("value")) for e in pod["containers"][0]["env"]]
    assert sorted(env) == [
        ("ADDON_NAME", NAME),
        ("CLUSTER_NAME", cluster),
        ("HUB_KUBECONFIG", "/managed/hub-kubeconfig/kubeconfig"),
        ("INSTALL_NAMESPACE", "open-cluster-management-agent-addon"),
    ]
    assert [v["secret"]["secretName"] for v in pod["volumes"]] == [f"{NAME}-hub-kubeconfig"]
    assert [m["mountPath"] for m in pod["containers"][0]["volumeMounts"]] == ["/managed/hub-kubeconfig"]

    async def bound() -> Json | None:
        role = f"open-cluster-management:addon:{NAME}:agent"
        bindings = (await client.list(ROLEBINDINGS, cluster))["items"]
        return next((b for b in bindings if b["roleRef"]["name"] == role), None)

    binding = await eventually(bound, timeout=60)
    assert binding["roleRef"]["kind"] == "ClusterRole"
    group = f"system:open-cluster-management:cluster:{cluster}:addon:{NAME}"
    assert group in [subject["name"] for subject in binding["subjects"]]
    addon = await client.get(ManagedClusterAddOn.RESOURCE, NAME, cluster)
    [registration] = addon["status"]["registrations"]
    assert registration["signerName"] == "kubernetes.io/kube-apiserver-client"
    assert all(c["desiredConfig"]["specHash"] for c in addon["status"]["configReferences"])

    spec = {"customizedVariables": [{"name": "text", "value": "hi"}], "agentInstallNamespace": "elsewhere"}
    await client.patch(AddOnDeploymentConfig.RESOURCE, NAME, {"spec": spec}, HUB_NAMESPACE)
    found = await until_shipped(f"hi {cluster}", "elsewhere")
    assert found["Deployment"]["metadata"]["namespace"] == "elsewhere"
    assert found["Namespace"]["metadata"]["name"] == "elsewhere"
    assert [s["namespace"] for s in found["RoleBinding"]["subjects"]] == ["elsewhere"]
