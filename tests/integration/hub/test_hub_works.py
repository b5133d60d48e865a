"""ManifestWorkReplicaSets over placements, and works that end some time after they are complete."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from addon_framework.api.cluster import ManagedClusterSetBinding, Placement
from addon_framework.api.conditions import get_condition
from addon_framework.api.time import now_rfc3339
from addon_framework.api.work import ManifestWork, ManifestWorkReplicaSet
from addon_framework.hub.work.children import OWNER_LABEL, PLACEMENT_NAME_LABEL
from addon_framework.kube import NotFound
from tests.integration.hub.conftest import Hub
from tests.integration.hub.objects import Json, binding, labelled, placement

WORK = ManifestWork.RESOURCE
SETS = ManifestWorkReplicaSet.RESOURCE


def replica_set(namespace: str, *refs: Json, name: str = "rs", **spec: Any) -> Json:
    return {
        "apiVersion": SETS.api_version,
        "kind": SETS.kind,
        "metadata": {"name": name, "namespace": namespace, "labels": {"team": "a"}},
        "spec": {
            "manifestWorkTemplate": template("1"),
            "placementRefs": list(refs or [{"name": "p"}]),
            **spec,
        },
    }


def template(value: str) -> Json:
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "m", "namespace": "default"},
        "data": {"value": value},
    }
    return {"workload": {"manifests": [config]}}


class Fanout:
    """A hub with some clusters that a placement `p` chooses, and what their agents report."""

    def __init__(self, hub: Hub, namespace: str) -> None:
        self.hub, self.namespace, self.client = hub, namespace, hub.client
        self.clusters: list[str] = []

    async def prepare(self, count: int, **spec: Any) -> None:
        await self.client.create(ManagedClusterSetBinding.RESOURCE, binding(self.namespace))
        label = {"fanout": self.namespace}
        self.clusters = sorted(await asyncio.gather(*(self.hub.cluster(**label) for _ in range(count))))
        wanted = placement(self.namespace, predicates=labelled("fanout", self.namespace), **spec)
        await self.client.create(Placement.RESOURCE, wanted)

    async def works(self) -> dict[str, Json]:
        listed = await self.client.list(WORK, label_selector=f"{OWNER_LABEL}={self.namespace}.rs")
        return {work["metadata"]["namespace"]: work for work in listed["items"]}

    async def until_works(self, clusters: list[str], value: str = "1") -> dict[str, Json]:
        """Exactly these clusters have a work of this template."""

        async def probe() -> dict[str, Json] | None:
            works = await self.works()
            current = {c: w for c, w in works.items() if value_of(w) == value}
            assert sorted(current) == sorted(clusters), (sorted(current), clusters)
            return current or {"none": {}}

        found: dict[str, Json] = await self.hub.until(probe)
        return found

    async def report(self, cluster: str, **conditions: str) -> None:
        """What the cluster's agent says of its work as it is now."""

        async def write() -> Json:
            work = (await self.works())[cluster]
            generation = work["metadata"]["generation"]
            said = {"Applied": "True", "Available": "True", **conditions}
            work["status"] = {
                "conditions": [
                    {
                        "type": kind,
                        "status": status,
                        "reason": "Test",
                        "message": "",
                        "observedGeneration": generation,
                        "lastTransitionTime": now_rfc3339(),
                    }
                    for kind, status in said.items()
                ]
            }
            return await self.client.update(WORK, work, subresource="status")

        await self.hub.until(write)

    async def until_condition(self, kind: str, reason: str) -> Json:
        async def probe() -> Json:
            found = await self.client.get(SETS, "rs", self.namespace)
            condition = get_condition(found, kind)
            assert condition is not None, found.get("status")
            assert condition["reason"] == reason, condition
            return found

        result: Json = await self.hub.until(probe)
        return result

    async def change(self, **spec: Any) -> None:
        await self.client.patch(SETS, "rs", {"spec": spec}, self.namespace)

    async def gone(self) -> bool:
        try:
            await self.client.get(SETS, "rs", self.namespace)
        except NotFound:
            return True
        return False


def value_of(work: Json) -> str:
    return str(work["spec"]["workload"]["manifests"][0]["data"]["value"])


@pytest.fixture
def fanout(hub: Hub, namespace: str) -> Fanout:
    return Fanout(hub, namespace)


