"""v1alpha1 and v1beta1 of the add-on API: hubs that serve one, the other, or both, and store either."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from addon_framework.api import addon_v1beta1 as v1beta1
from addon_framework.api.addon import AddOnDeploymentConfig, ClusterManagementAddOn, ManagedClusterAddOn
from addon_framework.api.conditions import is_true
from addon_framework.api.core import NAMESPACES
from addon_framework.api.crd import load_crds
from addon_framework.api.meta import Resource
from addon_framework.api.work import ManifestWork
from addon_framework.hub.install import install
from addon_framework.kube import Client
from addon_framework.kube.ensure import write_status
from addon_framework.testing.servers import ApiServer, EmbeddedApiServer, EnvtestApiServer
from tests.integration.hub.conftest import Hub
from tests.integration.hub.objects import Json
from tests.integration.hub.test_hub_addons import ADC, Greeter, Scene

OLD, NEW = "v1alpha1", "v1beta1"
REAL = bool(os.environ.get("KUBEBUILDER_ASSETS"))
pytestmark = pytest.mark.skipif(
    bool(os.environ.get("BOUNDARYLESS_TEST_KUBECONFIG")), reason="changes the CRDs of its hub"
)


def in_versions(served: tuple[str, ...], storage: str) -> list[Json]:
    """The hub's CRDs, add-ons in these versions only."""
    crds = load_crds("hub")
    for crd in crds:
        if crd["spec"]["group"] == v1beta1.GROUP:
            kept = [v for v in crd["spec"]["versions"] if v["name"] in (*served, storage)]
            crd["spec"]["versions"] = [
                {**v, "served": v["name"] in served, "storage": v["name"] == storage} for v in kept
            ]
            if served == (OLD,) or served == (NEW,):
                crd["spec"].pop("conversion", None)
    return crds


FORMS = {
    "v1alpha1 only": ((OLD,), OLD),
    "v1beta1 only": ((NEW,), NEW),
    "both, v1alpha1 stored": ((OLD, NEW), OLD),
    "both, v1beta1 stored": ((OLD, NEW), NEW),
}


@pytest.fixture(scope="module", params=FORMS)
def form(request: pytest.FixtureRequest) -> tuple[tuple[str, ...], str]:
    served, storage = FORMS[request.param]
    if REAL and len(served) > 1:
        pytest.skip("nobody converts: see test_a_hub_manager_converts_where_nobody_does")
    return served, storage


@pytest.fixture(scope="module")
def api_server(tmp_path_factory: pytest.TempPathFactory, form: Any) -> Iterator[ApiServer]:
    """A hub of this form."""
    yield from serve(tmp_path_factory.mktemp("hub"))


@pytest.fixture(scope="module")
def kubeconfig(api_server: ApiServer) -> Path:
    return api_server.kubeconfig


@pytest.fixture(scope="module")
def has_controllers(api_server: ApiServer) -> bool:
    return api_server.has_controllers


def serve(directory: Path) -> Iterator[ApiServer]:
    server: ApiServer = EmbeddedApiServer(directory)
    if REAL:
        server = EnvtestApiServer(directory, Path(os.environ["KUBEBUILDER_ASSETS"]))
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def hub(client: Client, form: Any, api_server: ApiServer) -> AsyncIterator[Hub]:
    await install(client, crds=in_versions(*form))
    it = Hub(client)
    yield it
    await it.stop()


async def raw(client: Client, kind: type[Any], name: str, namespace: str | None = None) -> Json:
    """As the server shows it in the version of `kind`."""
    resource: Resource = kind.RESOURCE
    return await client.send("GET", resource.path(namespace, name))


async def test_an_addon_is_installed_configured_registered_and_removed(
    hub: Hub, client: Client, form: Any, namespace: str, api_server: ApiServer
) -> None:
    """The whole way, and not a word about versions in it."""
    scene = Scene(hub, namespace)
    cluster = await scene.cluster()
    config = {
        "apiVersion": AddOnDeploymentConfig.RESOURCE.api_version,
        "kind": "AddOnDeploymentConfig",
        "metadata": {"name": "conf", "namespace": namespace},
        "spec": {"customizedVariables": [{"name": "text", "value": "hi"}]},
    }
    supported = {**ADC, "defaultConfig": {"namespace": namespace, "name": "conf"}}
    await client.create(AddOnDeploymentConfig.RESOURCE, config)
    await scene.install(Greeter(scene.name), supportedConfigs=[supported])

    await scene.until_condition(cluster, "Available", "WorkNotApplied")
    addon = await scene.addon(cluster)
    assert addon["apiVersion"] == ManagedClusterAddOn.RESOURCE.api_version
    assert is_true(addon, "Configured")
    assert is_true(addon, "RegistrationApplied")
    assert addon["status"]["registrations"][0]["signerName"] == "kubernetes.io/kube-apiserver-client"
    assert addon["status"]["configReferences"][0]["name"] == "conf"
    texts = [
        m["data"]["text"] for m in (await scene.work(cluster))["spec"]["workload"]["manifests"] if "data" in m
    ]
    assert texts == [f"hi {cluster}"]

    served = form[0]
    owner = addon["metadata"]["ownerReferences"][0]
    assert owner["apiVersion"].endswith(OLD)
    work = await client.send("GET", ManifestWork.RESOURCE.path(cluster, f"addon-{scene.name}-deploy-0"))
    assert work["metadata"]["ownerReferences"][0]["apiVersion"].endswith(OLD if OLD in served else NEW)
    if NEW in served:
        shown = await raw(client, v1beta1.ManagedClusterAddOn, scene.name, cluster)
        assert shown["status"]["registrations"][0]["type"] == "kubeClient"
        reference = shown["status"]["configReferences"][0]
        assert "name" not in reference
        assert reference["desiredConfig"]["name"] == "conf"
        cma = await raw(client, v1beta1.ClusterManagementAddOn, scene.name)
        assert cma["spec"]["defaultConfigs"] == [{**ADC, "namespace": namespace, "name": "conf"}]
    if OLD in served:
        cma = await raw(client, ClusterManagementAddOn, scene.name)
        assert cma["spec"]["supportedConfigs"] == [supported]

    settled = (await scene.addon(cluster))["metadata"]["resourceVersion"]
    await hub.stop()
    await hub.start()
    await client.patch(
        AddOnDeploymentConfig.RESOURCE, "conf", {"spec": {"customizedVariables": []}}, namespace
    )

    async def default_text() -> bool:
        manifests = (await scene.work(cluster))["spec"]["workload"]["manifests"]
        return any(m.get("data", {}).get("text") == f"hello {cluster}" for m in manifests)

    await hub.until(default_text)
    assert (await scene.addon(cluster))["metadata"]["resourceVersion"] != settled

    await client.delete(ClusterManagementAddOn.RESOURCE, scene.name)
    if api_server.has_controllers:  # the garbage collector among them
        await scene.until_gone(cluster, timeout=90)  # a real one looks for new kinds twice a minute


