"""One DataMigrate on the hub for what two clusters cache of a Dataset; clusters that have no agent."""

from __future__ import annotations

from typing import Any

import pytest

from addon_framework.api.cluster import ManagedCluster
from addon_framework.api.data import JuiceFSRuntime
from addon_framework.api.meta import Json
from addons.cache_runtime.hub import payload
from addons.cache_runtime.hub.holding import ADDONS, AGENT
from addons.cache_runtime.hub.names import CLUSTER_ANNOTATION, FROM_CLUSTER_ANNOTATION, PEERS_ANNOTATION
from tests.integration.cache_runtime.fleet_scene import DATASETS, MIGRATES, WORKS, Scene, scene

__all__ = ["scene"]


class Migration:
    """Of the Dataset `llama`, from one cluster to another."""

    def __init__(self, scene: Scene, one: str, two: str) -> None:
        self.scene, self.client, self.two = scene, scene.client, two
        metadata = scene.metadata("move")
        metadata["annotations"] = {FROM_CLUSTER_ANNOTATION: one, CLUSTER_ANNOTATION: two}
        end = {"dataset": {"name": "llama", "namespace": scene.namespace}}
        self.object = payload.migrate(metadata, (end, end), {})

    async def until(self, phase: str, message: str = "") -> Json:
        """Its status."""

        async def probe() -> Json | None:
            status: Json = (await self.client.get(MIGRATES, "move", self.scene.namespace)).get("status") or {}
            said = (status.get("infos") or {}).get("message", "")
            return status if status.get("phase") == phase and message in said else None

        found: Json = await self.scene.hub.until(probe)
        return found

    async def load(self, cluster: str) -> Json | None:
        """What a cluster is to do."""
        work = await self.scene.of(WORKS, cluster, "") or {"spec": {"workload": {"manifests": []}}}
        made = [m for m in work["spec"]["workload"]["manifests"] if m["metadata"]["name"] == "move-migrate"]
        return made[0] if made else None

    async def says(self, cluster: str, **infos: str) -> None:
        """What its DataLoad reports there."""
        said = {("Dataset", "llama"): {"phase": "Bound"}, ("DataLoad", "move-migrate"): infos}
        await self.scene.says(cluster, said)


async def without_load(scene: Scene) -> None:
    metadata = scene.metadata(**{"cluster.open-cluster-management.io/placement": "p"})
    await scene.client.create(DATASETS, payload.dataset(metadata, "s3://m/llama", {}, "keys"))


async def reached(scene: Scene, cluster: str, at: str) -> None:
    patch = {"metadata": {"annotations": {PEERS_ANNOTATION: at}}}
    await scene.client.patch(ManagedCluster.RESOURCE, cluster, patch)


async def test_a_migration_between_clusters_is_a_load_from_the_ones_cache_at_the_other(scene: Scene) -> None:
    one, two = await scene.clusters(2)
    await scene.secret()
    await without_load(scene)
    await scene.report(one, cachedBytes=0)
    migration = Migration(scene, one, two)
    await scene.client.create(MIGRATES, migration.object)
    await migration.until("Pending", f"{PEERS_ANNOTATION} of ManagedCluster {one} must say where")
    await reached(scene, one, "10.1.0.1:30465")
    await migration.until("Pending", f"{PEERS_ANNOTATION} of ManagedCluster {two} must say where")
    await reached(scene, two, "10.2.0.1:30465")
    await migration.until("Pending", f"the cache of cluster {one} has nothing")
    await scene.report(one, cachedBytes=100)
    load = await scene.hub.until(lambda: migration.load(two))
    assert load["spec"] == {
        "dataset": {"name": "llama", "namespace": scene.namespace},
        "target": [{"path": "/", "replicas": 1}],
        "options": {"from": "10.1.0.1:30465"},
        "policy": "Once",
    }
    assert await migration.load(one) is None
    refusal = "weights: 10.1.0.1:30465: has it not in its cache"
    await migration.says(two, phase="Failed", message=refusal)
    await migration.until("Failed", refusal)

    # It succeeds when the cluster tries again, and then it is over: nothing is left to be done anew.
    numbers = {"peerBytes": "90", "originBytes": "10", "bytes": "100", "totalBytes": "100"}
    await migration.says(two, phase="Complete", duration="3s", **numbers)
    status = await migration.until("Complete")
    told = {**numbers, "percentage": "100.0%", "loaded": "100.00B"}
    assert (status["duration"], status["infos"]) == ("3s", told)

    async def over() -> bool:
        return await migration.load(two) is None

    await scene.hub.until(over)
    assert (await migration.until("Complete"))["infos"] == status["infos"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"from": {"dataset": {"name": "other", "namespace": "n"}}}, "must be the same"),
        ({"to": {"externalStorage": {"uri": "s3://a/b"}}}, "must be the same"),
        ("same cluster", "both name"),
        ("juicefs", "JuiceFSRuntime llama: other clusters can only read the caches of a LocalRuntime"),
    ],
)
async def test_what_cannot_be_moved_fails_and_says_why(scene: Scene, change: Any, why: str) -> None:
    one, two = await scene.clusters(2)
    await scene.secret()
    migration = Migration(scene, one, one if change == "same cluster" else two)
    if isinstance(change, dict):
        migration.object["spec"] |= change
    if change == "juicefs":
        runtime = payload.runtime(scene.metadata(), "juicefs")
        await scene.client.create(JuiceFSRuntime.RESOURCE, runtime)
    await without_load(scene)
    await scene.client.create(MIGRATES, migration.object)
    await migration.until("Failed", why)


async def test_a_cluster_without_the_agent_gets_nothing_and_is_named(scene: Scene) -> None:
    one, two = await scene.clusters(2)
    await scene.secret()
    await without_load(scene)
    await scene.report(two)
    await scene.hub.until(lambda: scene.of(WORKS, one, ""))
    await scene.client.delete(ADDONS, AGENT, one)

    def lacks(status: Json) -> bool:
        entry = next((each for each in status.get("clusters") or [] if each["name"] == one), {})
        said = f"fleetadm addon enable cache-runtime --clusters {one}"
        return entry.get("phase") == "Pending" and said in entry.get("message", "")

    await scene.hub.until(lambda: scene.without_agent(one))
    status = (await scene.until(lacks))["status"]
    assert await scene.of(WORKS, one, "") is None
    assert "1 of 2 clusters have it bound" in str(status["conditions"])
    await scene.agent(one)
    await scene.hub.until(lambda: scene.of(WORKS, one, ""))
    await scene.report(one)
    await scene.until(lambda status: not lacks(status) and status.get("phase") == "Bound")
