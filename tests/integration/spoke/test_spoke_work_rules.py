"""What a work may not do, what it says of workloads, and what it leaves alone once it is over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Hashable

import pytest

from addon_framework.api.conditions import get_condition
from addon_framework.api.core import (
    CLUSTERROLEBINDINGS,
    CLUSTERROLES,
    CONFIGMAPS,
    DEPLOYMENTS,
    JOBS,
    SECRETS,
    SERVICEACCOUNTS,
)
from addon_framework.api.meta import Json
from addon_framework.api.work import ManifestWork
from addon_framework.kube import Client, Manager, NotFound
from addon_framework.spoke.work.bookkeeping import hub_hash
from addon_framework.spoke.work.controller import WorkController
from addon_framework.spoke.work.objects import SpokeObjects
from tests.integration.spoke.conftest import Fleet
from tests.integration.spoke.objects import config_for, config_map, deployment

WORK = ManifestWork.RESOURCE
RBAC = "rbac.authorization.k8s.io"


@pytest.fixture
async def joined(fleet: Fleet) -> Fleet:
    """A fleet whose cluster has joined."""
    await fleet.join()
    return fleet


def job(name: str) -> Json:
    pod = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "busybox"}]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"template": {"spec": pod}},
    }


async def finish(fleet: Fleet, name: str) -> None:
    """What the Job's controller says at the end."""
    live = await fleet.spoke.get(JOBS, name, "default")
    times = {"startTime": "2026-01-01T00:00:00Z", "completionTime": "2026-01-01T00:00:10Z"}
    kinds = ("SuccessCriteriaMet", "Complete")
    conditions = [{"type": kind, "status": "True", "reason": "r", "message": ""} for kind in kinds]
    live["status"] = {**(live.get("status") or {}), **times, "succeeded": 1, "conditions": conditions}
    await fleet.spoke.update(JOBS, live, subresource="status")


async def until_says(fleet: Fleet, work: str, kind: str, status: str) -> Json:
    async def probe() -> Json:
        found = await fleet.hub.get(WORK, work, fleet.cluster)
        condition = get_condition(found, kind)
        assert condition is not None
        assert condition["status"] == status, condition
        return condition

    said: Json = await fleet.until(probe)
    return said


async def test_a_work_says_of_a_deployment_what_its_controller_says(joined: Fleet) -> None:
    fleet, name = joined, f"says-{joined.mark}"
    work = await fleet.work("says", [deployment(name, "default", 1), config_map(name, "default")])
    await fleet.applied(work)
    available = await until_says(fleet, work, "Available", "False")
    assert available["reason"] == "WorkloadsNotAvailable"
    assert name in available["message"]
    await until_says(fleet, work, "Progressing", "True")
    live = await fleet.spoke.get(DEPLOYMENTS, name, "default")
    counts = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), 1)
    condition = {"type": "Available", "status": "True", "reason": "r", "message": ""}
    live["status"] = {
        **counts,
        "observedGeneration": live["metadata"]["generation"],
        "conditions": [condition],
    }
    await fleet.spoke.update(DEPLOYMENTS, live, subresource="status")
    for kind, status in (("Available", "True"), ("Progressing", "False"), ("Degraded", "False")):
        await until_says(fleet, work, kind, status)
    await fleet.set_work(work, [deployment(name, "default", 2), config_map(name, "default")])
    await until_says(fleet, work, "Progressing", "True")


async def test_a_job_that_is_over_is_not_run_again_and_a_new_spec_is_work_again(joined: Fleet) -> None:
    fleet, name = joined, f"job-{joined.mark}"
    rule = {"condition": "Complete", "type": "WellKnownConditions"}
    config = config_for("jobs", name, "default", "batch", conditionRules=[rule])
    work = await fleet.work("job", [job(name)], manifestConfigs=[config])
    await fleet.applied(work)
    await finish(fleet, name)
    assert (await until_says(fleet, work, "Complete", "True"))["message"] == "Job is finished"
    await fleet.spoke.delete(JOBS, name, "default")
    more = [job(name), config_map(name, "default", x="1")]
    await fleet.set_work(work, more, manifestConfigs=[config])
    await fleet.until(lambda: fleet.spoke.get(CONFIGMAPS, name, "default"))
    await fleet.applied(work)
    with pytest.raises(NotFound):
        await fleet.spoke.get(JOBS, name, "default")


