"""A Dataset's status on the hub, from what clusters say."""

from __future__ import annotations

import pytest

from addon_framework.api.conditions import get_condition
from addon_framework.api.meta import Json
from addons.cache_runtime.cli import actions
from addons.cache_runtime.hub.feedback import feedback
from addons.cache_runtime.hub.known import Known
from addons.cache_runtime.hub.progress import told
from addons.cache_runtime.hub.status import cluster_status, dataset_status, load_phase, operation_status
from addons.cache_runtime.hub.works import manifest_work, secrets_of

NOW, LATER = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"


def work(kind_values: dict[tuple[str, str], Json]) -> Json:
    manifests = [
        {
            "resourceMeta": {"kind": kind, "name": name},
            "statusFeedback": {
                "values": [
                    {"name": k, "fieldValue": {"integer": v} if isinstance(v, int) else {"string": v}}
                    for k, v in values.items()
                ]
            },
        }
        for (kind, name), values in kind_values.items()
    ]
    return {"metadata": {}, "status": {"resourceStatus": {"manifests": manifests}}}


def report(phase: str, cached: int, percent: str, load: str = "Complete", **infos: str) -> Json:
    said = {"phase": phase, "cachedBytes": cached, "cachedPercentage": percent}
    return work({("Dataset", "d"): said, ("DataLoad", "l"): {"phase": load, **infos}})


def said(works: list[Json], kind: str = "Dataset") -> list[Json]:
    return [feedback(each, kind) for each in works]


def dataset(**more: object) -> Json:
    return {"metadata": {"name": "d", "namespace": "n", "generation": 3}, "spec": {}, **more}


def test_bound_is_bound_everywhere_and_the_percentage_is_the_least() -> None:
    works = [report("Bound", 1024, "100.0%"), report("Bound", 512, "50.0%", load="Executing")]
    entries = [cluster_status(f"c{n}", w, ["l"]) for n, w in enumerate(works)]
    status = dataset_status(dataset(), entries, said(works), now=NOW)
    assert status["phase"] == "Bound"
    assert status["cacheStates"] == {"cached": "1.50KiB", "cachedPercentage": "50.0%"}
    assert [entry["loadPhase"] for entry in status["clusters"]] == ["Complete", "Executing"]
    assert (get_condition(status["conditions"], "Ready") or {})["status"] == "True"


def test_one_cluster_that_waits_says_why_and_times_move_only_with_news() -> None:
    waits = work({("Dataset", "d"): {"phase": "Pending", "message": "waiting for LocalRuntime"}})
    works = [report("Bound", 1, "100.0%"), waits]
    entries = [cluster_status(f"c{n}", w, []) for n, w in enumerate(works)]
    first = dataset_status(dataset(), entries, said(works), now=NOW)
    assert first["phase"] == "Pending"
    ready = get_condition(first["conditions"], "Ready") or {}
    assert ready["message"] == "1 of 2 clusters have it bound; c1: waiting for LocalRuntime"
    entries[1] = cluster_status("c1", report("Bound", 1, "100.0%"), [])
    second = dataset_status(dataset(status=first), entries, said(works), now=LATER)
    assert [entry["lastUpdateTime"] for entry in second["clusters"]] == [NOW, LATER]


def test_a_runtime_that_comes_a_moment_after_its_dataset_is_no_trouble() -> None:
    said = {"phase": "NotBound", "reason": "RuntimeNotFound", "message": "no runtime has the name"}
    assert cluster_status("c", work({("Dataset", "d"): said}), []) == {"name": "c", "phase": "Pending"}
    said = {"phase": "NotBound", "reason": "PhysicalDatasetNotReady", "message": "Dataset x is not there"}
    entry = cluster_status("c", work({("Dataset", "d"): said}), [])
    assert (entry["phase"], entry["message"]) == ("NotBound", "Dataset x is not there")