async def test_every_chosen_cluster_has_a_work_and_the_status_sums_up(fanout: Fanout) -> None:
    await fanout.prepare(2)
    await fanout.client.create(SETS, replica_set(fanout.namespace))
    works = await fanout.until_works(fanout.clusters)
    labels = works[fanout.clusters[0]]["metadata"]["labels"]
    assert labels == {OWNER_LABEL: f"{fanout.namespace}.rs", PLACEMENT_NAME_LABEL: "p", "team": "a"}
    await fanout.until_condition("ManifestworkApplied", "Processing")
    for cluster in fanout.clusters:
        await fanout.report(cluster)
    found = await fanout.until_condition("PlacementRolledOut", "Complete")
    found = await fanout.until_condition("ManifestworkApplied", "AsExpected")
    assert get_condition(found, "PlacementVerified")["reason"] == "AsExpected"  # type: ignore[index]
    summary = {"applied": 2, "available": 2, "progressing": 0, "degraded": 0}
    assert found["status"]["summary"] == {**summary, "total": 2, "desiredTotal": 2, "updated": 2}
    assert found["status"]["placementSummary"] == [
        {
            "name": "p",
            "availableDecisionGroups": "1 (2 / 2 clusters applied)",
            "summary": {**summary, "total": 2},
        }
    ]


async def test_works_follow_the_decisions_and_a_manager_killed_in_between(fanout: Fanout) -> None:
    await fanout.prepare(2)
    await fanout.client.create(SETS, replica_set(fanout.namespace))
    await fanout.until_works(fanout.clusters)
    await fanout.hub.stop()
    late = await fanout.hub.cluster(available=False, fanout=fanout.namespace)
    await fanout.client.patch(SETS, "rs", {"spec": {"manifestWorkTemplate": template("2")}}, fanout.namespace)
    await fanout.hub.start()
    await fanout.hub.available(late)
    await fanout.until_works([*fanout.clusters, late], "2")
    left = fanout.clusters[0]
    await fanout.client.patch(Placement.RESOURCE, "p", {"spec": {"numberOfClusters": 0}}, fanout.namespace)
    await fanout.until_works([], "2")
    await fanout.until_condition("PlacementVerified", "PlacementDecisionEmpty")
    assert left not in await fanout.works()


async def test_a_missing_placement_is_told_and_takes_nothing_away(fanout: Fanout) -> None:
    await fanout.prepare(1)
    await fanout.client.create(SETS, replica_set(fanout.namespace, {"name": "p"}, {"name": "q"}))
    await fanout.until_works(fanout.clusters)
    found = await fanout.until_condition("PlacementVerified", "PlacementDecisionNotFound")
    assert "q" in get_condition(found, "PlacementVerified")["message"]  # type: ignore[index]
    await fanout.client.delete(Placement.RESOURCE, "p", fanout.namespace)
    await fanout.client.patch(SETS, "rs", {"metadata": {"labels": {"team": "b"}}}, fanout.namespace)
    await fanout.until_condition("PlacementVerified", "PlacementDecisionNotFound")
    assert list(await fanout.works()) == fanout.clusters
    await fanout.change(placementRefs=[{"name": "q"}])
    await fanout.until_works([])


async def test_a_change_rolls_on_cluster_by_cluster_and_stops_at_a_failure(fanout: Fanout) -> None:
    await fanout.prepare(3)
    strategy = {"type": "Progressive", "progressive": {"maxConcurrency": 1}}
    await fanout.client.create(
        SETS, replica_set(fanout.namespace, {"name": "p", "rolloutStrategy": strategy})
    )
    first, second, third = fanout.clusters
    await fanout.until_works([first])
    await fanout.report(first)
    await fanout.until_works([first, second])
    await fanout.report(second, Progressing="True")
    await fanout.until_condition("ManifestworkApplied", "Processing")
    assert sorted(await fanout.works()) == [first, second]
    await fanout.report(second, Progressing="True", Degraded="True")
    found = await fanout.until_condition("ManifestworkApplied", "NotAsExpected")
    message = get_condition(found, "PlacementRolledOut")["message"]  # type: ignore[index]
    assert second in message
    assert "maxFailures" in message
    await fanout.report(second, Progressing="False", Degraded="False")
    await fanout.until_works([first, second, third])


async def test_who_does_not_get_there_in_time_gives_way_until_too_many_have(fanout: Fanout) -> None:
    await fanout.prepare(3)
    options = {"maxConcurrency": 1, "progressDeadline": "1s", "maxFailures": 1}
    strategy = {"type": "Progressive", "progressive": options}
    ref = {"name": "p", "rolloutStrategy": strategy}
    await fanout.client.create(SETS, replica_set(fanout.namespace, ref))
    first, second, _ = fanout.clusters
    await fanout.until_works([first])
    await fanout.report(first, Progressing="True")
    await fanout.until_works([first, second])  # a second later; one may fail
    await fanout.report(second, Progressing="True")

    async def stopped() -> bool:
        found = await fanout.client.get(SETS, "rs", fanout.namespace)
        message = get_condition(found, "PlacementRolledOut")["message"]  # type: ignore[index]
        return "maxFailures" in message and first in message and second in message

    await fanout.hub.until(stopped)
    assert sorted(await fanout.works()) == [first, second]