async def test_without_rules_a_finished_work_lives_as_long_as_it_says(joined: Fleet) -> None:
    fleet, name = joined, f"ttl-{joined.mark}"
    work = await fleet.work("ttl", [job(name)], deleteOption={"ttlSecondsAfterFinished": 1})
    await fleet.applied(work)
    await until_says(fleet, work, "Complete", "False")
    await finish(fleet, name)
    await fleet.until_gone(fleet.hub, WORK, work, fleet.cluster)
    await fleet.until_gone(fleet.spoke, JOBS, name, "default")


async def test_what_is_only_read_is_waited_for_and_never_made(joined: Fleet) -> None:
    fleet, name = joined, f"read-{joined.mark}"
    paths = [{"name": "x", "path": ".data.x"}]
    config = config_for(
        "configmaps",
        name,
        "default",
        updateStrategy={"type": "ReadOnly"},
        feedbackRules=[{"type": "JSONPaths", "jsonPaths": paths}],
    )
    work = await fleet.work("read", [config_map(name, "default")], manifestConfigs=[config])
    await fleet.applied(work)
    await until_says(fleet, work, "Available", "False")
    await fleet.spoke.create(CONFIGMAPS, config_map(name, "default", x="theirs"))
    await until_says(fleet, work, "Available", "True")
    assert await fleet.feedback(work) == {"x": "theirs"}
    await fleet.hub.delete(WORK, work, fleet.cluster)
    await fleet.until_gone(fleet.hub, WORK, work, fleet.cluster)
    await fleet.spoke.delete(CONFIGMAPS, name, "default")  # it is still there


async def test_an_object_named_twice_is_applied_once_and_told(joined: Fleet) -> None:
    fleet, name = joined, f"twice-{joined.mark}"
    twice = [config_map(name, "default", x="1"), config_map(name, "default", x="2")]
    judged = await fleet.applied(await fleet.work("twice", twice), "False")
    condition = get_condition(judged, "Applied")
    assert condition is not None
    assert "manifests[1] is the same object as manifests[0]" in condition["message"]
    assert (await fleet.spoke.get(CONFIGMAPS, name, "default"))["data"] == {"x": "1"}


