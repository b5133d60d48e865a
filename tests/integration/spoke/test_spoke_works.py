"""Works become objects, stay what they say, report back, and go."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import Any

import pytest

from addon_framework.api.conditions import get_condition, is_true
from addon_framework.api.core import (
    CLUSTERROLEBINDINGS,
    CLUSTERROLES,
    CONFIGMAPS,
    CRDS,
    DEPLOYMENTS,
    NAMESPACES,
    SECRETS,
    SERVICEACCOUNTS,
)
from addon_framework.api.meta import Json
from addon_framework.api.work import AppliedManifestWork, ManifestWork
from addon_framework.kube import Client, NotFound
from addon_framework.spoke.work.bookkeeping import applied_name, hub_hash
from addon_framework.spoke.work.controller import RESYNC
from tests.integration.spoke.conftest import Fleet
from tests.integration.spoke.objects import (
    config_for,
    config_map,
    deployment,
    namespace_object,
    widget,
    widget_crd,
)

WORK = ManifestWork.RESOURCE


@pytest.fixture
async def joined(fleet: Fleet) -> Fleet:
    """A fleet whose cluster has joined."""
    await fleet.join()
    return fleet


def book(fleet: Fleet, work: str) -> str:
    return applied_name(hub_hash(fleet.hub.server), work)


async def test_order_prune_and_books(joined: Fleet) -> None:
    fleet, space = joined, f"w{joined.mark}"
    a, b = config_map("a", space, x="1"), config_map("b", space, x="1")
    name = await fleet.work("order", [a, b, namespace_object(space)])  # the namespace is listed last
    work = await fleet.applied(name)
    assert is_true(work, "Available")
    metas = [m["resourceMeta"] for m in work["status"]["resourceStatus"]["manifests"]]
    assert [(m["ordinal"], m["resource"], m["name"]) for m in metas] == [
        (0, "configmaps", "a"),
        (1, "configmaps", "b"),
        (2, "namespaces", space),
    ]
    applied = await fleet.spoke.get(AppliedManifestWork.RESOURCE, book(fleet, name))
    entries = {(e["resource"], e["name"]): e for e in applied["status"]["appliedResources"]}
    live = await fleet.spoke.get(CONFIGMAPS, "a", space)
    assert entries[("configmaps", "a")]["uid"] == live["metadata"]["uid"]
    assert live["metadata"]["ownerReferences"][0]["uid"] == applied["metadata"]["uid"]

    await fleet.set_work(name, [config_map("a", space, y="2"), namespace_object(space)])
    await fleet.applied(name)
    await fleet.until_gone(fleet.spoke, CONFIGMAPS, "b", space)
    assert (await fleet.spoke.get(CONFIGMAPS, "a", space))["data"] == {"y": "2"}  # x has left the manifest

    await fleet.hub.delete(WORK, name, fleet.cluster)
    await fleet.until_gone(fleet.hub, WORK, name, fleet.cluster)
    with pytest.raises(NotFound):
        await fleet.spoke.get(AppliedManifestWork.RESOURCE, book(fleet, name))
    with pytest.raises(NotFound):
        await fleet.spoke.get(NAMESPACES, space)


async def test_drift_is_repaired_long_before_all_is_looked_at_again(joined: Fleet) -> None:
    fleet, name = joined, f"drift-{joined.mark}"
    await fleet.applied(await fleet.work("drift", [config_map(name, "default", x="1")]))

    async def repaired() -> bool:
        return (await fleet.spoke.get(CONFIGMAPS, name, "default"))["data"]["x"] == "1"

    began = time.monotonic()
    await fleet.spoke.patch(CONFIGMAPS, name, {"data": {"x": "2"}}, "default")
    await fleet.until(repaired)
    await fleet.spoke.delete(CONFIGMAPS, name, "default")
    await fleet.until(repaired)
    await fleet.spoke.patch(CONFIGMAPS, name, {"data": {"others": "keep"}}, "default")
    await fleet.spoke.patch(CONFIGMAPS, name, {"data": {"x": "3"}}, "default")
    await fleet.until(repaired)
    assert time.monotonic() - began < RESYNC / 2
    assert (await fleet.spoke.get(CONFIGMAPS, name, "default"))["data"]["others"] == "keep"


async def test_a_settled_work_is_not_written_again(joined: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet, name = joined, f"still-{joined.mark}"
    odd = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "default"}}
    odd["stringData"] = {"never": "read back"}  # the server says it in other words
    manifests = [deployment(name, "default"), config_map(name, "default", x="1")]
    await fleet.applied(await fleet.work("still", manifests))
    await fleet.applied(await fleet.work("odd", [odd]))
    await fleet.kill()
    writes: list[str] = []
    request = Client.request

    async def recording(client: Client, method: str, path: str, **options: Any) -> Json:
        if method != "GET":
            writes.append(f"{method} {path}")
        return await request(client, method, path, **options)

    monkeypatch.setattr(Client, "request", recording)
    fleet.start_agent()
    other = f"other-{fleet.mark}"
    await fleet.applied(await fleet.work("other", [config_map(other, "default")]))
    for resource in ("deployments", "configmaps"):
        assert not [w for w in writes if w.endswith(f"{resource}/{name}")]
    assert not [w for w in writes if "manifestworks" in w and f"/still-{fleet.mark}" in w]
    poke = {"metadata": {"annotations": {"touched": "by another"}}}
    for resource in (SECRETS, DEPLOYMENTS):
        await fleet.spoke.patch(resource, name, poke, "default")
    await fleet.set_work(f"other-{fleet.mark}", [config_map(other, "default", x="2")])
    await fleet.applied(f"other-{fleet.mark}")
    sent = [w for w in writes if w.startswith("PATCH") and w.endswith(f"secrets/{name}")]
    assert len(sent) <= 3  # ours after the restart, the poke, and one answer to it


async def test_feedback_comes_by_watch(joined: Fleet) -> None:
    fleet, name = joined, f"fb-{joined.mark}"
    paths = [
        {"name": "image", "path": ".spec.template.spec.containers[0].image"},
        {"name": "progressing", "path": '.status.conditions[?(@.type=="Progressing")].status'},
        {"name": "labels", "path": ".spec.selector.matchLabels"},
        {"name": "none", "path": ".status.nothing"},
    ]
    rules = [{"type": "WellKnownStatus"}, {"type": "JSONPaths", "jsonPaths": paths}]
    config = config_for("deployments", name, "default", "apps", feedbackRules=rules)
    work = await fleet.work("fb", [deployment(name, "default", 2)], manifestConfigs=[config])
    await fleet.applied(work)
    live = await fleet.spoke.get(DEPLOYMENTS, name, "default")
    condition = {"type": "Progressing", "status": "True", "reason": "r", "message": "m"}
    status = {"replicas": 2, "readyReplicas": 1, "availableReplicas": 1, "conditions": [condition]}
    live["status"] = {**(live.get("status") or {}), **status, "observedGeneration": 1}
    await fleet.spoke.update(DEPLOYMENTS, live, subresource="status")

    async def reported() -> bool:
        values = await fleet.feedback(work)
        return bool(
            values
            == {
                "ReadyReplicas": 1,
                "Replicas": 2,
                "AvailableReplicas": 1,
                "image": "busybox",
                "progressing": "True",
                "labels": f'{{"app":"{name}"}}',
            }
        )

    await fleet.until(reported)


async def test_a_crd_and_its_instances_in_one_work(joined: Fleet) -> None:
    fleet, plural = joined, f"w{joined.mark}"
    rules = [
        {"condition": "Progressing", "type": "CEL", "celExpressions": ["object.spec.size > 1"]},
        {
            "condition": "Degraded",
            "type": "CEL",
            "celExpressions": ["has(object.status) && object.status.broken"],
            "message": "broken?",
        },
    ]
    config = config_for(plural, "one", "default", f"{plural}.spoke.test", conditionRules=rules)
    manifests = [widget(plural, "one", "default", size=2), widget_crd(plural)]
    name = await fleet.work("crd", manifests, manifestConfigs=[config])
    work = await fleet.applied(name)
    progressing, degraded = get_condition(work, "Progressing"), get_condition(work, "Degraded")
    assert progressing
    assert progressing["status"] == "True"
    assert degraded
    assert degraded["status"] == "False"
    assert degraded["message"] == "broken?"
    await fleet.hub.delete(WORK, name, fleet.cluster)
    await fleet.until_gone(fleet.hub, WORK, name, fleet.cluster)
    await fleet.until_gone(fleet.spoke, CRDS, f"{plural}.{plural}.spoke.test")


async def test_a_kind_that_comes_later_is_applied_then(joined: Fleet) -> None:
    fleet, plural = joined, f"l{joined.mark}"
    name = await fleet.work("later", [widget(plural, "one", "default", size=2)])
    work = await fleet.applied(name, "False")
    condition = get_condition(work, "Applied")
    assert condition
    assert f"{plural}.spoke.test/v1" in condition["message"]
    await fleet.spoke.apply(widget_crd(plural), field_manager="test", resource=CRDS)
    await fleet.applied(name)
    await fleet.hub.delete(WORK, name, fleet.cluster)
    await fleet.until_gone(fleet.hub, WORK, name, fleet.cluster)
    await fleet.spoke.delete(CRDS, f"{plural}.{plural}.spoke.test")


async def test_one_bad_manifest_does_not_stop_the_rest(joined: Fleet) -> None:
    fleet, name = joined, f"bad-{joined.mark}"
    bad = deployment(name, "default")
    bad["spec"]["replicas"] = "many"
    manifests = [bad, config_map(name, "default", x="1"), config_map(name, f"missing-{fleet.mark}")]
    work = await fleet.work("bad", manifests)
    judged = await fleet.applied(work, "False")
    states = [
        get_condition(m["conditions"], "Applied") for m in judged["status"]["resourceStatus"]["manifests"]
    ]
    assert [s and s["status"] for s in states] == ["False", "True", "False"]
    assert states[0]
    assert "replicas" in states[0]["message"]
    assert states[2]
    assert f"missing-{fleet.mark}" in states[2]["message"]
    await fleet.spoke.create(NAMESPACES, namespace_object(f"missing-{fleet.mark}"))
    await fleet.until(lambda: fleet.spoke.get(CONFIGMAPS, name, f"missing-{fleet.mark}"))
    await fleet.spoke.delete(NAMESPACES, f"missing-{fleet.mark}")


async def test_update_strategies(joined: Fleet) -> None:
    fleet, mark = joined, joined.mark
    names = {k: f"{k}-{mark}" for k in ("once", "ssa", "read")}
    for key in ("ssa", "read"):
        await fleet.spoke.apply(
            config_map(names[key], "default", owner="person", x="1"),
            field_manager="person",
            resource=CONFIGMAPS,
        )
    configs = [
        config_for("configmaps", "once-*", "default", updateStrategy={"type": "CreateOnly"}),
        config_for("configmaps", names["ssa"], "default", updateStrategy={"type": "ServerSideApply"}),
        config_for("configmaps", names["read"], "default", updateStrategy={"type": "ReadOnly"}),
    ]
    manifests = [config_map(names[k], "default", x="2") for k in ("once", "ssa", "read")]
    name = await fleet.work("strategies", manifests, manifestConfigs=configs)
    judged = await fleet.applied(name, "False")
    states = [
        get_condition(m["conditions"], "Applied") for m in judged["status"]["resourceStatus"]["manifests"]
    ]
    assert [s and s["status"] for s in states] == ["True", "False", "True"]
    assert states[1]
    assert "person" in states[1]["message"]

    await fleet.spoke.patch(CONFIGMAPS, names["once"], {"data": {"x": "9"}}, "default")
    forced = {
        "type": "ServerSideApply",
        "serverSideApply": {"force": True, "fieldManager": "work-agent-forced"},
    }
    configs[1]["updateStrategy"] = forced
    await fleet.set_work(name, manifests, manifestConfigs=configs)
    await fleet.applied(name)

    async def data(key: str) -> Json:
        return dict((await fleet.spoke.get(CONFIGMAPS, names[key], "default"))["data"])

    assert await data("once") == {"x": "9"}
    assert await data("ssa") == {"owner": "person", "x": "2"}
    assert await data("read") == {"owner": "person", "x": "1"}
    configs[1]["updateStrategy"] = {"type": "ReadOnly"}  # what it owned it lets go of
    await fleet.set_work(name, manifests, manifestConfigs=configs)
    await fleet.applied(name)
    await fleet.hub.delete(WORK, name, fleet.cluster)
    await fleet.until_gone(fleet.hub, WORK, name, fleet.cluster)
    await fleet.until_gone(fleet.spoke, CONFIGMAPS, names["once"], "default")
    assert await data("read") == {"owner": "person", "x": "1"}
    for key in ("read", "ssa"):
        await fleet.spoke.delete(CONFIGMAPS, names[key], "default")


async def test_ignored_fields_are_left_to_others(joined: Fleet) -> None:
    fleet, name = joined, f"ign-{joined.mark}"
    ignore = [
        {"condition": "OnSpokePresent", "jsonPaths": [".spec.replicas"]},
        {
            "condition": "OnSpokeChange",
            "jqPathExpressions": ['.spec.template.spec.containers[] | select(.name == "main") | .image'],
        },
    ]
    strategy = {"type": "ServerSideApply", "serverSideApply": {"force": True, "ignoreFields": ignore}}
    config = config_for("deployments", name, "default", "apps", updateStrategy=strategy)
    work = await fleet.work("ign", [deployment(name, "default", 3)], manifestConfigs=[config])
    await fleet.applied(work)
    containers = [{"name": "main", "image": "debian"}]
    change = {"spec": {"replicas": 5, "template": {"spec": {"containers": containers}}}}
    await fleet.spoke.patch(DEPLOYMENTS, name, change, "default", kind="strategic", field_manager="person")
    manifest = deployment(name, "default", 3)
    manifest["metadata"]["labels"] = {"touched": "yes"}

    async def live() -> tuple[int, str]:
        obj = await fleet.spoke.get(DEPLOYMENTS, name, "default")
        assert obj["metadata"].get("labels", {}).get("touched") == "yes"
        return obj["spec"]["replicas"], obj["spec"]["template"]["spec"]["containers"][0]["image"]

    # The hub says something new: what yields only to changes here counts again, replicas never.
    await fleet.set_work(work, [manifest], manifestConfigs=[config])
    await fleet.applied(work)
    assert await fleet.until(live) == (5, "busybox")
    await fleet.spoke.patch(DEPLOYMENTS, name, change, "default", kind="strategic", field_manager="person")
    await fleet.spoke.patch(DEPLOYMENTS, name, {"metadata": {"labels": {"touched": "no"}}}, "default")
    assert await fleet.until(live) == (5, "debian")


async def test_orphans_stay(joined: Fleet) -> None:
    fleet, mark = joined, joined.mark
    a, b = (config_map(f"{k}-{mark}", "default", x="1") for k in ("stay", "go"))
    name = await fleet.work("orphan", [a, b])
    await fleet.applied(name)
    rule = {"resource": "configmaps", "namespace": "default", "name": f"stay-{mark}"}
    option = {"propagationPolicy": "SelectivelyOrphan", "selectivelyOrphans": {"orphaningRules": [rule]}}
    await fleet.set_work(name, [a, b], deleteOption=option)
    await fleet.hub.delete(WORK, name, fleet.cluster)  # at once: the agent may see both in one
    await fleet.until_gone(fleet.hub, WORK, name, fleet.cluster)
    await fleet.until_gone(fleet.spoke, CONFIGMAPS, f"go-{mark}", "default")
    stays = await fleet.spoke.get(CONFIGMAPS, f"stay-{mark}", "default")
    assert not stays["metadata"].get("ownerReferences")
    await fleet.spoke.delete(CONFIGMAPS, f"stay-{mark}", "default")


async def test_two_works_share_an_object(joined: Fleet) -> None:
    fleet, name = joined, f"shared-{joined.mark}"
    shared = config_map(name, "default", x="1")
    works = await asyncio.gather(fleet.work("s1", [shared]), fleet.work("s2", [shared]))
    await asyncio.gather(*(fleet.applied(w) for w in works))

    async def owners() -> bool:
        obj = await fleet.spoke.get(CONFIGMAPS, name, "default")
        return len(obj["metadata"]["ownerReferences"]) == 2

    await fleet.until(owners)
    await fleet.hub.delete(WORK, works[0], fleet.cluster)
    await fleet.until_gone(fleet.hub, WORK, works[0], fleet.cluster)
    obj = await fleet.spoke.get(CONFIGMAPS, name, "default")
    assert [o["name"] for o in obj["metadata"]["ownerReferences"]] == [book(fleet, works[1])]
    await fleet.hub.delete(WORK, works[1], fleet.cluster)
    await fleet.until_gone(fleet.hub, WORK, works[1], fleet.cluster)
    await fleet.until_gone(fleet.spoke, CONFIGMAPS, name, "default")


async def test_a_held_object_holds_the_work_and_is_named(joined: Fleet) -> None:
    fleet, name = joined, f"held-{joined.mark}"
    held = config_map(name, "default", x="1")
    held["metadata"]["finalizers"] = ["spoke.test/hold"]
    work = await fleet.work("held", [held])
    await fleet.applied(work)
    await fleet.hub.delete(WORK, work, fleet.cluster)

    async def said() -> bool:
        obj = await fleet.hub.get(WORK, work, fleet.cluster)
        condition = get_condition(obj, "Deleting")
        return condition is not None and f"{name} (finalizers: spoke.test/hold)" in condition["message"]

    await fleet.until(said)
    await fleet.spoke.patch(CONFIGMAPS, name, {"metadata": {"finalizers": None}}, "default")
    await fleet.until_gone(fleet.hub, WORK, work, fleet.cluster)


async def test_an_executor_may_do_only_what_its_account_may(joined: Fleet) -> None:
    fleet, name = joined, f"exec-{joined.mark}"
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": name, "namespace": "default"},
    }
    await fleet.spoke.create(SERVICEACCOUNTS, account)
    subject = {"type": "ServiceAccount", "serviceAccount": {"name": name, "namespace": "default"}}
    work = await fleet.work("exec", [config_map(name, "default", x="1")], executor={"subject": subject})
    judged = await fleet.applied(work, "False")
    condition = get_condition(judged, "Applied")
    assert condition
    assert f"system:serviceaccount:default:{name}" in condition["message"]
    verbs = [
        "get",
        "create",
        "update",
        "patch",
        "delete",
    ]  # what goes with the work it must be able to delete
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": verbs}]
    api = "rbac.authorization.k8s.io"
    role = {"apiVersion": f"{api}/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules}
    binding = {
        "apiVersion": f"{api}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": api, "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": "default"}],
    }
    await fleet.spoke.create(CLUSTERROLES, role)
    await fleet.spoke.create(CLUSTERROLEBINDINGS, binding)
    await fleet.applied(work)
    for resource in (CLUSTERROLEBINDINGS, CLUSTERROLES):
        await fleet.spoke.delete(resource, name)


async def test_many_manifests_at_once(joined: Fleet) -> None:
    fleet = joined
    manifests = [config_map(f"many-{i}-{fleet.mark}", "default", x="1") for i in range(60)]
    began = time.monotonic()
    name = await fleet.work("many", manifests)
    await fleet.applied(name)
    print("60 manifests:", time.monotonic() - began)
    await fleet.hub.delete(WORK, name, fleet.cluster)
    await fleet.until_gone(fleet.hub, WORK, name, fleet.cluster)


async def test_a_kill_anywhere_converges(joined: Fleet) -> None:
    fleet, space = joined, f"k{joined.mark}"
    manifests: list[Json] = [namespace_object(space)]
    manifests += [config_map(f"k{i}", space, x="1") for i in range(10)]
    name = await fleet.work("kill", manifests)
    for step in range(6):
        await fleet.kill()
        fleet.start_agent()
        wanted = [
            namespace_object(space),
            *(config_map(f"k{i}", space, x=str(step)) for i in range(step, 10)),
        ]
        await fleet.set_work(name, wanted)
    await fleet.applied(name)

    async def exact() -> bool:
        found = (await fleet.spoke.list(CONFIGMAPS, space))["items"]
        data = {c["metadata"]["name"]: c["data"] for c in found if c["metadata"]["name"].startswith("k")}
        data.pop("kube-root-ca.crt", None)
        return data == {f"k{i}": {"x": "5"} for i in range(5, 10)}

    await fleet.until(exact)
    await fleet.hub.delete(WORK, name, fleet.cluster)
    for _ in range(3):
        await fleet.kill()
        fleet.start_agent()
    await fleet.until_gone(fleet.hub, WORK, name, fleet.cluster)
    await fleet.until_gone(fleet.spoke, NAMESPACES, space)


async def test_a_work_that_vanished_is_evicted_after_its_grace(joined: Fleet) -> None:
    fleet, name = joined, f"lost-{joined.mark}"
    work = await fleet.work("lost", [config_map(name, "default", x="1")])
    await fleet.applied(work)
    await fleet.kill()
    await fleet.hub.patch(WORK, work, {"metadata": {"finalizers": None}}, fleet.cluster)
    await fleet.hub.delete(WORK, work, fleet.cluster)
    fleet.start_agent()

    async def marked() -> bool:
        applied = await fleet.spoke.get(AppliedManifestWork.RESOURCE, book(fleet, work))
        return bool(applied["status"].get("evictionStartTime"))

    await fleet.until(marked)
    assert await fleet.spoke.get(CONFIGMAPS, name, "default")
    await fleet.kill()
    fleet.shift = timedelta(minutes=61)
    fleet.start_agent()
    await fleet.until_gone(fleet.spoke, AppliedManifestWork.RESOURCE, book(fleet, work))
    await fleet.until_gone(fleet.spoke, CONFIGMAPS, name, "default")
    fleet.shift = timedelta()
