"""Configuration of add-ons: several of a kind, of any kind, and how hub and clusters show it."""

from __future__ import annotations

from typing import Any

import pytest

from addon_framework.api.addon import AddOnDeploymentConfig, ClusterManagementAddOn, ManagedClusterAddOn
from addon_framework.api.cluster import ManagedCluster, Placement
from addon_framework.api.conditions import get_condition
from addon_framework.api.core import CONFIGMAPS
from addon_framework.hub.addons.configs import spec_hash
from tests.integration.hub.conftest import Hub
from tests.integration.hub.objects import Json, management_addon, placement
from tests.integration.hub.test_hub_addons import ADC, Greeter, Scene

CONFIGMAP = {"group": "", "resource": "configmaps"}
GROUP = "addon.open-cluster-management.io"


@pytest.fixture
async def scene(quiet_hub: Hub, namespace: str) -> Scene:
    return Scene(quiet_hub, namespace)


async def deployment_config(scene: Scene, name: str, **variables: str) -> Json:
    resource = AddOnDeploymentConfig.RESOURCE
    listed = [{"name": key, "value": value} for key, value in variables.items()]
    obj = {"apiVersion": resource.api_version, "kind": resource.kind}
    obj |= {"metadata": {"name": name, "namespace": scene.namespace}}  # type: ignore[dict-item]
    obj |= {"spec": {"customizedVariables": listed}}  # type: ignore[dict-item]
    return await scene.client.create(resource, obj)


async def text(scene: Scene, cluster: str) -> str:
    manifests = (await scene.work(cluster))["spec"]["workload"]["manifests"]
    return next(str(m["data"]["text"]) for m in manifests if "data" in m)


async def management(scene: Scene) -> Json:
    return await scene.client.get(ClusterManagementAddOn.RESOURCE, scene.name)


async def test_several_of_a_kind_are_merged_in_their_order(scene: Scene) -> None:
    one = await scene.cluster()
    await deployment_config(scene, "default", text="default")
    for name, value in (("first", "first"), ("second", "second")):
        await deployment_config(scene, name, text=value)
    default = {"namespace": scene.namespace, "name": "default"}
    await scene.install(Greeter(scene.name), supportedConfigs=[{**ADC, "defaultConfig": default}])
    await scene.hub.until(lambda: scene.work(one))
    configs = [{**ADC, "namespace": scene.namespace, "name": name} for name in ("first", "second")]

    async def texts(wanted: list[Json], expected: str) -> None:
        patch = {"spec": {"configs": wanted}}
        await scene.client.patch(ManagedClusterAddOn.RESOURCE, scene.name, patch, one)

        async def right() -> bool:
            return await text(scene, one) == f"{expected} {one}"

        await scene.hub.until(right)

    await texts(configs, "second")
    names = [c["desiredConfig"]["name"] for c in (await scene.addon(one))["status"]["configReferences"]]
    assert names == ["first", "second"]
    await texts(list(reversed(configs)), "first")
    await texts([], "default")


async def test_progress_shows_defaults_and_what_a_placement_has_instead_with_hashes(scene: Scene) -> None:
    one = await scene.cluster()
    default = await deployment_config(scene, "default", text="a")
    special = await deployment_config(scene, "special", text="b")
    settings = {"metadata": {"name": "settings", "namespace": scene.namespace}, "data": {"k": "v"}}
    settings = await scene.client.create(CONFIGMAPS, {"apiVersion": "v1", "kind": "ConfigMap", **settings})
    where = {"namespace": scene.namespace}
    await scene.install(
        Greeter(scene.name),
        supportedConfigs=[
            {**ADC, "defaultConfig": {**where, "name": "default"}},
            {**CONFIGMAP, "defaultConfig": {**where, "name": "settings"}},
        ],
    )
    strategy = (await management(scene))["spec"]["installStrategy"]
    strategy["placements"][0]["configs"] = [{**ADC, **where, "name": "special"}]
    patch = {"spec": {"installStrategy": strategy}}
    await scene.client.patch(ClusterManagementAddOn.RESOURCE, scene.name, patch)

    def said(references: list[Json]) -> dict[str, str]:
        return {r["desiredConfig"]["name"]: r["desiredConfig"].get("specHash", "") for r in references}

    async def shown() -> bool:
        status = (await management(scene)).get("status") or {}
        [progress] = status["installProgressions"]
        assert said(status["defaultconfigReferences"]) == {
            "default": spec_hash(default),
            "settings": spec_hash(settings),
        }
        hashes = {"special": spec_hash(special), "settings": spec_hash(settings)}
        return said(progress["configReferences"]) == hashes

    await scene.hub.until(shown)
    await scene.hub.until(lambda: scene.work(one))
    changed = await scene.client.patch(CONFIGMAPS, "settings", {"data": {"k": "w"}}, scene.namespace)

    async def follows() -> bool:
        references = (await scene.addon(one))["status"]["configReferences"]
        return said(references) == {"special": spec_hash(special), "settings": spec_hash(changed)}

    await scene.hub.until(follows)


