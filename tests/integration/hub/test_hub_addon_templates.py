"""An add-on without code: AddOnTemplate, hub permissions, a signer of its own, and pre-delete work."""

from __future__ import annotations

import base64
import dataclasses
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from addon_framework.api.addon import (
    AddOnDeploymentConfig,
    AddOnTemplate,
    ClusterManagementAddOn,
    ManagedClusterAddOn,
)
from addon_framework.api.conditions import get_condition
from addon_framework.api.core import CLUSTERROLEBINDINGS, CSRS, EVENTS, ROLEBINDINGS, SECRETS
from addon_framework.api.work import ManifestWork
from addon_framework.hub.roles import BOOTSTRAP_ROLE
from addon_framework.kube import Client, NotFound
from addon_framework.local.pki import Authority, private_pem
from addon_framework.plugins import AddonDescription, NoProbe, hookimpl
from tests.integration.hub.conftest import Hub
from tests.integration.hub.objects import Json, applied, management_addon
from tests.unit.hub.certificates import csr_to_create

GROUP = "addon.open-cluster-management.io"
SIGNER = "example.com/agents"
DEPLOYMENT: Json = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "agent", "namespace": "hello"},
    "spec": {
        "selector": {"matchLabels": {"app": "agent"}},
        "template": {
            "metadata": {"labels": {"app": "agent"}},
            "spec": {"containers": [{"name": "agent", "image": "busybox", "args": ["{{GREETING}}"]}]},
        },
    },
}


def hook(kind: str = "Job") -> Json:
    pod = {"restartPolicy": "Never", "containers": [{"name": "c", "image": "busybox"}]}
    return {
        "apiVersion": "batch/v1" if kind == "Job" else "v1",
        "kind": kind,
        "metadata": {
            "name": f"clean-{kind.lower()}",
            "namespace": "hello",
            "annotations": {f"{GROUP}/addon-pre-delete": ""},
        },
        "spec": {"template": {"spec": pod}} if kind == "Job" else pod,
    }


class Stage:
    """One add-on by template on one cluster."""

    def __init__(self, hub: Hub, namespace: str) -> None:
        self.hub, self.client, self.namespace = hub, hub.client, namespace
        self.name = f"tpl-{uuid.uuid4().hex[:8]}"
        self.cluster = ""

    async def install(self, *manifests: Json, registration: list[Json] | None = None) -> None:
        self.cluster = await self.hub.cluster()
        await self.template(*manifests, registration=registration)
        supported = [
            {"group": GROUP, "resource": "addontemplates", "defaultConfig": {"name": self.name}},
            {"group": GROUP, "resource": "addondeploymentconfigs"},
        ]
        cma = management_addon(self.name, supportedConfigs=supported)
        await self.hub.create(ClusterManagementAddOn.RESOURCE, cma)
        await self.enable()

    async def template(self, *manifests: Json, registration: list[Json] | None = None) -> None:
        spec: Json = {"addonName": self.name, "agentSpec": {"workload": {"manifests": list(manifests)}}}
        if registration is not None:
            spec["registration"] = registration
        await self.hub.create(AddOnTemplate.RESOURCE, obj(AddOnTemplate, self.name, spec=spec))

    async def enable(self, **spec: Any) -> None:
        addon = obj(ManagedClusterAddOn, self.name, self.cluster, spec=spec)
        await self.client.create(ManagedClusterAddOn.RESOURCE, addon)

    async def addon(self) -> Json:
        return await self.client.get(ManagedClusterAddOn.RESOURCE, self.name, self.cluster)

    async def work(self, suffix: str = "deploy-0") -> Json:
        return await self.client.get(ManifestWork.RESOURCE, f"addon-{self.name}-{suffix}", self.cluster)

    async def until_condition(self, kind: str, reason: str, text: str = "") -> Json:
        async def check() -> Json | None:
            found = get_condition(await self.addon(), kind)
            return found if found and found["reason"] == reason and text in found["message"] else None

        condition: Json = await self.hub.until(check)
        return condition

    async def until_gone(self) -> None:
        async def gone() -> bool:
            try:
                await self.addon()
            except NotFound:
                return True
            return False

        await self.hub.until(gone)

    async def report(self, suffix: str, resource: str, name: str, values: dict[str, Any]) -> None:
        """Write what a work agent writes once the work is applied."""
        work = await self.work(suffix)
        conditions = applied(work)
        meta = {"ordinal": 0, "resource": resource, "name": name, "namespace": "hello", "version": "v1"}
        fields = [
            {"name": key, "fieldValue": {"type": "Integer", "integer": value}}
            if isinstance(value, int)
            else {"name": key, "fieldValue": {"type": "String", "string": value}}
            for key, value in values.items()
        ]
        manifest = {"resourceMeta": meta, "conditions": [], "statusFeedback": {"values": fields}}
        status = {"conditions": conditions, "resourceStatus": {"manifests": [manifest]}}
        await self.client.patch(
            ManifestWork.RESOURCE,
            work["metadata"]["name"],
            {"status": status},
            self.cluster,
            subresource="status",
        )