def test_a_cluster_that_is_to_lose_it_says_what_that_waits_for_and_not_what_failed_before() -> None:
    failed = {"phase": "Failed", "message": "the source is not there"}
    going = work({("Dataset", "d"): {"phase": "Bound"}, ("DataLoad", "l"): failed})
    denied = {"type": "Applied", "status": "False", "message": "is wrong"}
    going["status"]["resourceStatus"]["manifests"][0]["conditions"] = [denied]
    assert cluster_status("c", going, ["l"], leaving=True)["phase"] == "Leaving"
    assert "message" not in cluster_status("c", going, ["l"], leaving=True)
    going["status"]["conditions"] = [{"type": "Deleting", "status": "True", "message": "pod p uses it"}]
    assert cluster_status("c", going, ["l"], leaving=True)["message"] == "pod p uses it"


def test_a_cluster_that_has_it_bound_says_what_it_lost_or_cannot_read() -> None:
    said = {"phase": "Bound", "lost": "True", "lostMessage": "on node a it was removed"}
    assert cluster_status("c", work({("Dataset", "d"): said}), [])["message"] == "on node a it was removed"
    said |= {"lost": "False", "initialized": "False", "initializedMessage": "NoSuchBucket"}
    assert cluster_status("c", work({("Dataset", "d"): said}), [])["message"] == "NoSuchBucket"
    said["initialized"] = "True"
    assert "message" not in cluster_status("c", work({("Dataset", "d"): said}), [])


def test_what_cannot_be_sent_is_said_and_a_bound_cluster_stays_bound() -> None:
    entries = [cluster_status("c0", report("Bound", 1, "100.0%"), [])]
    status = dataset_status(dataset(), entries, [], why=("SecretNotFound", "there is no Secret"), now=NOW)
    assert status["phase"] == "Bound"
    ready = get_condition(status["conditions"], "Ready") or {}
    assert (ready["status"], ready["reason"]) == ("False", "SecretNotFound")


@pytest.mark.parametrize(
    ("phases", "phase"),
    [
        (["Complete", "Complete"], "Complete"),
        (["Complete", None], "Executing"),
        (["Complete", "Failed"], "Failed"),
        ([None], "Pending"),
        ([], "Pending"),
    ],
)
def test_a_load_is_as_far_as_its_last_cluster(phases: list[str | None], phase: str) -> None:
    assert load_phase(phases) == phase


def test_bytes_of_a_load_are_summed_over_clusters() -> None:
    counts = {"bytes": "10", "totalBytes": "20", "files": "1", "totalFiles": "2"}
    works = [report("Bound", 1, "1%", originBytes="10", **counts) for _ in range(2)]
    status = operation_status("DataLoad", {}, said(works, "DataLoad"), 2, now=NOW)
    sums = {"originBytes": "20", "bytes": "20", "loaded": "20.00B", "totalBytes": "40", "percentage": "50.0%"}
    assert status["infos"] == sums | {"files": "2", "totalFiles": "4"}
    more = operation_status("DataLoad", {}, said(works, "DataLoad"), 3)
    assert more["phase"] == "Executing"
    assert more["infos"]["percentage"] == "33.3%", "the third will load as much"


def test_what_is_complete_says_what_was_done_as_on_a_cluster() -> None:
    counts = {"bytes": "1024", "totalBytes": "1024", "files": "3", "totalFiles": "3"}
    works = [report("Bound", 1, "100%", **counts) for _ in range(2)]
    told = [
        operation_status("DataLoad", {}, said(works[:n], "DataLoad"), n, now=NOW)["conditions"][0]["message"]
        for n in (1, 2)
    ]
    assert told == ["1.00KiB in 3 files", "2.00KiB in 6 files on 2 clusters"]
    bare = operation_status("DataMigrate", {}, [{"phase": "Complete"}], 1, now=NOW)
    assert bare["conditions"][0]["message"] == "Everything is done"


