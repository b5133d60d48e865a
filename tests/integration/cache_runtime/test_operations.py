"""Operations: policies, pipelines, who excludes whom, processing, migration, expiry."""

from __future__ import annotations

from typing import Any

from addon_framework.api.core import CRONJOBS, EVENTS, JOBS
from addon_framework.api.meta import Json, Resource
from addon_framework.testing import eventually
from addons.cache_runtime.hub.names import COPY_ANNOTATION
from tests.integration.cache_runtime.fleet import DATALOADS, DATASETS, MIGRATES, PROCESSES, Fleet
from tests.integration.cache_runtime.objectstore import BUCKET


async def bound(fleet: Fleet, name: str = "llama", **dataset: Any) -> None:
    await fleet.secret()
    await fleet.create(fleet.dataset(name, **dataset), fleet.runtime("local", name))
    await fleet.phase(DATASETS, name, "Bound")


def put(fleet: Fleet, prefix: str, **files: bytes) -> None:
    for name, content in files.items():
        fleet.store.client().put_object(Bucket=BUCKET, Key=f"{prefix}/{name}", Body=content)


def got(fleet: Fleet, prefix: str) -> dict[str, bytes]:
    client = fleet.store.client()
    listed = client.list_objects_v2(Bucket=BUCKET, Prefix=f"{prefix}/").get("Contents") or []
    return {
        entry["Key"].removeprefix(f"{prefix}/"): client.get_object(Bucket=BUCKET, Key=entry["Key"])[
            "Body"
        ].read()
        for entry in listed
    }


def reason(op: Json) -> str:
    return str(op["status"]["conditions"][0]["reason"])


async def test_new_data_triggers_a_load(fleet: Fleet) -> None:
    prefix = f"events-{fleet.namespace}"
    put(fleet, prefix, a=b"first")
    await bound(fleet, "data", source=f"s3://{BUCKET}/{prefix}")
    await fleet.create(fleet.load("data", policy="OnEvent"))
    await fleet.phase(DATALOADS, "data", "Complete")
    put(fleet, prefix, b=b"second, and longer")
    again = await fleet.until(DATALOADS, "data", lambda op: op["status"]["infos"].get("files") == "2")
    assert again["status"]["infos"]["bytes"] == str(5 + 18)
    await fleet.until(DATASETS, "data", lambda d: d["status"]["fileNum"] == "2")
    place = fleet.host / f"var/lib/boundaryless/cache/{fleet.namespace}/data/data/b"
    assert place.read_bytes() == b"second, and longer"


async def test_the_hubs_load_leaves_a_clusters_own_dataset_alone_until_that_goes(fleet: Fleet) -> None:
    """As without webhooks, or where the cluster's came after the load."""

    def copied(obj: Json) -> Json:
        return {**obj, "metadata": {**obj["metadata"], "annotations": {COPY_ANNOTATION: "true"}}}

    await fleet.secret()
    load, runtime = copied(fleet.load("llama")), copied(fleet.runtime("local", "llama"))
    await fleet.create(fleet.dataset("llama"), runtime, load)
    failed = await fleet.phase(DATALOADS, "llama", "Failed")
    assert "llama of this cluster is no copy of the hub's" in failed["status"]["infos"]["message"]
    assert "ownerReferences" not in failed["metadata"], "it would go with a Dataset that it is not for"
    await fleet.until(DATASETS, "llama", lambda d: "RuntimeNotFound" in str(d.get("status")))

    await fleet.delete(DATASETS, "llama")
    await fleet.gone(DATASETS, "llama")
    await fleet.create(copied(fleet.dataset("llama")))
    await fleet.phase(DATALOADS, "llama", "Complete")


async def test_what_was_said_while_it_ran_is_not_said_of_what_is_complete(
    fleet: Fleet, model: dict[str, bytes]
) -> None:
    await bound(fleet)
    await fleet.create(fleet.load("llama"))
    await fleet.phase(DATALOADS, "llama", "Complete")
    late = {"status": {"infos": {"eta": "3s", "etaSeconds": "3", "message": "waiting"}}}  # a write overtaken
    await fleet.client.patch(DATALOADS, "llama", late, fleet.namespace, subresource="status")
    done = await fleet.until(DATALOADS, "llama", lambda op: "eta" not in op["status"]["infos"])
    assert not {"etaSeconds", "message"} & done["status"]["infos"].keys()
    assert done["status"]["infos"]["percentage"] == "100.0%"