def obj(kind: Any, name: str, namespace: str = "", **more: Any) -> Json:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    resource = kind.RESOURCE
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, **more}


@pytest.fixture
async def stage(hub: Hub, namespace: str) -> Stage:
    return Stage(hub, namespace)


async def test_a_template_becomes_a_work_follows_changes_and_is_healthy_by_its_workload(stage: Stage) -> None:
    await stage.install(DEPLOYMENT, registration=[{"type": "KubeClient"}])
    work = await stage.hub.until(stage.work)
    [agent] = work["spec"]["workload"]["manifests"]
    container = agent["spec"]["template"]["spec"]["containers"][0]
    assert container["args"] == [""]
    assert {"name": "CLUSTER_NAME", "value": stage.cluster} in container["env"]
    registrations = (await stage.addon())["status"]["registrations"]
    assert [r["signerName"] for r in registrations] == ["kubernetes.io/kube-apiserver-client"]
    await stage.report("deploy-0", "deployments", "agent", {"ReadyReplicas": 0})
    await stage.until_condition("Available", "ProbeUnavailable")
    said = await stage.until_condition("ManifestApplied", "AddonManifestApplied")
    assert "variables without a value: GREETING" in said["message"]
    await stage.report("deploy-0", "deployments", "agent", {"ReadyReplicas": 1})
    await stage.until_condition("Available", "ProbeAvailable")
    await stage.until_condition("Progressing", "Completed")

    # a variable and the namespace, by an AddOnDeploymentConfig of this cluster only
    config = obj(
        AddOnDeploymentConfig,
        "conf",
        stage.namespace,
        spec={
            "customizedVariables": [{"name": "GREETING", "value": "hi"}],
            "agentInstallNamespace": "elsewhere",
        },
    )
    await stage.client.create(AddOnDeploymentConfig.RESOURCE, config)
    where = {"group": GROUP, "resource": "addondeploymentconfigs", "name": "conf"}
    patch = {"spec": {"configs": [{**where, "namespace": stage.namespace}]}}
    await stage.client.patch(ManagedClusterAddOn.RESOURCE, stage.name, patch, stage.cluster)

    async def configured() -> bool:
        [agent] = (await stage.work())["spec"]["workload"]["manifests"]
        container = agent["spec"]["template"]["spec"]["containers"][0]
        return bool(container["args"] == ["hi"] and agent["metadata"]["namespace"] == "elsewhere")

    await stage.hub.until(configured)

    # a new template text reaches the work, and its hash the status
    other = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m", "namespace": "x"}}
    changed = {"spec": {"agentSpec": {"workload": {"manifests": [DEPLOYMENT, other]}}}}
    await stage.client.patch(AddOnTemplate.RESOURCE, stage.name, changed)

    async def rolled() -> bool:
        return len((await stage.work())["spec"]["workload"]["manifests"]) == 2

    await stage.hub.until(rolled)