class Account:
    """An account on the spoke, and its rights."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet, self.name = fleet, f"exec-{fleet.mark}"
        account = {"name": self.name, "namespace": "default"}
        self.executor = {"subject": {"type": "ServiceAccount", "serviceAccount": account}}

    async def create(self) -> None:
        spoke, name = self._fleet.spoke, self.name
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}
        await spoke.create(SERVICEACCOUNTS, account, "default")
        role = {"apiVersion": f"{RBAC}/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": []}
        binding = {
            "apiVersion": f"{RBAC}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": "default"}],
        }
        await spoke.create(CLUSTERROLES, role)
        await spoke.create(CLUSTERROLEBINDINGS, binding)

    async def may(self, *rules: tuple[str, str, str]) -> None:
        """From now on exactly this: group, resource, verbs."""
        listed = [{"apiGroups": [g], "resources": [r], "verbs": verbs.split()} for g, r, verbs in rules]
        await self._fleet.spoke.patch(CLUSTERROLES, self.name, {"rules": listed})

    async def remove(self) -> None:
        for resource in (CLUSTERROLEBINDINGS, CLUSTERROLES):
            await self._fleet.spoke.delete(resource, self.name)
        await self._fleet.spoke.delete(SERVICEACCOUNTS, self.name, "default")


@pytest.fixture
async def account(joined: Fleet) -> AsyncIterator[Account]:
    it = Account(joined)
    await it.create()
    yield it
    await it.remove()


async def refusal(fleet: Fleet, work: str) -> str:
    found = get_condition(await fleet.applied(work, "False"), "Applied")
    assert found is not None
    return str(found["message"])


async def test_what_goes_with_the_work_the_executor_must_be_able_to_delete(
    joined: Fleet, account: Account
) -> None:
    fleet, name = joined, f"own-{joined.mark}"
    writing = "get create update patch"
    await account.may(("", "configmaps", writing))
    work = await fleet.work("own", [config_map(name, "default")], executor=account.executor)
    text = await refusal(fleet, work)
    assert f"system:serviceaccount:default:{account.name} may not delete ConfigMap default/{name}" in text
    with pytest.raises(NotFound):
        await fleet.spoke.get(CONFIGMAPS, name, "default")
    stays = {"propagationPolicy": "Orphan"}  # which needs no such right
    await fleet.set_work(work, [config_map(name, "default")], executor=account.executor, deleteOption=stays)
    await fleet.applied(work)
    await fleet.spoke.delete(CONFIGMAPS, name, "default")
    wrong = await fleet.work(
        "wrong", [config_map(name, "default")], executor={"subject": {"type": "ServiceAccount"}}
    )
    assert "needs a namespace and a name" in await refusal(fleet, wrong)


async def test_an_executor_gives_no_rights_that_it_lacks(joined: Fleet, account: Account) -> None:
    fleet = joined
    await account.may((RBAC, "clusterroles", "get create update patch delete"))
    rules = [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]
    name = f"more-{fleet.mark}"
    role = {"apiVersion": f"{RBAC}/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules}
    work = await fleet.work("more", [role], executor=account.executor)
    assert "secrets" in await refusal(fleet, work)
    with pytest.raises(NotFound):
        await fleet.spoke.get(CLUSTERROLES, name)


async def test_nothing_of_what_the_executor_may_not_read_goes_to_the_hub(
    joined: Fleet, account: Account
) -> None:
    fleet, name = joined, f"peek-{joined.mark}"
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "default"}}
    await fleet.spoke.create(SECRETS, {**secret, "stringData": {"word": "hidden"}})
    paths = [{"name": "word", "path": ".data.word"}]
    config = config_for(
        "secrets",
        name,
        "default",
        updateStrategy={"type": "ReadOnly"},
        feedbackRules=[{"type": "JSONPaths", "jsonPaths": paths}],
    )
    work = await fleet.work("peek", [secret], manifestConfigs=[config], executor=account.executor)
    assert "may not get Secret" in await refusal(fleet, work)
    assert await fleet.feedback(work) == {}
    await account.may(("", "secrets", "get"))
    await fleet.applied(work)
    assert (await fleet.feedback(work)).keys() == {"word"}
    await fleet.spoke.delete(SECRETS, name, "default")


class Deaf(SpokeObjects):
    """Hears of no change, as if its kinds could not be watched."""

    def listen(self, listener: Callable[[Hashable], None]) -> None:
        pass


async def test_what_no_watch_tells_is_looked_at_again_in_time(joined: Fleet) -> None:
    fleet, name = joined, f"deaf-{joined.mark}"
    await fleet.kill()
    objects = Deaf(fleet.spoke)
    async with Client(fleet.hub.config) as hub:
        manager = Manager(hub, name="deaf")
        controller = WorkController(objects, fleet.cluster, hub_hash(hub.server), "agent", resync=0.5)
        manager.add(controller)
        task = asyncio.create_task(manager.run())
        try:
            await fleet.applied(await fleet.work("deaf", [config_map(name, "default", x="1")]))
            await fleet.spoke.patch(CONFIGMAPS, name, {"data": {"x": "2"}}, "default")

            async def repaired() -> bool:
                return bool((await fleet.spoke.get(CONFIGMAPS, name, "default"))["data"]["x"] == "1")

            await fleet.until(repaired)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await objects.close()


async def test_what_is_there_is_taken_over_and_what_was_left_is_taken_back(joined: Fleet) -> None:
    fleet, name = joined, f"adopt-{joined.mark}"
    await fleet.spoke.create(CONFIGMAPS, config_map(name, "default", theirs="1", x="1"))

    async def shown(owners: int) -> Json:
        obj = await fleet.spoke.get(CONFIGMAPS, name, "default")
        assert len(obj["metadata"].get("ownerReferences") or []) == owners
        return dict(obj["data"])

    orphan = {"propagationPolicy": "Orphan"}
    first = await fleet.work("first", [config_map(name, "default", x="2")])
    await fleet.applied(first)
    assert await fleet.until(lambda: shown(1)) == {"theirs": "1", "x": "2"}
    await fleet.set_work(first, [config_map(name, "default", x="2")], deleteOption=orphan)
    await fleet.applied(first)
    await fleet.until(lambda: shown(0))
    await fleet.hub.delete(WORK, first, fleet.cluster)
    await fleet.until_gone(fleet.hub, WORK, first, fleet.cluster)
    second = await fleet.work("second", [config_map(name, "default", x="3")])
    await fleet.applied(second)
    assert await fleet.until(lambda: shown(1)) == {"theirs": "1", "x": "3"}
    await fleet.hub.delete(WORK, second, fleet.cluster)
    await fleet.until_gone(fleet.spoke, CONFIGMAPS, name, "default")