async def test_progress_names_a_placement_that_does_not_exist_until_it_does(scene: Scene) -> None:
    async def says(text: str) -> None:
        async def check() -> bool:
            [progress] = (await management(scene))["status"]["installProgressions"]
            condition = get_condition(progress["conditions"], "Progressing")
            return condition is not None and condition["message"] == text

        await scene.hub.until(check)

    await scene.hub.start()
    await scene.hub.create(ClusterManagementAddOn.RESOURCE, management_addon(scene.name, scene.namespace))
    await says(f"Placement {scene.namespace}/p does not exist")
    await scene.client.create(Placement.RESOURCE, placement(scene.namespace))
    await says("no cluster is chosen yet")


async def test_an_add_on_that_manages_itself_gets_its_defaults_only(scene: Scene) -> None:
    config = await deployment_config(scene, "default")
    default = {"namespace": scene.namespace, "name": "default"}
    supported = [{**ADC, "defaultConfig": default}]
    cma = management_addon(scene.name, scene.namespace, supportedConfigs=supported)
    cma["metadata"]["annotations"] = {f"{GROUP}/lifecycle": "self"}
    await scene.hub.start()
    await scene.hub.create(ClusterManagementAddOn.RESOURCE, cma)

    async def defaults() -> Any:
        [found] = (await management(scene))["status"]["defaultconfigReferences"]
        return found["desiredConfig"].get("specHash") == spec_hash(config)

    await scene.hub.until(defaults)
    assert not (await management(scene))["status"].get("installProgressions")


async def test_a_clusters_annotations_about_add_ons_are_its_add_ons_too(scene: Scene) -> None:
    """Those that a user gave the add-on itself stay."""
    one = await scene.cluster()
    first = {"metadata": {"annotations": {f"{GROUP}/one": "1", "other.io/x": "y"}}}
    await scene.client.patch(ManagedCluster.RESOURCE, one, first)
    await scene.install(Greeter(scene.name))
    await scene.hub.until(lambda: scene.addon(one))
    own = {"metadata": {"annotations": {f"{GROUP}/own": "mine"}}}
    await scene.client.patch(ManagedClusterAddOn.RESOURCE, scene.name, own, one)
    second = {"metadata": {"annotations": {f"{GROUP}/one": None, f"{GROUP}/two": "2"}}}

    async def has(expected: Json) -> bool:
        annotations = (await scene.addon(one))["metadata"].get("annotations") or {}
        return {k: v for k, v in annotations.items() if k.startswith(GROUP) or "other" in k} == expected

    await scene.hub.until(lambda: has({f"{GROUP}/one": "1", f"{GROUP}/own": "mine"}))
    await scene.client.patch(ManagedCluster.RESOURCE, one, second)
    await scene.hub.until(lambda: has({f"{GROUP}/two": "2", f"{GROUP}/own": "mine"}))


async def test_progress_of_a_placement_without_clusters_is_not_complete(scene: Scene) -> None:
    await scene.install(Greeter(scene.name))

    async def progressing() -> Any:
        [progress] = (await management(scene))["status"]["installProgressions"]
        return get_condition({"status": progress}, "Progressing")

    condition = await scene.hub.until(progressing)
    assert condition["status"] == "True"