async def test_hub_permissions_come_change_and_go_with_the_addon(stage: Stage) -> None:
    role = {"kind": "Role", "name": "writer", "apiGroup": "rbac.authorization.k8s.io"}
    single = {
        "type": "SingleNamespace",
        "singleNamespace": {"namespace": stage.namespace, "roleRef": role},
    }
    current = {"type": "CurrentCluster", "currentCluster": {"clusterRoleName": "view"}}
    permissions = {"hubPermissions": [single, current]}
    await stage.install(DEPLOYMENT, registration=[{"type": "KubeClient", "kubeClient": permissions}])

    async def bindings(namespace: str) -> list[Json]:
        selector = f"open-cluster-management.io/addon-name={stage.name}"
        found = await stage.client.list(ROLEBINDINGS, namespace, label_selector=selector)
        return list(found["items"])

    await stage.until_condition("RegistrationApplied", "SetPermissionApplied")
    [here], [shared] = await bindings(stage.cluster), await bindings(stage.namespace)
    assert here["roleRef"]["name"] == "view"
    assert shared["roleRef"]["name"] == "writer"
    agent = f"system:open-cluster-management:cluster:{stage.cluster}:addon:{stage.name}"
    assert [b["subjects"][0]["name"] for b in (here, shared)] == [agent, agent]

    # one asked for no longer goes; one deleted by hand comes back
    less = [{"type": "KubeClient", "kubeClient": {"hubPermissions": [single]}}]
    await stage.client.patch(AddOnTemplate.RESOURCE, stage.name, {"spec": {"registration": less}})

    async def withdrawn() -> bool:
        return not await bindings(stage.cluster)

    await stage.hub.until(withdrawn)
    await stage.client.delete(ROLEBINDINGS, shared["metadata"]["name"], stage.namespace)
    await stage.hub.until(lambda: bindings(stage.namespace))

    # OCM leaves the one in the shared namespace behind; even a manager that was down does not
    await stage.hub.stop()
    await stage.client.delete(ManagedClusterAddOn.RESOURCE, stage.name, stage.cluster)
    await stage.until_gone()
    await stage.hub.start()

    async def clean() -> bool:
        return not await bindings(stage.namespace)

    await stage.hub.until(clean)


async def test_a_signer_of_its_own_signs_approved_requests(stage: Stage) -> None:
    authority = Authority.create("agents")
    text = {"tls.crt": authority.cert_pem.decode(), "tls.key": private_pem(authority.key).decode()}
    signer = {"signerName": SIGNER, "signingCA": {"name": "ca", "namespace": stage.namespace}}
    await stage.install(DEPLOYMENT, registration=[{"type": "CustomSigner", "customSigner": signer}])
    await stage.until_condition("RegistrationApplied", "SetPermissionApplied")
    [registration] = (await stage.addon())["status"]["registrations"]
    assert registration["signerName"] == SIGNER
    subject = registration["subject"]

    # the cluster's agent asks, under the name the API server knows it by
    requester = f"system:open-cluster-management:{stage.cluster}"
    key = ec.generate_private_key(ec.SECP256R1())
    labels = {
        "open-cluster-management.io/cluster-name": stage.cluster,
        "open-cluster-management.io/addon-name": stage.name,
    }
    prefix = f"addon-{stage.cluster}-{stage.name}-"
    request = csr_to_create(key, prefix, labels, subject["user"], subject["groups"])
    request["spec"]["signerName"] = SIGNER
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "ca", "namespace": stage.namespace},
        "stringData": text,
    }
    await stage.client.create(SECRETS, secret)
    rights = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": stage.name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": BOOTSTRAP_ROLE},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": f"{requester}:agent"}],
    }
    await stage.hub.create(CLUSTERROLEBINDINGS, rights)
    config = dataclasses.replace(stage.client.config, impersonate=f"{requester}:agent")
    async with Client(config) as agent:
        made = await stage.hub.until(lambda: agent.create(CSRS, request))

    async def signed() -> str:
        found = await stage.client.get(CSRS, made["metadata"]["name"])
        return str((found.get("status") or {}).get("certificate") or "")

    certificate = x509.load_pem_x509_certificate(base64.b64decode(await stage.hub.until(signed)))
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.cert_pem))
    public = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert certificate.public_key().public_bytes(*public) == key.public_key().public_bytes(*public)
    left = certificate.not_valid_after_utc - datetime.now(UTC)
    assert timedelta(hours=23) < left <= timedelta(hours=24)


