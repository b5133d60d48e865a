"""A Dataset on the hub to works, credentials and status, on a real API server."""

from __future__ import annotations

import base64
from collections import Counter
from functools import partial
from typing import Any

import pytest

from addon_framework.api.cluster import ManagedCluster, Placement
from addon_framework.api.conditions import get_condition
from addon_framework.api.core import ROLEBINDINGS, ROLES, SECRETS
from addon_framework.api.data import DataBackup, DataProcess, JuiceFSRuntime
from addon_framework.api.meta import Json, Resource
from addons.cache_runtime.hub import controller, known, operations, payload, status, works
from addons.cache_runtime.hub.holding import ADDONS, AGENT
from addons.cache_runtime.hub.names import FINALIZER, PEERS_ANNOTATION
from tests.integration.cache_runtime.fleet_scene import DATALOADS, DATASETS, MIGRATES, WORKS, Scene, scene

__all__ = ["scene"]


async def test_to_every_cluster_with_credentials_by_reference_and_a_status_of_all(scene: Scene) -> None:
    one, two = await scene.clusters(2)
    await scene.secret()
    await scene.create()
    for cluster in (one, two):
        await scene.report(cluster, cachedBytes=100, cachedPercentage="100.0%", sourceBytes=100)
    dataset = await scene.until(lambda status: status.get("phase") == "Bound")
    entry = dataset["status"]["clusters"][0]
    assert (entry["name"], entry["cachedBytes"], entry["originBytes"]) == (one, 100, 7)
    work = await scene.of(WORKS, one, "")
    assert work is not None
    manifests = work["spec"]["workload"]["manifests"]
    assert [m["kind"] for m in manifests] == ["Namespace", "Dataset", "LocalRuntime", "DataLoad"]
    assert base64.b64encode(b"one").decode() not in str(work)
    role = await scene.of(ROLES, one)
    assert role is not None
    assert role["rules"][0]["resourceNames"] == [f"{scene.work}-credentials"]
    load = await scene.hub.until(lambda: scene.client.get(DATALOADS, "llama", scene.namespace))
    assert load["status"]["phase"] == "Complete"


async def test_a_rotated_secret_a_new_runtime_and_a_cluster_that_leaves_flow_on(scene: Scene) -> None:
    one, two = await scene.clusters(2)
    await scene.secret()
    await scene.create()
    await scene.hub.until(lambda: scene.of(ROLEBINDINGS, two))
    await scene.secret("two")

    async def rotated() -> bool:
        secret = await scene.of(SECRETS, two)
        return secret is not None and base64.b64decode(secret["data"]["keys_accessKeyId"]) == b"two"

    await scene.hub.until(rotated)
    juicefs = payload.runtime(scene.metadata(), "juicefs")
    await scene.client.create(JuiceFSRuntime.RESOURCE, juicefs)

    async def kinds() -> bool:
        work = await scene.of(WORKS, one, "") or {"spec": {"workload": {"manifests": []}}}
        return "JuiceFSRuntime" in [m["kind"] for m in work["spec"]["workload"]["manifests"]]

    await scene.hub.until(kinds)
    only = {"predicates": [{"requiredClusterSelector": {"labelSelector": {"matchLabels": {"name": one}}}}]}
    await scene.client.patch(ManagedCluster.RESOURCE, one, {"metadata": {"labels": {"name": one}}})
    await scene.client.patch(Placement.RESOURCE, "p", {"spec": only}, scene.namespace)

    async def left() -> bool:
        found = [await scene.of(resource, two) for resource in (SECRETS, ROLES, ROLEBINDINGS)]
        return not any(found) and await scene.of(WORKS, two, "") is None

    await scene.hub.until(left)
    assert await scene.of(WORKS, one, "") is not None


async def test_the_agent_of_a_cluster_stays_until_its_datasets_have_left(scene: Scene) -> None:
    one, two = await scene.clusters(2)
    await scene.secret()
    await scene.create()
    for cluster in (one, two):
        await scene.hub.until(partial(_held, scene, cluster))
    mine = {"metadata": {"finalizers": ["tests/agent"]}}  # as the work agent holds what it has applied
    await scene.client.patch(WORKS, scene.work, mine, one)
    await scene.client.delete(ADDONS, AGENT, one)

    async def leaving() -> bool:
        work = await scene.of(WORKS, one, "")
        return work is not None and "deletionTimestamp" in work["metadata"]

    await scene.hub.until(leaving)
    assert await _held(scene, one)
    await scene.client.patch(WORKS, scene.work, {"metadata": {"finalizers": None}}, one)

    await scene.hub.until(partial(scene.without_agent, one))
    assert await scene.of(WORKS, two, "") is not None
    await scene.client.delete(DATASETS, "llama", scene.namespace)

    async def free() -> bool:
        return not await _held(scene, two)

    await scene.hub.until(free)


async def _held(scene: Scene, cluster: str) -> bool:
    addon = await scene.client.get(ADDONS, AGENT, cluster)
    return FINALIZER in (addon["metadata"].get("finalizers") or [])