async def test_a_schedule_is_a_cronjob_whose_runs_show(fleet: Fleet, model: dict[str, bytes]) -> None:
    await bound(fleet)
    await fleet.create(fleet.load("llama", policy="Cron", schedule="* * * * *"))
    cron = await fleet.until(CRONJOBS, "llama-loader-job", lambda obj: True)
    assert cron["spec"]["schedule"] == "* * * * *"
    complete = await fleet.phase(DATALOADS, "llama", "Complete")
    assert complete["status"]["lastScheduleTime"]
    await fleet.until(DATALOADS, "llama", lambda op: op["status"].get("lastSuccessfulTime"))
    jobs = (await fleet.client.list(JOBS, fleet.namespace, label_selector="fluid.io/jobPolicy=cron"))["items"]
    assert [job["metadata"]["ownerReferences"][0]["kind"] for job in jobs] == ["CronJob"]
    await fleet.delete(DATALOADS, "llama")
    await fleet.gone(CRONJOBS, "llama-loader-job")


async def test_a_pipeline_runs_in_order_whatever_the_order_of_creation(
    fleet: Fleet, model: dict[str, bytes]
) -> None:
    await bound(fleet)
    count = fleet.process(
        "count",
        "ls /data | wc -l > /dev/null; test $(wc -c < /data/config.json) = 1000",
        dataset="llama",
        runAfter={
            "kind": "DataLoad",
            "name": "llama",
            "affinityStrategy": {"policy": "Require"},
        },
    )
    last = fleet.load("again", dataset="llama", runAfter={"kind": "DataProcess", "name": "count"})
    await fleet.create(last, count)
    waiting = await fleet.until(PROCESSES, "count", lambda op: (op.get("status") or {}).get("waitingFor"))
    assert waiting["status"]["waitingFor"] == {"operationComplete": True}
    assert waiting["status"]["phase"] == "Pending"
    first = fleet.load("llama", ttlSecondsAfterFinished=0)
    await fleet.create(first)
    done = await fleet.phase(PROCESSES, "count", "Complete")
    assert done["status"]["waitingFor"] == {"operationComplete": False}
    expressions = done["status"]["nodeAffinity"]["required"]["nodeSelectorTerms"][0]["matchExpressions"]
    assert expressions[0] == {"key": "kubernetes.io/hostname", "operator": "In", "values": ["cache-node"]}
    job = await fleet.client.get(JOBS, "count-processor-job", fleet.namespace)
    affinity = job["spec"]["template"]["spec"]["affinity"]["nodeAffinity"]
    rule = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"][0]
    assert rule["matchExpressions"] == expressions
    await fleet.phase(DATALOADS, "again", "Complete")
    await fleet.gone(DATALOADS, "llama")  # not before its successor had seen it complete


async def test_a_failed_step_fails_those_after_it_until_it_is_repeated(
    fleet: Fleet, model: dict[str, bytes]
) -> None:
    await bound(fleet)
    bad = fleet.process("bad", "exit 1", dataset="llama")
    bad["spec"]["processor"]["script"]["image"] = ""
    after = fleet.load("llama", runAfter={"kind": "DataProcess", "name": "bad"})
    await fleet.create(bad, after)
    failed = await fleet.phase(DATALOADS, "llama", "Failed")
    assert reason(failed) == "PredecessorFailed"
    assert "DataProcess" in failed["status"]["infos"]["message"]
    assert "script.image: is needed" in failed["status"]["infos"]["message"]
    mended = fleet.process("bad", "exit 0", dataset="llama")["spec"]
    await fleet.client.patch(PROCESSES, "bad", {"spec": mended}, fleet.namespace)
    await fleet.phase(DATALOADS, "llama", "Complete")


