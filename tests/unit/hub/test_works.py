"""The works of an add-on, and what their status says about its health and progress."""

from __future__ import annotations

import copy
from typing import Any

import orjson
import pytest

from addon_framework.hub.addons.health import applied as applied_verdict
from addon_framework.hub.addons.health import available, degraded, progress, set_degraded
from addon_framework.hub.addons.places import BadManifest
from addon_framework.hub.addons.works import build, plural, same_work, work_index
from addon_framework.kube import Key
from addon_framework.plugins import Health, Lease, NoProbe, Probe, Work, Workload

Json = dict[str, Any]
ADDON: Json = {
    "metadata": {"name": "a", "namespace": "c1", "uid": "u1"},
    "status": {"conditions": [{"type": "ManifestApplied", "status": "True"}]},
}


def deployment(name: str = "d", replicas: int | None = None, **metadata: Any) -> Json:
    spec = {} if replicas is None else {"replicas": replicas}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "ns", **metadata},
        "spec": spec,
    }


def ship(*manifests: Json, health: Health | None = None, hashes: dict[str, str] | None = None) -> list[Json]:
    return build(ADDON, manifests, health=health or Lease(), config_hashes=hashes or {})


def test_names_labels_owner_and_hash_are_ocms() -> None:
    [work] = ship(deployment(), hashes={"k": "h"})
    assert work["metadata"] == {
        "name": "addon-a-deploy-0",
        "namespace": "c1",
        "labels": {"open-cluster-management.io/addon-name": "a"},
        "annotations": {"open-cluster-management.io/config-spec-hash": '{"k":"h"}'},
        "ownerReferences": [
            {
                "apiVersion": "addon.open-cluster-management.io/v1alpha1",
                "kind": "ManagedClusterAddOn",
                "name": "a",
                "uid": "u1",
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }
    assert work["spec"] == {"workload": {"manifests": [deployment()]}}


def test_empty_metadata_is_not_shipped_since_no_hub_would_keep_it() -> None:
    (work,) = ship(deployment(labels={}, annotations=None, creationTimestamp=None))
    (shipped,) = work["spec"]["workload"]["manifests"]
    assert shipped == deployment()


def test_workload_health_asks_for_feedback() -> None:
    [work] = ship(deployment(), health=Workload())
    assert work["spec"]["manifestConfigs"] == [
        {
            "resourceIdentifier": {
                "resource": "deployments",
                "name": "d",
                "group": "apps",
                "namespace": "ns",
            },
            "feedbackRules": [{"type": "WellKnownStatus"}],
        }
    ]


def test_probes_ask_for_their_paths() -> None:
    probe = Probe("deployments", "d", "ns", "apps", {"ready": ".status.readyReplicas"})
    [work] = ship(deployment(), health=Work([probe]))
    assert work["spec"]["manifestConfigs"][0]["feedbackRules"] == [
        {"type": "JSONPaths", "jsonPaths": [{"name": "ready", "path": ".status.readyReplicas"}]}
    ]


def test_orphans_become_rules() -> None:
    annotations = {"addon.open-cluster-management.io/deletion-orphan": ""}
    [work] = ship(deployment(annotations=annotations), deployment("other"))
    rules = work["spec"]["deleteOption"]["selectivelyOrphans"]["orphaningRules"]
    assert rules == [{"resource": "deployments", "name": "d", "group": "apps", "namespace": "ns"}]


@pytest.mark.parametrize(
    ("manifests", "message"),
    [
        ([{"kind": "X"}], "manifest 0 has no apiVersion"),
        ([{"apiVersion": "v1", "kind": "X", "metadata": {}}], r"manifest 0 \(X\) has no metadata.name"),
        ([deployment(), deployment()], "Deployment ns/d is rendered twice"),
        (["text"], "manifest 0 is a str"),
    ],
)
def test_what_no_work_can_hold_is_refused(manifests: list[Any], message: str) -> None:
    with pytest.raises(BadManifest, match=message):
        ship(*manifests)


def test_a_removed_field_is_a_difference_and_a_servers_default_is_none() -> None:
    [work] = ship(deployment(labels={"a": "b"}))
    live = copy.deepcopy(work)
    live["spec"]["deleteOption"] = {"propagationPolicy": "Foreground"}
    live["metadata"]["resourceVersion"] = "7"
    assert same_work(live, work)
    live["spec"]["workload"]["manifests"][0]["metadata"]["labels"]["old"] = "x"
    assert not same_work(live, work)


def test_a_dropped_config_is_a_difference() -> None:
    (live,) = ship(deployment(), health=Workload())
    (wanted,) = ship(deployment())
    assert not same_work(live, wanted)


def test_work_names_are_recognised() -> None:
    key = Key("c1", "a")
    assert work_index(key, "addon-a-deploy-12") == 12
    assert work_index(key, "addon-a-deploy-x") is None
    assert work_index(key, "addon-b-deploy-1") is None
    assert work_index(key, "addon-a-deploy-hosting-c1-0") is None
    assert work_index(key, "addon-a-deploy-hosting-c1-0", hosting=True) == 0
    assert work_index(key, "addon-a-deploy-hosting-c2-0", hosting=True) is None


def test_plurals() -> None:
    assert [plural(k) for k in ("NetworkPolicy", "Ingress", "Deployment", "Gateway")] == [
        "networkpolicies", "ingresses", "deployments", "gateways",
    ]  # fmt: skip


def applied(
    work: Json,
    *,
    feedback: dict[str, int] | None = None,
    applied: str = "True",
    message: str = "",
    resource: str = "deployments",
) -> Json:
    work = copy.deepcopy(work)
    work["metadata"]["generation"] = 1
    manifest: Json = {
        "resourceMeta": {"resource": resource, "kind": "Deployment", "namespace": "ns", "name": "d"},
        "conditions": [{"type": "Applied", "status": applied, "message": message}],
    }
    if feedback is not None:
        values = [{"name": n, "fieldValue": {"type": "Integer", "integer": v}} for n, v in feedback.items()]
        manifest["statusFeedback"] = {"values": values}
    conditions = [{"type": "Applied", "status": applied, "observedGeneration": 1}]
    if applied == "True":
        conditions.append({"type": "Available", "status": "True", "observedGeneration": 1})
    work["status"] = {"conditions": conditions, "resourceStatus": {"manifests": [manifest]}}
    return work


def verdict(health: Health, *works: Json) -> tuple[str, str]:
    result = available(health, works)
    assert result is not None
    return result.status, result.reason


def test_a_lease_is_told_by_the_spoke() -> None:
    assert available(Lease(), []) is None


def test_health_without_probes_is_whether_the_work_is_applied() -> None:
    [work] = ship(deployment())
    assert verdict(NoProbe()) == ("Unknown", "WorkNotFound")
    assert verdict(NoProbe(), work) == ("Unknown", "WorkNotApplied")
    assert verdict(NoProbe(), applied(work)) == ("True", "WorkApplied")


def test_what_is_there_and_does_not_serve_is_not_available_unless_a_probe_says_more() -> None:
    [work] = ship(deployment(replicas=2), health=Workload())
    there = applied(work, feedback={"Replicas": 2, "ReadyReplicas": 1})
    there["status"]["conditions"][1] |= {"status": "False", "reason": "WorkloadsNotAvailable"}
    assert verdict(NoProbe(), there) == ("False", "WorkloadsNotAvailable")
    assert verdict(Workload(), there) == ("True", "ProbeAvailable")  # one ready replica is enough for it
    there["status"]["conditions"][1]["reason"] = "ResourcesNotAvailable"
    assert verdict(Workload(), there) == ("False", "WorkApplyFailed")


def test_a_manifest_that_fails_is_named() -> None:
    [work] = ship(deployment())
    result = available(NoProbe(), [applied(work, applied="False", message="forbidden")])
    assert result == ("False", "WorkApplyFailed", "addon-a-deploy-0: Deployment ns/d: forbidden")


@pytest.mark.parametrize(
    ("replicas", "feedback", "expected"),
    [
        (1, None, ("Unknown", "NoProbeResult")),
        (0, None, ("True", "ProbeAvailable")),
        (2, {"Replicas": 2}, ("False", "ProbeUnavailable")),
        (2, {"Replicas": 2, "ReadyReplicas": 1}, ("True", "ProbeAvailable")),
    ],
)
def test_workload_health(replicas: int, feedback: dict[str, int] | None, expected: tuple[str, str]) -> None:
    [work] = ship(deployment(replicas=replicas), health=Workload())
    assert verdict(Workload(), applied(work, feedback=feedback)) == expected


def test_daemon_sets_must_be_ready_everywhere() -> None:
    daemon = {**deployment(), "kind": "DaemonSet"}
    [work] = ship(daemon, health=Workload())
    half = applied(work, feedback={"NumberReady": 1, "DesiredNumberScheduled": 2}, resource="daemonsets")
    assert verdict(Workload(), half) == ("False", "ProbeUnavailable")


def test_a_check_decides_and_one_that_raises_is_unknown() -> None:
    probe = Probe("deployments", "d", "ns", "apps")
    [work] = ship(deployment(), health=Work([probe]))
    done = applied(work, feedback={"ReadyReplicas": 1})
    assert verdict(Work([probe]), work) == ("Unknown", "WorkNotApplied")
    assert verdict(Work([probe]), applied(work)) == ("Unknown", "NoProbeResult")
    assert verdict(Work([probe], lambda v: "" if v["deployments/ns/d"]["ReadyReplicas"] else "no"), done) == (
        "True",
        "ProbeAvailable",
    )
    assert verdict(Work([probe], lambda v: "cold"), done) == ("False", "ProbeUnavailable")
    assert verdict(Work([probe], lambda v: str(v["nope"])), done) == ("Unknown", "NoProbeResult")


def test_progress_ends_when_every_work_has_the_configuration_and_is_applied() -> None:
    [work] = ship(deployment(), hashes={"k": "1"})
    assert progress(ADDON, [work], {"k": "1"}).reason == "Progressing"
    assert (
        progress(ADDON, [applied(work)], {"k": "2"}).message
        == "addon-a-deploy-0 has not got the configuration yet"
    )
    assert progress(ADDON, [applied(work)], {"k": "1"}) == ("False", "Completed", "completed with no errors.")
    assert progress(ADDON, [applied(work, applied="False", message="no")], {"k": "1"}).reason == "Failed"


def test_progress_waits_for_the_manifests_and_fails_with_them() -> None:
    assert progress({"metadata": {}}, [], {}).reason == "Progressing"
    broken = {
        "metadata": {},
        "status": {"conditions": [{"type": "ManifestApplied", "status": "False", "message": "boom"}]},
    }
    assert progress(broken, [], {}) == ("False", "Failed", "boom")


def test_an_old_generation_is_still_progressing() -> None:
    [work] = ship(deployment())
    old = applied(work)
    old["metadata"]["generation"] = 2
    assert progress(ADDON, [old], {}).reason == "Progressing"


def test_a_stateful_set_is_read_by_its_paths_and_kinds_can_be_chosen() -> None:
    stateful = {**deployment(replicas=2), "kind": "StatefulSet"}
    [work] = ship(stateful, health=Workload(kinds=("StatefulSet",)))
    [config] = work["spec"]["manifestConfigs"]
    assert config["resourceIdentifier"]["resource"] == "statefulsets"
    assert config["feedbackRules"][0]["jsonPaths"][0] == {
        "name": "ReadyReplicas",
        "path": ".status.readyReplicas",
    }
    none = applied(work, feedback={"Replicas": 2}, resource="statefulsets")
    assert verdict(Workload(("StatefulSet",)), none) == ("False", "ProbeUnavailable")
    [work] = ship(stateful, deployment("e"), health=Workload(("Deployment",)))  # OCM's DeploymentAvailability
    assert [c["resourceIdentifier"]["resource"] for c in work["spec"]["manifestConfigs"]] == ["deployments"]


def test_degraded_names_what_is_not_as_it_should_be() -> None:
    [work] = ship(deployment(replicas=2), health=Workload())
    assert degraded([]) == ("False", "AsExpected", "")
    assert degraded([applied(work, feedback={"ReadyReplicas": 2})]).status == "False"
    some = degraded([applied(work, feedback={"ReadyReplicas": 1})])
    assert some == ("True", "ReplicasMissing", "Deployment d: 1 of 2 replicas are ready")
    failed = degraded([applied(work, applied="False", message="forbidden")])
    assert failed[1:] == ("ManifestsNotApplied", "addon-a-deploy-0: Deployment ns/d: forbidden")
    told = applied(work)
    told["status"]["conditions"].append({"type": "Degraded", "status": "True", "message": "stalled"})
    assert degraded([told])[1:] == ("WorkDegraded", "addon-a-deploy-0: stalled")


def test_what_an_agent_says_of_itself_stays() -> None:
    conditions = [{"type": "Degraded", "status": "True", "reason": "DiskFull", "message": "no space"}]
    set_degraded(conditions, degraded([]))
    assert conditions[0]["reason"] == "DiskFull"
    ours: list[Json] = []
    set_degraded(ours, degraded([]))
    assert ours[0]["reason"] == "AsExpected"


def test_manifests_are_applied_when_the_cluster_has_told_of_every_work_as_it_is_now() -> None:
    [work] = ship(deployment())
    assert applied_verdict([], ()) == ("True", "AddonManifestApplied", "no manifest need to apply")
    assert applied_verdict([work], ()) is None
    done = applied(work)
    found = applied_verdict([done], ())
    assert found is not None
    assert found[:2] == ("True", "AddonManifestApplied")
    assert applied_verdict([done], {"addon-a-deploy-0"}) is None  # changed just now
    old = applied(work)
    old["metadata"]["generation"] = 2
    assert applied_verdict([old], ()) is None
    failed = applied_verdict([applied(work, applied="False", message="no")], ())
    assert failed == ("False", "AddonManifestAppliedFailed", "addon-a-deploy-0: Deployment ns/d: no")


def test_hash_annotation_is_sorted() -> None:
    [work] = ship(deployment(), hashes={"b": "1", "a": "2"})
    text = work["metadata"]["annotations"]["open-cluster-management.io/config-spec-hash"]
    assert list(orjson.loads(text)) == ["a", "b"]