async def test_a_driver_that_the_agent_declared_survives_the_hub(hub: Hub, client: Client, form: Any) -> None:
    """In v1beta1 it is part of the list that the hub writes."""
    name = f"c-{form[1]}"
    await client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    resource = ManagedClusterAddOn.RESOURCE
    addon = {"apiVersion": resource.api_version, "kind": resource.kind, "spec": {"installNamespace": "there"}}
    made = await client.create(resource, addon | {"metadata": {"name": "a", "namespace": name}})
    assert made["spec"]["installNamespace"] == "there"
    first = {"signerName": "kubernetes.io/kube-apiserver-client", "subject": {"user": "one"}}
    await write_status(client, resource, made, {"registrations": [first]})
    live = await client.get(resource, "a", name)
    await write_status(client, resource, live, {**live["status"], "kubeClientDriver": "token"})
    live = await client.get(resource, "a", name)
    second = {**first, "subject": {"user": "two"}}
    await write_status(client, resource, live, {**live["status"], "registrations": [second]})
    live = await client.get(resource, "a", name)
    assert live["status"]["kubeClientDriver"] == "token"
    assert live["status"]["registrations"] == [second]
    if NEW in form[0]:
        shown = await raw(client, v1beta1.ManagedClusterAddOn, "a", name)
        client_of = {"subject": {"user": "two"}, "driver": "token"}
        assert shown["status"]["registrations"] == [{"type": "kubeClient", "kubeClient": client_of}]
        assert shown["metadata"]["annotations"] == {v1beta1.INSTALL_NAMESPACE_ANNOTATION: "there"}
    await client.delete(resource, "a", name)


async def test_writes_in_both_versions_meet(hub: Hub, client: Client, form: Any) -> None:
    """Apply, update and patch in v1beta1 of what was made in v1alpha1, and watching in either."""
    if len(form[0]) < 2:
        pytest.skip("a hub with both")
    name = f"both-{form[1]}"
    kind = {"group": "g", "resource": "r"}
    spec = {"supportedConfigs": [{**kind, "defaultConfig": {"name": "one"}}]}
    old = {
        "apiVersion": v1beta1.OLD,
        "kind": "ClusterManagementAddOn",
        "metadata": {"name": name},
        "spec": spec,
    }
    await client.apply(old, field_manager="ours")
    new = await raw(client, v1beta1.ClusterManagementAddOn, name)
    assert new["spec"]["defaultConfigs"] == [{**kind, "name": "one"}]
    new["spec"]["defaultConfigs"][0]["name"] = "two"
    path = v1beta1.ClusterManagementAddOn.RESOURCE.path(None, name)
    await client.send("PUT", path, body=new)
    patch = {
        "status": {"defaultConfigReferences": [{**kind, "desiredConfig": {"name": "two", "specHash": "h"}}]}
    }
    await client.patch(v1beta1.ClusterManagementAddOn.RESOURCE, name, patch, subresource="status")
    seen = await client.get(ClusterManagementAddOn.RESOURCE, name)
    assert seen["spec"]["supportedConfigs"] == [{**kind, "defaultConfig": {"name": "two"}}]
    assert seen["status"]["defaultconfigReferences"][0]["desiredConfig"]["specHash"] == "h"
    listed = await client.list(v1beta1.ClusterManagementAddOn.RESOURCE)
    events = client.watch(
        v1beta1.ClusterManagementAddOn.RESOURCE, resource_version=listed["metadata"]["resourceVersion"]
    )
    await client.apply({**old, "spec": {"supportedConfigs": [kind]}}, field_manager="ours")
    async for event, obj in events:
        if event == "MODIFIED":
            assert obj["spec"]["defaultConfigs"] == [{**kind, "name": v1beta1.NO_DEFAULT}]
            break
    await client.delete(ClusterManagementAddOn.RESOURCE, name)
