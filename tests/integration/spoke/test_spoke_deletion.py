"""What a work that is being deleted says of the objects that hold it."""

from __future__ import annotations

import pytest

from addon_framework.api.conditions import get_condition
from addon_framework.api.core import CONFIGMAPS, NAMESPACES
from addon_framework.api.meta import Json
from addon_framework.api.work import ManifestWork
from addon_framework.hub.admission import BINDINGS, POLICIES
from addon_framework.kube import Forbidden, Invalid
from tests.integration.spoke.conftest import Fleet
from tests.integration.spoke.objects import config_for

WORK = ManifestWork.RESOURCE


@pytest.fixture
async def joined(fleet: Fleet) -> Fleet:
    await fleet.join()
    return fleet


def config_map(name: str, namespace: str) -> Json:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}}


async def until_said(fleet: Fleet, work: str, *texts: str) -> None:
    async def said() -> bool:
        found = get_condition(await fleet.hub.get(WORK, work, fleet.cluster), "Deleting")
        message = found["message"] if found else ""
        assert all(text in message for text in texts), message
        return True

    await fleet.until(said)


async def test_a_namespace_says_what_is_left_in_it(joined: Fleet) -> None:
    fleet, space = joined, f"left-{joined.mark}"
    made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space}}
    work = await fleet.work("space", [made])
    await fleet.until_condition(WORK, work, "Applied", namespace=fleet.cluster)
    held = config_map("held", space)
    held["metadata"]["finalizers"] = ["test/held"]
    await fleet.spoke.create(CONFIGMAPS, held)
    await fleet.hub.delete(WORK, work, fleet.cluster)
    waits = f"waiting for 1 resources to go: namespaces {space} ("
    await until_said(fleet, work, waits, "Some resources are remaining: configmaps")
    await fleet.spoke.patch(CONFIGMAPS, "held", {"metadata": {"finalizers": None}}, space)
    await fleet.until_gone(fleet.hub, WORK, work, fleet.cluster)
    await fleet.until_gone(fleet.spoke, NAMESPACES, space)


async def test_a_refused_deletion_is_told_with_the_words_of_whoever_refuses(joined: Fleet) -> None:
    fleet, name = joined, f"kept-{joined.mark}"
    rule = {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": ["DELETE"],
        "resources": ["configmaps"],
        "resourceNames": [name],
    }
    policy = {
        "apiVersion": POLICIES.api_version,
        "kind": POLICIES.kind,
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {"resourceRules": [rule]},
            "validations": [{"expression": "false", "message": "the auditors keep it"}],
        },
    }
    binding = {
        "apiVersion": BINDINGS.api_version,
        "kind": BINDINGS.kind,
        "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    }
    work = await fleet.work("kept", [config_map(name, "default")])
    await fleet.until_condition(WORK, work, "Applied", namespace=fleet.cluster)
    for resource, obj in ((POLICIES, policy), (BINDINGS, binding)):
        await fleet.spoke.create(resource, obj)

    async def in_force() -> bool:
        path = CONFIGMAPS.path("default", name)
        try:
            await fleet.spoke.request("DELETE", path, params={"dryRun": "All"})
        except (Forbidden, Invalid):
            return True
        return False

    await fleet.until(in_force)
    await fleet.hub.delete(WORK, work, fleet.cluster)
    await until_said(fleet, work, f"configmaps default/{name} (", "the auditors keep it")
    assert await fleet.spoke.get(CONFIGMAPS, name, "default")
    for resource in (BINDINGS, POLICIES):
        await fleet.spoke.delete(resource, name)
    await fleet.until_gone(fleet.hub, WORK, work, fleet.cluster)
    await fleet.until_gone(fleet.spoke, CONFIGMAPS, name, "default")


async def test_what_was_disowned_by_hand_while_the_agent_was_away_goes_with_its_work(fleet: Fleet) -> None:
    await fleet.join()
    obj = f"disowned-{fleet.mark}"
    name = await fleet.work("disowned", [config_map(obj, "default")])
    await fleet.applied(name)
    await fleet.kill()
    await fleet.spoke.patch(CONFIGMAPS, obj, {"metadata": {"ownerReferences": None}}, "default")
    await fleet.hub.delete(ManifestWork.RESOURCE, name, fleet.cluster)
    fleet.start_agent()
    await fleet.until_gone(fleet.hub, ManifestWork.RESOURCE, name, fleet.cluster)
    await fleet.until_gone(fleet.spoke, CONFIGMAPS, obj, "default")


async def test_what_the_cluster_would_not_give_to_a_work_stays_when_that_goes(joined: Fleet) -> None:
    fleet, name = joined, f"theirs-{joined.mark}"
    theirs = {**config_map(name, "default"), "data": {"owner": "person"}}
    await fleet.spoke.apply(theirs, field_manager="person", resource=CONFIGMAPS)
    config = config_for("configmaps", name, "default", updateStrategy={"type": "ServerSideApply"})
    ours = {**theirs, "data": {"owner": "work"}}
    work = await fleet.work("theirs", [ours], manifestConfigs=[config])
    await fleet.applied(work, "False")
    await fleet.hub.delete(WORK, work, fleet.cluster)
    await fleet.until_gone(fleet.hub, WORK, work, fleet.cluster)
    kept = await fleet.spoke.get(CONFIGMAPS, name, "default")
    assert kept["data"] == {"owner": "person"}
    assert "ownerReferences" not in kept["metadata"]


async def test_what_a_work_only_reads_since_a_moment_before_its_end_stays(fleet: Fleet) -> None:
    await fleet.join()
    obj = f"read-{fleet.mark}"
    manifests = [config_map(obj, "default")]
    name = await fleet.work("read", manifests)
    await fleet.applied(name)
    await fleet.kill()
    config = config_for("configmaps", obj, "default", updateStrategy={"type": "ReadOnly"})
    await fleet.set_work(name, manifests, manifestConfigs=[config])
    await fleet.hub.delete(WORK, name, fleet.cluster)
    fleet.start_agent()
    await fleet.until_gone(fleet.hub, WORK, name, fleet.cluster)
    kept = await fleet.spoke.get(CONFIGMAPS, obj, "default")
    assert "ownerReferences" not in kept["metadata"]