@pytest.mark.parametrize(
    ("kind", "running", "done"),
    [
        ("Job", {"JobComplete": "False"}, {"JobComplete": "True"}),
        ("Pod", {"PodPhase": "Running"}, {"PodPhase": "Succeeded"}),
    ],
)
async def test_an_addon_goes_after_its_pre_delete_work(
    stage: Stage, kind: str, running: dict[str, str], done: dict[str, str]
) -> None:
    await stage.install(DEPLOYMENT, hook(kind))
    work = await stage.hub.until(stage.work)
    assert [m["kind"] for m in work["spec"]["workload"]["manifests"]] == ["Deployment"]
    assert f"{GROUP}/addon-pre-delete" in (await stage.addon())["metadata"]["finalizers"]
    with pytest.raises(NotFound):
        await stage.work("pre-delete")
    await stage.client.delete(ManagedClusterAddOn.RESOURCE, stage.name, stage.cluster)
    work = await stage.hub.until(lambda: stage.work("pre-delete"))
    assert [m["kind"] for m in work["spec"]["workload"]["manifests"]] == [kind]
    name = f"clean-{kind.lower()}"
    waits = await stage.until_condition("HookManifestCompleted", "HookManifestIsNotCompleted")
    assert f"{kind} hello/{name} has not reported yet; after 600 s" in waits["message"]
    await stage.report("pre-delete", f"{kind.lower()}s", name, running)
    await stage.until_condition("HookManifestCompleted", "HookManifestIsNotCompleted", "is not done")
    await stage.hub.stop()
    await stage.hub.start()  # a manager that was killed goes on waiting
    await stage.report("pre-delete", f"{kind.lower()}s", name, done)
    await stage.until_gone()


async def test_a_hook_that_fails_is_named_and_the_deadline_lets_go(hub: Hub, namespace: str) -> None:
    stage = Stage(hub, namespace)

    class Leaving:
        @hookimpl
        def addon_describe(self) -> AddonDescription:
            return AddonDescription(name=stage.name, health=NoProbe, pre_delete_deadline=3)

        @hookimpl
        def addon_manifests(self) -> list[Json]:
            return [hook()]

    hub.plugins.add(stage.name, Leaving)
    stage.cluster = await hub.cluster()
    await hub.create(ClusterManagementAddOn.RESOURCE, management_addon(stage.name))
    await stage.enable()

    async def held() -> bool:
        return bool((await stage.addon())["metadata"].get("finalizers"))

    await hub.until(held)
    await stage.client.delete(ManagedClusterAddOn.RESOURCE, stage.name, stage.cluster)
    await hub.until(lambda: stage.work("pre-delete"))
    await stage.report("pre-delete", "jobs", "clean-job", {"JobFailed": "True"})
    await stage.until_condition("HookManifestCompleted", "HookManifestIsNotCompleted", "has failed")
    await stage.until_gone()
    events = await stage.client.list(EVENTS, stage.cluster)
    assert "PreDeleteDeadlineExceeded" in [e["reason"] for e in events["items"]]