async def test_a_script_that_fails_says_how_it_ended(fleet: Fleet, model: dict[str, bytes]) -> None:
    await bound(fleet)
    process = fleet.process("bad", "unused", dataset="llama")
    container = {
        "name": "c",
        "image": "busybox",
        "command": [
            "sh",
            "-c",
            'echo \'{"report": "done"}\'; echo no such table: users >&2; exit 7',
        ],
    }
    process["spec"]["processor"] = {"job": {"podSpec": {"containers": [container]}}}
    await fleet.create(process)
    failed = await fleet.phase(PROCESSES, "bad", "Failed")
    assert "container c of pod bad-processor-job-" in failed["status"]["infos"]["message"]
    message = failed["status"]["conditions"][0]["message"]
    assert "ended with exit code 7 and said last: " in message
    assert "no such table: users" in message
    assert failed["status"]["infos"]["startTime"] < failed["status"]["infos"]["finishTime"]


async def test_a_circle_is_refused(fleet: Fleet) -> None:
    await fleet.create(
        fleet.load("a", dataset="d", runAfter={"kind": "DataLoad", "name": "b"}),
        fleet.load("b", dataset="d", runAfter={"kind": "DataLoad", "name": "a"}),
    )
    for name in ("a", "b"):
        failed = await fleet.phase(DATALOADS, name, "Failed")
        assert "goes in a circle" in failed["status"]["infos"]["message"]


async def test_processes_that_cannot_work_are_refused_with_fluids_reasons(fleet: Fleet) -> None:
    good = fleet.process("x", "true", dataset="llama")["spec"]
    script, job = good["processor"]["script"], {"podSpec": {"containers": [{"name": "c", "image": "i"}]}}
    clash = {**script, "volumeMounts": [{"name": "v", "mountPath": "/data"}]}
    wrong = {
        "ProcessorNotSpecified": {**good, "processor": {}},
        "MultipleProcessorSpecified": {**good, "processor": {"script": script, "job": job}},
        "ConflictMountPath": {**good, "processor": {"script": clash}},
        "ScheduleNotSpecified": {**good, "policy": "Cron"},
        "TargetDatasetNamespaceNotSame": {**good, "dataset": {**good["dataset"], "namespace": "elsewhere"}},
    }
    for number, spec in enumerate(wrong.values()):
        await fleet.create(fleet.object(PROCESSES, f"wrong-{number}", spec))
    for number, expected in enumerate(wrong):
        assert reason(await fleet.phase(PROCESSES, f"wrong-{number}", "Failed")) == expected


async def test_who_writes_has_the_dataset_for_itself(fleet: Fleet, model: dict[str, bytes]) -> None:
    source, target = f"from-{fleet.namespace}", f"to-{fleet.namespace}"
    put(fleet, source, **{"one": b"1" * 1000, "two.txt": b"22", "three.log": b"no"})
    put(fleet, target, there=b"already")
    await fleet.secret()
    dataset = fleet.dataset("data", source=f"s3://{BUCKET}/{target}")
    dataset["spec"]["mounts"][0]["readOnly"] = False
    await fleet.create(dataset, fleet.runtime("local", "data"), fleet.load("data"))
    await fleet.phase(DATALOADS, "data", "Complete")
    slow = fleet.process("slow", "while [ ! -e /data/never ] && sleep 0.2; do :; done", dataset="data")
    await fleet.create(slow)
    await fleet.phase(PROCESSES, "slow", "Executing")
    uri = f"minio://{fleet.store.endpoint.removeprefix('http://')}/{BUCKET}/{source}/"
    into = {"dataset": {"name": "data", "namespace": fleet.namespace, "path": "/new"}}
    spec = {"from": fleet.external(uri), "to": into, "options": {"exclude": "*.log"}}
    await fleet.create(fleet.object(MIGRATES, "in", spec))
    waiting = await fleet.phase(MIGRATES, "in", "Pending")
    assert "waiting for DataProcess" in waiting["status"]["infos"]["message"]
    await fleet.delete(PROCESSES, "slow")
    complete = await fleet.phase(MIGRATES, "in", "Complete")
    assert complete["status"]["infos"]["files"] == "2"
    assert got(fleet, target) == {"new/one": b"1" * 1000, "new/two.txt": b"22", "there": b"already"}
    await fleet.phase(DATASETS, "data", "Bound")
    await eventually(lambda: _event(fleet, "in", "DataOperationSucceed"))


