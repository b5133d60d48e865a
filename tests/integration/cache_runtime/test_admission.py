"""The webhooks of the agent, asked by the API server."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import signal
import time
from pathlib import Path

import pytest

from addon_framework.api.core import NODES, PODS
from addon_framework.api.meta import Json
from addon_framework.kube import ApiError
from addon_framework.testing import eventually
from addon_framework.testing.servers import free_port
from addons.cache_runtime.admission.names import CONFIGURATION, MUTATING, VALIDATING
from addons.cache_runtime.admission.server import Address
from addons.cache_runtime.hub.names import COPY_ANNOTATION
from tests.integration.cache_runtime.clients import client_pod, processes_told, processes_with
from tests.integration.cache_runtime.fleet import DATALOADS, DATASETS, MIGRATES, RUNTIMES, Fleet

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="FUSE needs root")


@pytest.fixture
def webhooks() -> Address:
    return Address("127.0.0.1", "127.0.0.1", port=free_port())


@pytest.fixture
async def asked(fleet: Fleet, model: dict[str, bytes]) -> Fleet:
    """A fleet whose API server knows the webhooks, and a bucket with the model."""
    for resource in (MUTATING, VALIDATING):
        await fleet.until(resource, CONFIGURATION, lambda configuration: True)
    await fleet.secret()
    return fleet


def labelled(pod: Json, **labels: str) -> Json:
    names = {"affinity": "fuse.serverful.fluid.io/inject", "sidecar": "serverless.fluid.io/inject"}
    pod["metadata"]["labels"] = {names.get(name, name): value for name, value in labels.items()}
    return pod


async def test_a_pod_that_asks_is_drawn_to_the_nodes_with_its_data(asked: Fleet) -> None:
    await asked.create(asked.dataset("llama"), asked.runtime("local", "llama"), asked.load("llama"))
    await asked.phase(DATALOADS, "llama", "Complete")
    await asked.phase(DATASETS, "llama", "Bound")
    label = f"fluid.io/s-{asked.namespace}-llama"

    async def counted() -> bool:
        (node,) = (await asked.client.list(NODES, label_selector=f"{label}=true"))["items"]
        return int(node["metadata"]["labels"]["fluid.io/dataset-num"]) >= 1

    await eventually(counted)
    required = {"fluid.io/dataset.llama.sched": "required"}
    await asked.create(labelled(asked.reader("llama", "true"), affinity="true", **required))

    pod = await asked.client.get(PODS, "reader-llama", asked.namespace)
    affinity = pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert affinity["nodeSelectorTerms"] == [
        {"matchExpressions": [{"key": label, "operator": "In", "values": ["true"]}]}
    ]
    assert pod["metadata"]["annotations"]["fluid.io/datasets-in-use"] == "llama"
    await asked.output("reader-llama")


async def test_a_pod_that_does_not_ask_is_left_alone(asked: Fleet) -> None:
    await asked.create(asked.dataset("llama"), asked.runtime("local", "llama"))
    await asked.phase(DATASETS, "llama", "Bound")
    await asked.create(asked.reader("llama", "true"))

    pod = await asked.client.get(PODS, "reader-llama", asked.namespace)
    assert "affinity" not in pod["spec"]
    assert "annotations" not in pod["metadata"]


@needs_root
@pytest.mark.parametrize("profile", ["s3fs", "rclone"])
async def test_a_pod_brings_its_client_along_and_ends(
    asked: Fleet, model: dict[str, bytes], profile: str
) -> None:
    await asked.create(asked.dataset("llama"), asked.runtime("thin", "llama", profileName=profile))
    await asked.phase(DATASETS, "llama", "Bound")
    reader = asked.reader("llama", "md5sum < /models/config.json")

    await asked.create(labelled(reader, sidecar="true"))

    assert (await asked.output("reader-llama")).split()[0] == hashlib.md5(model["config.json"]).hexdigest()
    pod = await asked.client.get(PODS, "reader-llama", asked.namespace)
    assert not [v for v in pod["spec"]["volumes"] if "persistentVolumeClaim" in v or "hostPath" in v]


@needs_root
@pytest.mark.parametrize("profile", ["s3fs", "rclone"])
async def test_a_client_that_a_pod_brought_dies_and_the_pod_reads_on(
    asked: Fleet, model: dict[str, bytes], profile: str
) -> None:
    await asked.create(asked.dataset("llama"), asked.runtime("thin", "llama", profileName=profile))
    await asked.phase(DATASETS, "llama", "Bound")
    script = "while true; do sleep 0.2; echo $(cat /proc/uptime) $(md5sum < /models/config.json); done"
    await asked.create(labelled(asked.reader("llama", script), sidecar="true"))
    await asked.phase(PODS, "reader-llama", "Running")
    right = hashlib.md5(model["config.json"]).hexdigest()

    async def reads_since(moment: float) -> bool:
        where = PODS.path(asked.namespace, "reader-llama", "log")
        text = await asked.client.text(where, params={"container": "main"})
        lines = [line.split() for line in text.splitlines() if line[:1].isdigit()]
        return any(float(line[0]) > moment and line[2:3] == [right] for line in lines)

    await eventually(lambda: reads_since(0))
    for _ in range(2):  # the second time what was put over the first one's mount
        killed = brought(profile, f"/mounts/{asked.namespace}/llama ")
        assert killed
        for process in killed:
            with contextlib.suppress(ProcessLookupError):  # one of two may end with the other
                os.kill(process, signal.SIGKILL)
        await eventually(lambda gone=killed: not any(Path(f"/proc/{each}").exists() for each in gone))
        moment = time.clock_gettime(time.CLOCK_BOOTTIME)
        await eventually(lambda m=moment: reads_since(m))
    pod = await asked.client.get(PODS, "reader-llama", asked.namespace)
    assert pod["status"]["containerStatuses"][0]["restartCount"] == 0
    await asked.delete(PODS, "reader-llama")
    await asked.gone(PODS, "reader-llama")  # no dead mount is left in its volume


@needs_root
async def test_a_pod_ends_while_the_client_that_it_brought_is_dead(asked: Fleet) -> None:
    await brings_its_client(asked)

    async def waits() -> bool:
        """To be started again, later each time."""
        for pid in brought("s3fs", f"/mounts/{asked.namespace}/llama "):
            os.kill(pid, signal.SIGKILL)
        pod = await asked.client.get(PODS, "reader-llama", asked.namespace)
        (client,) = [c for c in pod["status"]["initContainerStatuses"] if c["name"] == "fluid-fuse-0"]
        return "waiting" in client["state"] and client["restartCount"] > 1

    await eventually(waits)

    await asked.delete(PODS, "reader-llama")
    await asked.gone(PODS, "reader-llama")


async def brings_its_client(asked: Fleet) -> None:
    """A pod that runs, reader-llama."""
    await asked.create(asked.dataset("llama"), asked.runtime("thin", "llama"))
    await asked.phase(DATASETS, "llama", "Bound")
    await asked.create(labelled(asked.reader("llama", "sleep 600"), sidecar="true"))
    await asked.phase(PODS, "reader-llama", "Running")


def brought(program: str, mount_point: str) -> list[int]:
    """Processes of a client that a pod has for itself."""
    found = []
    for pid in processes_told(program, "OVER_DEAD=true"):
        with contextlib.suppress(OSError):
            if mount_point in Path(f"/proc/{pid}/mountinfo").read_text():
                found.append(pid)
    return found


@needs_root
async def test_a_dataset_waits_for_pods_that_brought_their_client(asked: Fleet) -> None:
    await brings_its_client(asked)

    await asked.delete(DATASETS, "llama")

    await asked.until(DATASETS, "llama", lambda d: "reader-llama" in str(d["status"]["conditions"]))
    await asked.delete(PODS, "reader-llama")
    await asked.gone(DATASETS, "llama")
    mount_point = f"/var/lib/boundaryless/mounts/{asked.namespace}/llama"
    assert not processes_with("s3fs", mount_point)


async def test_data_that_is_kept_on_nodes_cannot_come_along(asked: Fleet) -> None:
    await asked.create(asked.dataset("llama"), asked.runtime("local", "llama"))
    await asked.phase(DATASETS, "llama", "Bound")

    with pytest.raises(ApiError, match=r"LocalRuntime keeps the data on nodes.*remove the label"):
        await asked.create(labelled(asked.reader("llama", "true"), sidecar="true"))


@needs_root
async def test_what_the_kernel_mounts_cannot_come_along(asked: Fleet) -> None:
    script = 'mkdir -p "$MOUNT_POINT" && mount -t tmpfs of-the-kernel "$MOUNT_POINT" && exec sleep 600'
    fuse = {"image": "busybox", "imageTag": "1", "command": ["sh", "-c", script]}
    profile = {
        "apiVersion": "data.fluid.io/v1alpha1",
        "kind": "ThinRuntimeProfile",
        "metadata": {"name": "kernel"},
        "spec": {"fileSystemType": "tmpfs", "fuse": fuse},
    }
    runtime = asked.runtime("thin", "llama")
    runtime["spec"]["profileName"] = "kernel"
    await asked.create(profile, asked.dataset("llama"), runtime)
    await asked.phase(DATASETS, "llama", "Bound")

    with pytest.raises(ApiError, match=r"its ThinRuntime is mounted by the kernel.*remove the label"):
        await asked.create(labelled(asked.reader("llama", "true"), sidecar="true"))


async def test_what_can_never_work_is_refused_at_once_in_either_order(asked: Fleet) -> None:
    bad = asked.dataset("llama")
    bad["spec"]["mounts"].append({"mountPoint": "s3://other/bucket", "name": "second"})
    await asked.create(bad)  # nobody can tell yet

    with pytest.raises(ApiError, match=r"spec\.mounts: JuiceFS takes exactly one, there are 2"):
        await asked.create(asked.runtime("juicefs", "llama"))

    await asked.create(asked.runtime("juicefs", "other"))
    with pytest.raises(ApiError, match=r"spec\.mounts: JuiceFS takes exactly one, there are 2"):
        await asked.create({**bad, "metadata": {**bad["metadata"], "name": "other"}})


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("hdfs://namenode:9000/data", "AlluxioRuntime and JindoRuntime read hdfs://"),
        ("oss://bucket/data", "option endpoint or region is needed"),
        ("smb://host/share", 'needs a driver that is not in the image: SMB requires "smbprotocol"'),
    ],
)
async def test_a_source_that_a_runtime_does_not_read_is_refused_with_who_does(
    asked: Fleet, source: str, words: str
) -> None:
    await asked.create(asked.runtime("local", "data"))
    with pytest.raises(ApiError, match=r"spec\.mounts\[0\]") as refused:
        await asked.create(asked.dataset("data", source=source))
    assert words in str(refused.value)


async def test_a_profile_that_may_still_come_is_waited_for(asked: Fleet) -> None:
    await asked.create(asked.dataset("llama"))
    await asked.create(asked.runtime("thin", "llama", profileName="not-yet"))

    await asked.until(DATASETS, "llama", lambda d: "not-yet does not exist" in str(d.get("status")))


async def test_files_are_in_memory_before_a_pod_starts(asked: Fleet, model: dict[str, bytes]) -> None:
    await asked.create(asked.dataset("llama"), asked.runtime("local", "llama"), asked.load("llama"))
    await asked.phase(DATALOADS, "llama", "Complete")
    await asked.phase(DATASETS, "llama", "Bound")
    pod = labelled(asked.reader("llama", "sleep 600"), affinity="true")
    annotations = {"inject": "true", "file-list": "pvc://llama/*.safetensors"}
    pod["metadata"]["annotations"] = {f"file-prefetcher.fluid.io/{k}": v for k, v in annotations.items()}
    await asked.create(pod)
    await asked.phase(PODS, "reader-llama", "Running")
    path = PODS.path(asked.namespace, "reader-llama", "log")
    said = await asked.client.text(path, params={"container": "fluid-file-prefetcher"})
    sizes = sum(len(content) for name, content in model.items() if name.endswith(".safetensors"))
    assert f"done: {sizes} bytes of 2 files" in said

    pod["metadata"] |= {"name": "reader-wrong"}
    pod["metadata"]["annotations"]["file-prefetcher.fluid.io/file-list"] = "pvc://other/*"
    with pytest.raises(ApiError, match=r"file-list: 'pvc://other/\*' must be pvc://CLAIM/PATTERN"):
        await asked.create(pod)


async def test_an_operation_that_could_never_work_is_refused_with_the_field(asked: Fleet) -> None:
    await asked.create(asked.load("early", target=[{"path": "/", "replicas": 3}]))  # its Dataset may come
    await asked.create(asked.dataset("llama"), asked.runtime("local", "llama"))
    await asked.create(asked.dataset("thin"), asked.runtime("thin", "thin"))
    await asked.phase(DATASETS, "llama", "Bound")
    wrong = {
        "spec.schedule: policy Cron needs one": asked.load("x", dataset="llama", policy="Cron"),
        "spec.options: unknown speed; known: threads": asked.load(
            "x", dataset="llama", options={"speed": "1"}
        ),
        "spec.target[0].replicas: 3 copies": asked.load(
            "x", dataset="llama", target=[{"path": "/", "replicas": 3}]
        ),
        "spec.runAfter: names the operation itself": asked.load(
            "x", dataset="llama", runAfter={"kind": "DataLoad", "name": "x"}
        ),
        "ThinRuntime thin keeps nothing": asked.load("x", dataset="thin"),
        "spec.processor: give job or script": {
            **(process := asked.process("x", "true", dataset="llama")),
            "spec": {**process["spec"], "processor": {}},
        },
        "ThinRuntime thin has nothing to back up": asked.backup("x", "local:///backup", dataset="thin"),
        "spec.backupPath: 's3://b' must be local:///directory": asked.backup("x", "s3://b", dataset="llama"),
    }
    for text, op in wrong.items():
        with pytest.raises(ApiError, match=re.escape(text)):
            await asked.create(op)


async def test_nothing_of_the_hubs_reaches_a_clusters_own_dataset(asked: Fleet) -> None:
    await asked.create(asked.dataset("llama"))
    mine = {"dataset": {"name": "llama", "namespace": asked.namespace}}
    moves = [
        {"from": mine, "to": asked.external("s3://models/x")},
        {"from": asked.external("s3://m/x"), "to": mine},
    ]
    copies = [asked.runtime("local", "llama"), asked.load("llama")]
    copies += [asked.object(MIGRATES, "move", move) for move in moves]
    for copy in copies:
        copy["metadata"]["annotations"] = {COPY_ANNOTATION: "true"}
        with pytest.raises(ApiError, match=r"Dataset \S+/llama of this cluster is no copy of the hub's"):
            await asked.create(copy)
    await asked.create(asked.runtime("local", "llama"), asked.load("llama"))
    await asked.phase(DATALOADS, "llama", "Complete")


async def test_what_is_complete_does_not_change_and_a_profile_stays(asked: Fleet) -> None:
    await asked.create(asked.dataset("llama"), asked.runtime("local", "llama"), asked.load("llama"))
    await asked.phase(DATALOADS, "llama", "Complete")
    with pytest.raises(ApiError, match=r"spec\.target: it is Complete and will not run again"):
        await asked.client.patch(DATALOADS, "llama", {"spec": {"target": [{"path": "/x"}]}}, asked.namespace)
    location = {"path": "local:///backup", "nodeName": "cache-node"}
    await asked.phase(DATASETS, "llama", "Bound")
    with pytest.raises(ApiError, match=r"spec\.dataRestoreLocation: it is Bound and has begun already"):
        await asked.client.patch(
            DATASETS, "llama", {"spec": {"dataRestoreLocation": location}}, asked.namespace
        )
    await asked.client.patch(DATALOADS, "llama", {"spec": {"ttlSecondsAfterFinished": 0}}, asked.namespace)
    await asked.gone(DATALOADS, "llama")


@needs_root
async def test_a_profile_cannot_change_under_a_bound_dataset(asked: Fleet) -> None:
    await asked.create(asked.dataset("llama"), asked.runtime("thin", "llama"))
    await asked.phase(DATASETS, "llama", "Bound")
    with pytest.raises(ApiError, match=r"spec\.profileName: s3fs cannot become rclone"):
        await asked.client.patch(
            RUNTIMES["thin"], "llama", {"spec": {"profileName": "rclone"}}, asked.namespace
        )


@needs_root
async def test_the_client_on_the_node_is_not_what_a_sidecar_reads_through(asked: Fleet) -> None:
    await asked.create(asked.dataset("llama"), asked.runtime("thin", "llama"))
    await asked.phase(DATASETS, "llama", "Bound")
    await asked.create(labelled(asked.reader("llama", "sleep 600"), sidecar="true"))
    pod = await asked.phase(PODS, "reader-llama", "Running")

    assert pod["status"]["initContainerStatuses"][0]["started"]
    assert pod["metadata"]["uid"] != (await client_pod(asked))["metadata"]["uid"]
    await asked.delete(PODS, "reader-llama")