def test_an_operation_that_a_cluster_refuses_says_so_itself() -> None:
    refused = work({("Dataset", "d"): {"phase": "Bound"}, ("DataMigrate", "m"): {}})
    known = Known(set(), operations={("DataMigrate", "m"): ("DataMigrate", "m")})

    def status(why: str) -> Json:
        denied = {"type": "Applied", "status": "False", "message": why}
        refused["status"]["resourceStatus"]["manifests"][1]["conditions"] = [denied]
        known.look([("c", refused)])
        reports = [each.operations["DataMigrate", "m"] for each in known.of(["c"])]
        return operation_status("DataMigrate", {}, reports, 1, now=NOW)

    denied = status('admission webhook "w" denied the request: spec.to.dataset: is readOnly')
    assert denied["phase"] == "Failed"
    assert denied["infos"]["message"].startswith("cluster c does not take it: admission webhook")
    assert status("the server is busy")["phase"] == "Pending"


def test_a_cluster_with_a_dataset_of_its_own_by_that_name_has_failed_whatever_that_says() -> None:
    own = report("Bound", 1024, "100.0%", bytes="1024")
    denied = {
        "type": "Applied",
        "status": "False",
        "message": "Dataset n/d of this cluster is no copy of the hub's",
    }
    for manifest in own["status"]["resourceStatus"]["manifests"]:
        manifest["conditions"] = [denied]
    entry = cluster_status("c", own, ["l"])
    assert (entry["phase"], entry["loadPhase"]) == ("Failed", "Failed")
    assert "is no copy of the hub's" in entry["message"]
    assert "cachedBytes" not in entry
    assert operation_status("DataLoad", {}, said([own], "DataLoad"), 1, now=NOW)["phase"] == "Failed"


def test_totals_are_those_of_clusters_where_it_is_the_fleets() -> None:
    counts = {"bytes": "1024", "totalBytes": "1024", "files": "3", "totalFiles": "3", "originBytes": "1024"}
    ours, own = (report("Bound", 1024, "100.0%", **counts) for _ in range(2))
    denied = {"type": "Applied", "status": "False", "message": "Dataset n/d is no copy of the hub's"}
    own["status"]["resourceStatus"]["manifests"][0]["conditions"] = [denied]  # its DataLoad came by
    known = Known(set(), operations={("DataLoad", "l"): ("DataLoad", "l")})
    known.look([("a", ours), ("b", own)])
    assert known.taken() == {"b"}
    reports = [each.operations["DataLoad", "l"] for each in known.of(["a", "b"])]
    load = operation_status("DataLoad", {}, reports, 2, now=NOW)
    assert load["phase"] == "Failed"
    assert load["infos"].pop("message") == "cluster b does not take it: Dataset n/d is no copy of the hub's"
    assert load["infos"] == counts | {"loaded": "1.00KiB", "percentage": "100.0%"}
    entries = known.entries(["a", "b"])
    assert entries[1] == {
        "name": "b",
        "phase": "Failed",
        "loadPhase": "Failed",
        "message": "Dataset d: Dataset n/d is no copy of the hub's",
    }
    status = dataset_status(dataset(), entries, [each.dataset for each in known.of(["a", "b"])], now=NOW)
    assert (status["phase"], status["cacheStates"]["cached"]) == ("Failed", "1.00KiB")
    assert (status["progress"]["totalBytes"], status["progress"]["files"]) == (1024, 3)