async def test_many_pods_migrate_out_of_a_dataset_and_what_is_there_is_not_copied(
    fleet: Fleet, model: dict[str, bytes]
) -> None:
    await bound(fleet)
    target = f"out-{fleet.namespace}"
    frm = {"dataset": {"name": "llama", "namespace": fleet.namespace}}
    out = fleet.external(f"s3://{BUCKET}/{target}")
    spec: Json = {"from": frm, "to": out, "parallelism": 2, "options": {"endpoint": fleet.store.endpoint}}
    await fleet.create(fleet.object(MIGRATES, "out", spec))
    complete = await fleet.phase(MIGRATES, "out", "Complete")
    assert got(fleet, target) == model
    assert complete["status"]["infos"]["totalBytes"] == str(sum(map(len, model.values())))
    before = versions(fleet, target)
    await fleet.create(fleet.object(MIGRATES, "twice", {**spec, "parallelism": 1}))
    await fleet.phase(MIGRATES, "twice", "Complete")
    assert versions(fleet, target) == before


async def test_a_users_secret_that_is_mended_repeats_the_load(fleet: Fleet, model: dict[str, bytes]) -> None:
    await fleet.create(fleet.dataset("llama"), fleet.runtime("local", "llama"), fleet.load("llama"))
    waiting = await fleet.phase(DATALOADS, "llama", "Pending")
    await eventually(lambda: _message(fleet, "llama", f"waiting for Secret {fleet.namespace}/keys"))
    assert waiting["status"]["phase"] == "Pending"
    await fleet.secret(secretAccessKey="wrong")
    failed = await fleet.phase(DATALOADS, "llama", "Failed")
    assert reason(failed) == "SourceUnreadable"
    await fleet.secret()
    await fleet.phase(DATALOADS, "llama", "Complete")


async def test_a_mount_that_is_added_is_loaded_and_one_that_is_removed_goes(fleet: Fleet) -> None:
    one, two = f"one-{fleet.namespace}", f"two-{fleet.namespace}"
    put(fleet, one, a=b"a")
    put(fleet, two, b=b"bb")
    await bound(fleet, "data", source=f"s3://{BUCKET}/{one}")
    await fleet.create(fleet.load("data"))
    await fleet.phase(DATALOADS, "data", "Complete")
    mounts = fleet.dataset("data", source=f"s3://{BUCKET}/{one}")["spec"]["mounts"]
    more = {**mounts[0], "mountPoint": f"s3://{BUCKET}/{two}", "name": "two", "path": "/two"}
    await fleet.client.patch(DATASETS, "data", {"spec": {"mounts": [*mounts, more]}}, fleet.namespace)
    place = fleet.host / f"var/lib/boundaryless/cache/{fleet.namespace}/data/data"
    await eventually(lambda: (place / "two/b").exists())
    await fleet.client.patch(DATASETS, "data", {"spec": {"mounts": [more]}}, fleet.namespace)
    await eventually(lambda: not (place / "a").exists())
    assert (place / "two/b").read_bytes() == b"bb"
    left = await fleet.phase(DATASETS, "data", "Bound")
    assert [mount["name"] for mount in left["status"]["mounts"]] == ["two"]


def versions(fleet: Fleet, prefix: str) -> list[tuple[str, str]]:
    listed = fleet.store.client().list_objects_v2(Bucket=BUCKET, Prefix=f"{prefix}/")["Contents"]
    return [(entry["Key"], str(entry["LastModified"])) for entry in listed]


async def _message(fleet: Fleet, name: str, text: str, resource: Resource = DATALOADS) -> bool:
    op = await fleet.client.get(resource, name, fleet.namespace)
    return bool((op.get("status") or {}).get("infos", {}).get("message") == text)


async def _event(fleet: Fleet, name: str, reason: str) -> bool:
    events = (await fleet.client.list(EVENTS, fleet.namespace))["items"]
    return any(e["reason"] == reason and e["involvedObject"]["name"] == name for e in events)
