"""Statuses as functions of what was seen."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

from addon_framework.api.conditions import get_condition, is_true
from addon_framework.api.meta import Json
from addon_framework.kube import Client, Key
from addons.cache_runtime.agent.backends import Binding
from addons.cache_runtime.agent.components import template
from addons.cache_runtime.agent.names import (
    IN_USE_ANNOTATION,
    SIDECAR_DONE_LABEL,
    cache_node_label,
    claims_of,
    dataset_id,
)
from addons.cache_runtime.agent.operations.status import (
    PartState,
    again_in,
    continued,
    failed_status,
    running_status,
)
from addons.cache_runtime.agent.reports import Reports, Window
from addons.cache_runtime.agent.sizes import human_duration, human_size, percentage
from addons.cache_runtime.agent.status import (
    Counts,
    Observed,
    cache_states,
    dataset_status,
    runtime_status,
)
from addons.cache_runtime.plugin import CacheRuntime
from runtimes.interface import Cache, CacheState
from runtimes.local import LocalBackend

NOW = datetime(2026, 11, 25, 10, 0, 0, tzinfo=UTC)
STAMP = "2026-11-25T10:00:00Z"


def binding(*problems: str, **dataset_spec: Any) -> Binding:
    metadata = {"name": "m", "namespace": "demo", "uid": "u", "creationTimestamp": "2026-11-25T09:59:50Z"}
    dataset: Json = {
        "apiVersion": "data.fluid.io/v1alpha1",
        "kind": "Dataset",
        "metadata": metadata,
        "spec": {"mounts": [{"mountPoint": "s3://b/m", "name": "m"}], **dataset_spec},
    }
    runtime: Json = {"kind": "LocalRuntime", "metadata": metadata, "spec": {"replicas": 1}}
    backend = LocalBackend()
    return Binding(dataset, runtime, backend, Cache.of(dataset, runtime, image="agent"), problems)


def test_numbers_are_written_as_fluid_writes_them() -> None:
    assert [human_size(n) for n in (0, 1023, 1024, 465_452_851)] == [
        "0.00B",
        "1023.00B",
        "1.00KiB",
        "443.89MiB",
    ]
    assert (percentage(1, 8), percentage(0, 0)) == ("12.5%", "100.0%")
    assert [human_duration(s) for s in (0.4, 61, 3723)] == ["0s", "1m1s", "1h2m3s"]


def test_names_that_are_too_long_give_way_to_the_uid() -> None:
    short, long = Key("demo", "m"), Key("n" * 40, "m" * 40)
    assert cache_node_label(short, "u") == "fluid.io/s-demo-m"
    assert cache_node_label(long, "u") == "fluid.io/s-u"
    assert (dataset_id(short, "u"), dataset_id(long, "u")) == ("demo-m", "u")


def test_a_dataset_on_its_way() -> None:
    bound = binding()
    pending = dataset_status(bound.dataset, bound, Observed(waiting="waiting for Secret keys"), STAMP)
    assert (pending["phase"], pending["ufsTotal"]) == ("Pending", "[Calculating]")
    assert pending["conditions"][0]["message"] == "waiting for Secret keys"
    seen = Observed(
        state=CacheState(512, 4096), measured=(1024, 3), ready=True, operations={"DataLoad": ("b", "a")}
    )
    ready = dataset_status({**bound.dataset, "status": pending}, bound, seen, STAMP)
    assert ready["phase"] == "Bound"
    assert ready["cacheStates"] == {
        "cached": "512.00B",
        "cachedPercentage": "50.0%",
        "cacheCapacity": "4.00KiB",
    }
    assert (ready["ufsTotal"], ready["fileNum"]) == ("1.00KiB", "3")
    assert ready["operationRef"] == {"DataLoad": "a,b"}
    failed = dataset_status({**bound.dataset, "status": ready}, bound, Observed(problem="wrong"), STAMP)
    assert failed["phase"] == "Failed"
    assert {c["type"]: c["status"] for c in failed["conditions"]}["NotReady"] == "True"
    again = dataset_status({**bound.dataset, "status": failed}, bound, seen, STAMP)
    assert {c["type"]: c["status"] for c in again["conditions"]}["NotReady"] == "False"
    assert dataset_status({**bound.dataset, "status": again}, bound, seen, "later") == again


def test_a_dataset_without_a_runtime_says_how_to_get_one() -> None:
    (condition,) = dataset_status(binding().dataset, None, Observed(), STAMP)["conditions"]
    assert condition["reason"] == "RuntimeNotFound"
    assert "create one named m, such as a LocalRuntime" in condition["message"]


def test_an_agent_that_knows_nothing_yet_says_nothing_new() -> None:
    bound = binding()
    full = Observed(state=CacheState(1024, 4096), measured=(1024, 3), ready=True)
    status = dataset_status(bound.dataset, bound, full, STAMP)
    dataset = {**bound.dataset, "status": status}
    for seen in (Observed(ready=True), Observed(state=CacheState(1024, 4096), ready=True)):
        assert dataset_status(dataset, bound, seen, "later") == status


def test_a_runtimes_counts() -> None:
    seen = Observed(counts={"worker": Counts(2, 2, 1)}, ready=True)
    status = runtime_status(binding(), seen, {}, NOW)
    assert (status["workerPhase"], status["fusePhase"], status["workerNumberUnavailable"]) == (
        "PartialReady",
        "",
        1,
    )
    assert status["setupDuration"] == "10s"


def test_a_runtimes_parts_are_ready_when_some_of_each_is() -> None:
    counts = {"master": Counts(1, 1, 0), "worker": Counts(2, 2, 1), "client": Counts(0, 0, 0)}
    status = runtime_status(binding(), Observed(counts=counts), {}, NOW)
    found = {c["type"]: (c["status"], c["reason"], c["message"]) for c in status["conditions"]}
    assert found["MasterReady"] == ("False", "MasterNotReady", "0 of 1 pods are ready")
    assert found["WorkersReady"] == ("True", "WorkersReady", "1 of 2 pods are ready")
    assert found["FusesReady"] == ("True", "FusesReady", "0 of 0 pods are ready"), "nobody uses it yet"
    assert {"MasterInitialized", "WorkersInitialized", "FusesInitialized"} <= found.keys()
    held_by_clients = Observed(counts={"client": Counts(2, 2, 1)}, holder="client")
    status = runtime_status(binding(), held_by_clients, {}, NOW)
    assert (status["workerPhase"], status["fusePhase"]) == ("PartialReady", "PartialReady")
    assert status["currentWorkerNumberScheduled"] == 2
    assert status["selector"].endswith("role=client")


def load(**status: Any) -> Json:
    metadata = {"name": "m", "namespace": "demo", "creationTimestamp": STAMP}
    return {"metadata": metadata, "spec": {}, "status": status}


def test_what_the_pods_of_an_operation_wait_for_is_said() -> None:
    text = "pod p is not scheduled: no node matches"
    status = running_status(load(), [PartState("", message=text)], "x", NOW, None)
    assert (status["phase"], status["infos"]["message"]) == ("Executing", text)


def test_a_load_of_two_nodes_is_as_far_as_the_slower() -> None:
    fast = {
        "start": {"time": 100.0},
        "done": {"time": 103.0, "bytes": 10, "total": 10, "files": 2, "rate": 5},
    }
    slow = {
        "start": {"time": 101.0},
        "progress": {"bytes": 4, "total": 10, "files": 1, "totalFiles": 2, "rate": 3},
    }
    nodes = [PartState("a", fast), PartState("b", slow)]
    status = running_status(load(), nodes, "x", NOW, None)
    assert status["phase"] == "Executing"
    infos = status["infos"]
    assert (infos["bytes"], infos["percentage"], infos["rate"]) == ("4", "40.0%", "8.00B/s")
    assert infos["startTime"] == "100.000"
    nodes[1] = PartState("b", {**slow, "done": {"time": 109.0, "bytes": 10, "total": 10, "files": 2}})
    complete = running_status(load(**status), nodes, "x", NOW, None)
    assert (complete["phase"], complete["duration"]) == ("Complete", "9s")
    assert complete["infos"]["finishTime"] == "109.000"
    assert complete["conditions"][0]["type"] == "Complete"


def test_what_is_loaded_has_a_name_once_no_node_lacks_more_than_weights() -> None:
    def infos(*versions: str) -> Json:
        said = [{"time": 1.0, "bytes": 5} | ({"version": each} if each else {}) for each in versions]
        nodes = [PartState(str(n), {"progress": each}) for n, each in enumerate(said)]
        found: Json = running_status(load(), nodes, "x", NOW, None)["infos"]
        return found

    assert infos("a", "a")["version"] == "a"
    assert "version" not in infos("a", "")
    assert "version" not in infos("a", "b")


def test_why_an_attempt_failed_stands_until_something_moves_in_the_next() -> None:
    def message(said: Json) -> str | None:
        infos = running_status(load(), [PartState("a", said)], "x", NOW, None)["infos"]
        return infos.get("message")

    first: Json = {"start": {"time": 1.0}, "progress": {"time": 2.0, "bytes": 1}}
    first["failed"] = {"time": 3.0, "message": "timed out"}
    waits = continued(continued({}, first), {"start": {"time": 4.0}})
    assert message(waits) == "trying again: timed out (on node a)"
    assert waits["start"]["time"] == 1.0
    assert "failed" not in waits, "a job that is over did not fail by it"
    moves = continued(waits, {"start": {"time": 4.0}, "progress": {"time": 5.0, "bytes": 2}})
    assert message(moves) is None
    worse = continued(waits, {"start": {"time": 4.0}, "failed": {"time": 6.0, "message": "disk full"}})
    assert message(worse) == "trying again: disk full (on node a)"


def test_a_container_that_begins_anew_says_what_ended_the_one_before() -> None:
    pod: Json = {"metadata": {"uid": "u"}}
    reports = Reports(cast(Client, None), lambda key, line: None, lambda pod: None)
    for said in ({"report": "failed", "time": 3.0, "message": "x"}, {"report": "start", "time": 4.0}):
        reports._take("u", pod, said)
    assert reports.of(pod).last["trouble"]["message"] == "x"
    assert "failed" not in reports.of(pod).last


def test_a_load_fails_for_good_or_goes_on() -> None:
    passing = {"start": {"time": 1.0}, "failed": {"reason": "DiskError", "message": "full"}}
    assert (
        running_status(load(), [PartState("a", passing)], "x", NOW, None)["infos"]["message"]
        == "trying again: full (on node a)"
    )
    lasting = {**passing, "failed": {"reason": "QuotaExceeded", "message": "too big", "permanent": True}}
    failed = running_status(load(), [PartState("a", lasting)], "x", NOW, None)
    assert (failed["phase"], failed["conditions"][0]["reason"]) == ("Failed", "QuotaExceeded")
    gone = running_status(
        load(), [PartState("a", passing, "Failed", "BackoffLimitExceeded", "m")], "x", NOW, None
    )
    assert (gone["phase"], gone["infos"]["message"]) == ("Failed", "full")
    assert failed_status({**load(), "status": failed}, "r", "m", "x", NOW)["phase"] == "Failed"


def test_exclusive_caches_stay_apart_and_shared_ones_do_not() -> None:
    def terms(placement: str) -> list[Json]:
        bound = binding(placement=placement)
        (component,) = bound.backend.components(bound.cache)
        spec = template(bound, component)["spec"]
        found: list[Json] = spec["affinity"]["podAntiAffinity"][
            "requiredDuringSchedulingIgnoredDuringExecution"
        ]
        return found

    assert "matchLabels" not in terms("Exclusive")[1]["labelSelector"]
    shared = terms("Shared")[1]["labelSelector"]["matchLabels"]
    assert shared == {"fluid.io/dataset-placement": "Exclusive"}


def test_the_plugin_ships_what_the_spoke_needs_and_publishes_scores_only() -> None:
    plugin = CacheRuntime()
    values = {"cluster_name": "c1", "install_namespace": "ns", "IMAGE": "mine"}
    manifests = plugin.addon_manifests(cluster={}, addon={}, values=values)
    kinds = {(o["kind"], o["metadata"]["name"]) for o in manifests}
    assert ("CustomResourceDefinition", "datasets.data.fluid.io") in kinds
    assert ("CustomResourceDefinition", "localruntimes.data.boundaryless.io") in kinds
    for crd in (o for o in manifests if o["kind"] == "CustomResourceDefinition"):
        # Datasets of the cluster's own stay when the add-on goes, and wait for it to come again.
        assert "addon.open-cluster-management.io/deletion-orphan" in crd["metadata"]["annotations"]
    deployment = next(o for o in manifests if o["kind"] == "Deployment")
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == "mine"
    allowed = {name for rule in plugin.addon_hub_permissions(cluster_name="c1") for name in rule["resources"]}
    assert allowed == {"addonplacementscores", "addonplacementscores/status"}


def test_a_cache_that_is_slower_than_its_source_is_told_with_both_numbers() -> None:
    def after(dataset: Json, cache: int) -> Json:
        bound = binding()
        seen = Observed(speeds=[{"cache": 9_000, "source": 5}, {"cache": cache, "source": 2048}])
        return dataset_status({**bound.dataset, "status": dataset}, bound, seen, STAMP)

    def told(status: Json) -> list[Any]:
        return [c["status"] for c in status["conditions"] if c["type"] == "CacheSlowerThanSource"]

    assert told(after({}, 4096)) == []
    assert told(after({}, 1900)) == [], "so little may be chance"
    slow = after({}, 1024)
    assert told(slow) == ["True"]
    assert "the cache reads 1.00KiB/s, the source 2.00KiB/s" in str(slow["conditions"])
    assert (slow["numbers"]["cacheBytesPerSecond"], slow["numbers"]["sourceBytesPerSecond"]) == (1024, 2048)
    assert told(after(slow, 4096)) == ["False"]
    bound = binding()
    assert told(dataset_status({**bound.dataset, "status": slow}, bound, Observed(), STAMP)) == ["True"]


def test_hits_are_those_of_the_window() -> None:
    window = Window(seconds=600)

    def told(time: float, hits: int, misses: int) -> tuple[int, int]:
        said = window.of({"time": time, "hits": hits, "misses": misses})
        return said["hits"], said["misses"]

    assert told(0, 10, 90) == (10, 90)  # of an agent that has just begun: all there is
    assert told(300, 60, 90) == (50, 0)
    assert told(1000, 70, 95) == (10, 5)  # what was counted since 300
    assert told(1001, 1, 1) == (1, 1)  # the program began anew
    assert window.of({"time": 1002, "hits": 2, "misses": 1, "missBytes": 7})["missBytes"] == 7


def test_shares_of_what_is_read_are_written_as_fluid_writes_them() -> None:
    assert cache_states(CacheState(), None) == {}
    assert cache_states(CacheState(local=0.5), None) == {
        "localThroughputRatio": "50.0%",
        "cacheThroughputRatio": "50.0%",
    }
    assert cache_states(CacheState(local=0.5, remote=0.25), None) == {
        "localThroughputRatio": "50.0%",
        "remoteThroughputRatio": "25.0%",
        "cacheThroughputRatio": "75.0%",
    }


def test_what_its_surroundings_broke_is_tried_again_later_each_time() -> None:
    said = {"start": {"time": 1.0}, "failed": {"reason": "DiskFull", "message": "full", "permanent": True}}
    status: Json = {"phase": "Executing", "infos": {"inputs": "x"}}
    waits = []
    for _ in range(8):
        status = running_status(load(**status), [PartState("a", said)], "x", NOW, None)
        waits.append(again_in({"status": status}, NOW))
        status = {**running_status(load(**status), [PartState("a", {})], "x", NOW, None)}
    assert waits == [30, 60, 120, 240, 480, 960, 1800, 1800]
    assert again_in({"status": {**status, "phase": "Executing"}}, NOW) is None


def test_workers_that_are_scaled_are_a_condition_and_can_be_counted() -> None:
    bound = binding()

    def scaled(replicas: int) -> Json:
        seen = Observed(counts={"worker": Counts(replicas, replicas, replicas)})
        bound.runtime["status"] = runtime_status(bound, seen, {}, NOW)
        conditions = bound.runtime["status"]["conditions"]
        return {c["type"]: (c["status"], c["message"]) for c in conditions if "Scaled" in c["type"]}

    assert scaled(1) == {}  # the first count is no change
    assert scaled(3) == {"WorkersScaledOut": ("True", "from 1 to 3")}
    assert scaled(3) == {"WorkersScaledOut": ("True", "from 1 to 3")}
    assert scaled(2) == {"WorkersScaledOut": ("False", ""), "WorkersScaledIn": ("True", "from 3 to 2")}
    selector = bound.runtime["status"]["selector"]
    pod = template(bound, LocalBackend().components(bound.cache)[0])["metadata"]["labels"]
    assert all(pod[k] == v for k, v in (each.split("=") for each in selector.split(",")))


def test_a_second_runtime_of_the_same_name_is_a_condition_until_it_goes() -> None:
    bound = binding()
    both = replace(bound, ignored=("JuiceFSRuntime",))
    bound.dataset["status"] = dataset_status(both.dataset, both, Observed(ready=True), STAMP)
    condition = get_condition(bound.dataset, "SeveralRuntimes")
    assert condition is not None
    assert condition["status"] == "True"
    assert "by its LocalRuntime; remove the JuiceFSRuntime" in condition["message"]
    after = dataset_status(bound.dataset, bound, Observed(ready=True), STAMP)
    assert not is_true({"status": after}, "SeveralRuntimes")


def test_who_brought_a_client_along_is_what_the_webhook_says_alone() -> None:
    said = {"annotations": {IN_USE_ANNOTATION: "a,b"}}
    claim = {"name": "v", "persistentVolumeClaim": {"claimName": "c"}}
    by_webhook = {**said, "labels": {SIDECAR_DONE_LABEL: "true"}}
    assert claims_of({"metadata": said, "spec": {"volumes": [claim]}}) == ["c"]
    assert claims_of({"metadata": by_webhook, "spec": {"volumes": [claim]}}) == ["c", "a", "b"]


def test_fields_that_have_no_effect_are_said_until_they_are_gone() -> None:
    bound = binding()
    asked = replace(bound, notes=("LocalRuntime demo/m: spec.x: has no effect: why",))
    bound.dataset["status"] = dataset_status(asked.dataset, asked, Observed(), STAMP)
    condition = get_condition(bound.dataset, "FieldsWithoutEffect")
    assert condition is not None
    assert (condition["status"], condition["message"]) == ("True", asked.notes[0])
    after = dataset_status(bound.dataset, bound, Observed(), STAMP)
    assert not is_true({"status": after}, "FieldsWithoutEffect")


def test_what_is_over_says_so_in_words() -> None:
    bound = binding()
    asked = replace(bound, notes=("spec.x: has no effect: why",), ignored=("JuiceFSRuntime",))
    troubled = Observed(
        ready=True, broken="pod p", outdated="pod c", over="too much", lost="a", unmounted="b"
    )
    bound.dataset["status"] = dataset_status(asked.dataset, asked, troubled, STAMP)
    over = dataset_status(bound.dataset, bound, Observed(ready=True, mounted=True), STAMP)["conditions"]
    assert sum(c["status"] == "False" for c in over) == 7
    assert all(condition["message"] for condition in over)