def test_progress_has_rates_added_up_and_the_time_of_the_last() -> None:
    def loads(done: int, rate: int, left: int) -> Json:
        counts = {"bytes": str(done), "totalBytes": "2048", "files": "1", "totalFiles": "2"}
        moves = {"bytesPerSecond": str(rate), "etaSeconds": str(left)}
        return report("Bound", done, "1%", load="Executing", **counts, **moves)

    whole = {"bytes": "2048", "totalBytes": "2048", "files": "2", "totalFiles": "2", "bytesPerSecond": "9"}
    works = [loads(1024, 1024, 1), loads(0, 512, 4), report("Bound", 2048, "100%", **whole)]
    entries = [cluster_status(f"c{n}", each, ["l"]) for n, each in enumerate(works)]
    assert entries[1]["progress"] == {
        "bytes": 0,
        "totalBytes": 2048,
        "files": 1,
        "totalFiles": 2,
        "bytesPerSecond": 512,
        "etaSeconds": 4,
    }
    assert (entries[1]["rate"], entries[1]["eta"]) == ("512.00B/s", "4s")
    assert "bytesPerSecond" not in entries[2]["progress"]
    status = dataset_status(dataset(), entries, said(works), now=NOW)
    counted = status["progress"]
    assert (counted["bytes"], counted["totalBytes"], counted["files"]) == (3072, 6144, 4)
    assert (counted["bytesPerSecond"], counted["etaSeconds"]) == (1536, 4)
    assert told(counted) == "50.0% of 6.00KiB, 4 of 6 files, 1.50KiB/s, 4s left"
    infos = operation_status("DataLoad", {}, said(works, "DataLoad"), 3, now=NOW)["infos"]
    assert (infos["rate"], infos["eta"], infos["loaded"]) == ("1.50KiB/s", "4s", "3.00KiB")
    late = operation_status("DataLoad", {}, said(works, "DataLoad"), 4, now=NOW)["infos"]
    assert "eta" not in late, "nobody knows when the fourth begins"
    ended = dataset_status(dataset(status=status), [{"name": "c", "phase": "Bound"}], [], now=NOW)
    assert "progress" not in ended


def test_a_work_names_secrets_and_never_has_them() -> None:
    def option(name: str, secret: str) -> Json:
        return {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": "k"}}}

    spec = {
        "mounts": [{"mountPoint": "s3://a/b", "encryptOptions": [option("x", "one")]}],
        "sharedEncryptOptions": [option("y", "two")],
    }
    metadata = {
        "name": "d",
        "namespace": "n",
        "labels": {"cluster.open-cluster-management.io/placement": "p", "mine": "1"},
    }
    obj = {"metadata": metadata, "spec": spec}
    assert secrets_of(obj) == [("one", "k"), ("two", "k")]
    _, sent, runtime = manifest_work(obj, None, [], "c")["spec"]["workload"]["manifests"]
    assert sent["metadata"]["labels"] == {"mine": "1"}
    assert sent["metadata"]["annotations"]["data.boundaryless.io/hub-secret"] == "dataset-n.d-credentials"
    keys = [sent["spec"]["mounts"][0]["encryptOptions"][0], sent["spec"]["sharedEncryptOptions"][0]]
    assert [each["valueFrom"]["secretKeyRef"]["key"] for each in keys] == ["one_k", "two_k"]
    assert (runtime["kind"], runtime["spec"]["replicas"]) == ("LocalRuntime", 0)


def test_a_dataset_cannot_ask_for_the_credentials_of_another() -> None:
    annotations = {"data.boundaryless.io/hub-secret": "dataset-other.d-credentials", "mine": "1"}
    obj = {"metadata": {"name": "d", "namespace": "n", "annotations": annotations}, "spec": {}}
    _, sent, _ = manifest_work(obj, None, [], "c")["spec"]["workload"]["manifests"]
    assert sent["metadata"]["annotations"] == {"mine": "1", "data.boundaryless.io/fleet-copy": "true"}


def test_progress_is_a_line_in_a_while_and_what_happens_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    progress = actions.Progress(lambda: now[0])

    def show(done: int, **entry: str) -> list[str]:
        counts = {"bytes": done, "totalBytes": 1000, "bytesPerSecond": 10, "etaSeconds": 9}
        said: Json = {"name": "a", "phase": "Bound", "loadPhase": "Executing", "progress": counts, **entry}
        progress.show({"metadata": {"name": "llama"}, "status": {"clusters": [said]}})
        return capsys.readouterr().err.splitlines()

    assert show(100) == ["a: Bound, 10.0% of 1000.00B, 10.00B/s, 9s left"]
    now[0] = 4.0
    assert show(200) == []
    assert show(300, message="the store is away") == [
        "a: Bound, 30.0% of 1000.00B, 10.00B/s, 9s left, the store is away"
    ]
    now[0] = 9.0
    assert len(show(400, message="the store is away")) == 1
    assert show(1000, loadPhase="Complete", cachedPercentage="100.0%") == ["a: Bound, 100.0%"]
    assert show(1000, loadPhase="Complete", cachedPercentage="100.0%") == []