async def test_mandatory_groups_go_first_and_success_must_last(fanout: Fanout) -> None:
    groups = [
        {
            "groupName": "canary",
            "groupClusterSelector": {"labelSelector": {"matchLabels": {"stage": "canary"}}},
        }
    ]
    await fanout.prepare(2, decisionStrategy={"groupStrategy": {"decisionGroups": groups}})
    canary = await fanout.hub.cluster(fanout=fanout.namespace, stage="canary")
    options = {"mandatoryDecisionGroups": [{"groupName": "canary"}], "minSuccessTime": "1s"}
    ref = {"name": "p", "rolloutStrategy": {"type": "ProgressivePerGroup", "progressivePerGroup": options}}
    await fanout.hub.until(lambda: _has_canary(fanout, canary))
    await fanout.client.create(SETS, replica_set(fanout.namespace, ref))
    await fanout.until_works([canary])
    await fanout.report(canary, Progressing="False")
    await fanout.until_works([canary, *fanout.clusters])


async def _has_canary(fanout: Fanout, canary: str) -> bool:
    found = await fanout.client.get(Placement.RESOURCE, "p", fanout.namespace)
    groups = found["status"]["decisionGroups"]
    return groups[0].get("decisionGroupName") == "canary" and groups[0]["clusterCount"] == 1


async def _says(fanout: Fanout, text: str) -> bool:
    found = await fanout.until_condition("ManifestworkApplied", "Processing")
    return text in get_condition(found, "ManifestworkApplied")["message"]  # type: ignore[index]


@pytest.mark.parametrize("policy", ["Background", "Foreground"])
async def test_deletion_takes_the_works_along(fanout: Fanout, policy: str) -> None:
    await fanout.prepare(1)
    await fanout.client.create(SETS, replica_set(fanout.namespace, cascadeDeletionPolicy=policy))
    works = await fanout.until_works(fanout.clusters)
    cluster = fanout.clusters[0]
    name = works[cluster]["metadata"]["name"]
    held = {"metadata": {"finalizers": ["spoke.test/held"]}}
    await fanout.client.patch(WORK, name, held, cluster)
    await fanout.client.delete(SETS, "rs", fanout.namespace)
    if policy == "Foreground":
        await fanout.hub.until(lambda: _says(fanout, f"{cluster}/{name}"))
        assert await fanout.hub.until(lambda: _says(fanout, "the cluster's agent has not answered"))
        deleting = {"type": "Deleting", "status": "True", "reason": "Test", "message": "waiting for x"}
        deleting["lastTransitionTime"] = now_rfc3339()
        status = {"status": {"conditions": [deleting]}}
        await fanout.client.patch(WORK, name, status, cluster, subresource="status")
        await fanout.hub.until(lambda: _says(fanout, f"{name} (waiting for x)"))
    else:
        await fanout.hub.until(fanout.gone)
    leaving = (await fanout.works())[cluster]
    assert leaving["metadata"]["deletionTimestamp"]
    await fanout.client.patch(WORK, name, {"metadata": {"finalizers": None}}, cluster)
    await fanout.hub.until(fanout.gone)
    assert await fanout.works() == {}


async def test_a_template_that_no_work_can_hold_is_refused_with_the_reason(fanout: Fanout) -> None:
    await fanout.prepare(1)
    big = replica_set(fanout.namespace)
    big["spec"]["manifestWorkTemplate"] = template("x" * 600_000)
    await fanout.client.create(SETS, big)
    found = await fanout.until_condition("ManifestworkApplied", "NotAsExpected")
    assert "512000" in get_condition(found, "ManifestworkApplied")["message"]  # type: ignore[index]
    assert await fanout.works() == {}


async def test_a_finished_work_is_deleted_when_its_time_is_over(fanout: Fanout) -> None:
    await fanout.prepare(1)
    cluster = fanout.clusters[0]

    async def complete(name: str) -> None:
        condition = {"type": "Complete", "status": "True", "reason": "Test", "message": ""}
        condition["lastTransitionTime"] = now_rfc3339()
        status = {"status": {"conditions": [condition]}}
        await fanout.client.patch(WORK, name, status, cluster, subresource="status")

    spec = {**template("1"), "deleteOption": {"ttlSecondsAfterFinished": 0}}
    await fanout.client.create(SETS, replica_set(fanout.namespace, manifestWorkTemplate=spec))
    kept = (await fanout.until_works([cluster]))[cluster]["metadata"]
    await complete(kept["name"])  # that of a replica set is the set's to delete: it would make it again
    for name, ttl in (("short", 0), ("long", 3600)):
        spec = {**template("1"), "deleteOption": {"ttlSecondsAfterFinished": ttl}}
        work = {"apiVersion": WORK.api_version, "kind": WORK.kind, "metadata": {"name": name}, "spec": spec}
        await fanout.client.create(WORK, work, cluster)
        await complete(name)

    async def without_short() -> bool:
        listed = (await fanout.client.list(WORK, cluster))["items"]
        uids = {work["metadata"]["name"]: work["metadata"]["uid"] for work in listed}
        return uids.keys() == {kept["name"], "long"} and bool(uids[kept["name"]] == kept["uid"])

    await fanout.hub.until(without_short)