async def test_a_change_of_one_cluster_is_work_for_one(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    clusters = await scene.clusters(6)
    await scene.secret()
    await scene.create()
    for cluster in clusters:
        await scene.report(cluster, cachedBytes=1, cachedPercentage="1.0%")
    await scene.until(lambda status: status.get("phase") == "Bound")
    made, read = Counter[str](), Counter[str]()

    def making(*parts: Any, **more: Any) -> Json:
        made[parts[3]] += 1
        return works.manifest_work(*parts, **more)

    def reading(cluster: str, *parts: Any, **more: Any) -> Json:
        read[cluster] += 1
        return status.cluster_status(cluster, *parts, **more)

    monkeypatch.setattr(controller, "manifest_work", making)
    monkeypatch.setattr(known, "cluster_status", reading)
    chosen = clusters[2]
    await scene.report(chosen, cachedBytes=5, cachedPercentage="5.0%")
    await scene.until(lambda said: said["clusters"][2].get("cachedBytes") == 5)
    assert set(read) == {chosen}
    assert set(made) <= {"", chosen}, "once for all that are alike"


async def test_clusters_that_reach_one_another_are_told_where(scene: Scene) -> None:
    one, two, alone = await scene.clusters(3)
    await scene.secret()
    await scene.create()

    async def addresses(cluster: str) -> list[str] | None:
        if (work := await scene.of(WORKS, cluster, "")) is None:
            return None
        manifests = work["spec"]["workload"]["manifests"]
        runtime = next(each for each in manifests if each["kind"] == "LocalRuntime")
        found: list[str] = (runtime["spec"].get("peers") or {}).get("addresses", [])
        return found

    async def told(**wanted: list[str]) -> None:
        async def probe() -> bool:
            return [await addresses(c) for c in (one, two, alone)] == [wanted.get(c, []) for c in "abc"]

        await scene.hub.until(probe)

    async def reached(cluster: str, at: str | None) -> None:
        patch = {"metadata": {"annotations": {PEERS_ANNOTATION: at}}}
        await scene.client.patch(ManagedCluster.RESOURCE, cluster, patch)

    await told()
    await reached(one, "10.1.0.1:30465")
    await reached(two, "{service}.{namespace}.{cluster}.example:9465, nonsense")
    there = f"llama-peers.{scene.namespace}.{two}.example:9465"
    await told(a=[there], b=["10.1.0.1:30465"])
    await reached(one, None)
    await told()


async def test_what_is_missing_is_said_and_what_runs_is_left_alone(scene: Scene) -> None:
    (one,) = await scene.clusters(1)
    await scene.create()

    def reason(status: Json) -> str:
        return str((get_condition({"status": status}, "Ready") or {}).get("reason"))

    await scene.until(lambda status: reason(status) == "SecretNotFound")
    assert await scene.of(WORKS, one, "") is None
    await scene.secret()
    await scene.report(one)
    await scene.until(lambda status: status.get("phase") == "Bound")
    await scene.client.delete(SECRETS, "keys", scene.namespace)
    await scene.until(lambda status: reason(status) == "SecretNotFound")
    assert await scene.of(WORKS, one, "") is not None
    assert await scene.of(SECRETS, one) is not None


async def test_without_its_label_it_leaves_and_nothing_stays(scene: Scene) -> None:
    (one,) = await scene.clusters(1)
    await scene.secret()
    await scene.create()
    await scene.hub.until(lambda: scene.of(ROLEBINDINGS, one))
    label = {"cluster.open-cluster-management.io/placement": None}
    await scene.client.patch(DATASETS, "llama", {"metadata": {"labels": label}}, scene.namespace)

    async def left() -> bool:
        found = [await scene.of(r, one) for r in (SECRETS, ROLES, ROLEBINDINGS)]
        dataset = await scene.get()
        return not any(found) and not dataset["metadata"].get("finalizers")

    await scene.hub.until(left)
    assert await scene.of(WORKS, one, "") is None


async def test_a_migration_runs_on_one_cluster_with_its_secret_there_only(scene: Scene) -> None:
    one, two = await scene.clusters(2)
    await scene.secret()
    await scene.create()
    await scene.hub.until(lambda: scene.of(SECRETS, two))
    mine = {"dataset": {"name": "llama", "namespace": scene.namespace}}
    move = payload.migrate(scene.metadata("move"), (mine, payload.external("s3://b/c", "others")), {})
    await scene.client.create(MIGRATES, move)

    async def message(text: str) -> bool:
        status = (await scene.client.get(MIGRATES, "move", scene.namespace)).get("status") or {}
        return text in (status.get("infos") or {}).get("message", "")

    await scene.hub.until(lambda: message("must say which cluster runs it"))
    annotation = {"data.boundaryless.io/cluster": two}
    await scene.client.patch(MIGRATES, "move", {"metadata": {"annotations": annotation}}, scene.namespace)
    await scene.hub.until(lambda: message("a Secret or a key that it names is missing"))
    await scene.secret(name="others")

    async def sent(cluster: str) -> bool:
        work, secret = await scene.of(WORKS, cluster, ""), await scene.of(SECRETS, cluster)
        assert work is not None
        assert secret is not None
        kinds = [m["kind"] for m in work["spec"]["workload"]["manifests"]]
        return "DataMigrate" in kinds and "others_accessKeyId" in secret["data"]

    await scene.hub.until(lambda: sent(two))
    assert not await sent(one)


async def test_nothing_is_migrated_on_a_cluster_that_has_a_dataset_of_its_own(scene: Scene) -> None:
    (one,) = await scene.clusters(1)
    await scene.secret()
    await scene.create()
    await scene.report(one)
    mine = {"dataset": {"name": "llama", "namespace": scene.namespace}}
    metadata = scene.metadata("move") | {"annotations": {"data.boundaryless.io/cluster": one}}
    move = payload.migrate(metadata, (mine, payload.external("s3://b/c", "keys")), {})
    await scene.client.create(MIGRATES, move)

    async def sent() -> bool:
        work = await scene.of(WORKS, one, "")
        return work is not None and "DataMigrate" in {
            m["kind"] for m in work["spec"]["workload"]["manifests"]
        }

    async def failed() -> bool:
        status = (await scene.client.get(MIGRATES, "move", scene.namespace)).get("status") or {}
        why = f"cluster {one} has a Dataset {scene.namespace}/llama of its own"
        return status.get("phase") == "Failed" and why in status["infos"]["message"] and not await sent()

    async def goes_on() -> bool:
        status = (await scene.client.get(MIGRATES, "move", scene.namespace)).get("status") or {}
        return status.get("phase") == "Pending" and await sent()

    await scene.hub.until(goes_on)
    refused = "Dataset llama of this cluster is no copy of the hub's"
    await scene.says(one, {("Dataset", "llama"): {}, ("DataLoad", "llama"): {"phase": "Complete"}}, refused)
    await scene.hub.until(failed)
    await scene.report(one)
    await scene.hub.until(goes_on)


async def test_what_ended_is_deleted_in_its_time_after_its_successor_has_begun(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "_LOOK", 0.1)
    (one,) = await scene.clusters(1)
    await scene.secret()
    await scene.create()
    after = {"runAfter": {"kind": "DataLoad", "name": "llama", "namespace": scene.namespace}}
    step = payload.data_load(scene.metadata("step"), "llama")
    await scene.client.create(DATALOADS, {**step, "spec": step["spec"] | after})
    brief = {"spec": {"ttlSecondsAfterFinished": 0}}
    await scene.client.patch(DATALOADS, "llama", brief, scene.namespace)
    await scene.report(one)

    async def phases() -> dict[str, str]:
        listed = await scene.client.list(DATALOADS, scene.namespace)
        return {op["metadata"]["name"]: (op.get("status") or {}).get("phase", "") for op in listed["items"]}

    async def are(**wanted: str) -> bool:
        return await phases() == wanted

    await scene.hub.until(lambda: are(llama="Complete", step="Pending"))
    bound, load = {"phase": "Bound"}, {"phase": "Complete"}
    said = {("Dataset", "llama"): bound, ("DataLoad", "llama"): load}
    await scene.says(one, {**said, ("DataLoad", "step"): {"phase": "Executing"}})
    await scene.hub.until(lambda: are(step="Executing"))
    await scene.hub.until(lambda: scene.sends(one, ["step"]))


async def test_what_the_hub_runs_nothing_of_says_where_it_would(scene: Scene) -> None:
    process = {"dataset": {"name": "llama", "mountPath": "/data"}, "processor": {"job": {"podSpec": {}}}}
    backup = {"dataset": "llama", "backupPath": "local:///var/backups"}
    for kind, spec in ((DataProcess.RESOURCE, process), (DataBackup.RESOURCE, backup)):
        head = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": scene.metadata("count")}
        await scene.client.create(kind, {**head, "spec": spec})
    await scene.create()

    async def refused(kind: Resource) -> bool:
        status = (await scene.client.get(kind, "count", scene.namespace)).get("status") or {}
        return f"create the {kind.kind} there" in (status.get("infos") or {}).get("message", "")

    for kind in (DataProcess.RESOURCE, DataBackup.RESOURCE):
        await scene.hub.until(partial(refused, kind))


async def test_a_rejected_cluster_keeps_no_credentials(scene: Scene) -> None:
    (one,) = await scene.clusters(1)
    await scene.secret()
    await scene.create()

    async def has(wanted: bool) -> bool:
        found = [await scene.of(r, one) for r in (SECRETS, ROLES, ROLEBINDINGS)]
        return [obj is not None for obj in found] == [wanted] * 3

    await scene.hub.until(lambda: has(True))
    for accepted in (False, True):
        patch = {"spec": {"hubAcceptsClient": accepted}}
        await scene.client.patch(ManagedCluster.RESOURCE, one, patch)
        await scene.hub.until(lambda wanted=accepted: has(wanted))
