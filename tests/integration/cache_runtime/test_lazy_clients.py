"""FUSE clients that run where pods use their Dataset, and go as `cleanPolicy` says."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
from typing import Any

import pytest

from addon_framework.api.core import EVENTS, NODES, PERSISTENTVOLUMES, PODS
from addon_framework.api.meta import Json
from addon_framework.testing import eventually
from tests.integration.cache_runtime.clients import processes_with
from tests.integration.cache_runtime.fleet import DATALOADS, DATASETS, RUNTIMES, Fleet
from tests.integration.node.cluster import NodeProcess

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="FUSE needs root")
LOOK = "md5sum < /models/config.json || echo nothing; sleep 600"


async def clients(fleet: Fleet) -> dict[str, str]:
    """Names of the clients' pods that are not on their way out, by node."""
    selector = f"data.boundaryless.io/role=client,data.boundaryless.io/dataset-namespace={fleet.namespace}"
    pods = (await fleet.client.list(PODS, fleet.namespace, label_selector=selector))["items"]
    alive = [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]
    return {pod["spec"].get("nodeName", ""): pod["metadata"]["name"] for pod in alive}


async def run_on(fleet: Fleet, nodes: set[str]) -> None:
    """Waits until clients run on just these nodes."""

    async def there() -> bool:
        return (await clients(fleet)).keys() == nodes

    await eventually(there)


def user(fleet: Fleet, name: str, node: str, script: str = LOOK, **spec: Any) -> Json:
    """A pod that looks at the data as soon as it runs."""
    pod = fleet.reader("data", script)
    pod["metadata"]["name"] = f"reader-{name}"
    pod["spec"] |= {"nodeSelector": {"kubernetes.io/hostname": node}, **spec}
    return pod


async def saw(fleet: Fleet, name: str, line: str) -> None:
    """Waits until a pod runs; the first thing that it saw."""
    await fleet.phase(PODS, f"reader-{name}", "Running")

    async def said() -> str:
        return str(await fleet.client.text(PODS.path(fleet.namespace, f"reader-{name}", "log")))

    await eventually(said)
    assert (await said()).split()[0] == line


async def bound(fleet: Fleet, policy: str) -> None:
    await fleet.secret()
    await fleet.create(
        fleet.dataset("data"), fleet.runtime("thin", "data", fuse={"cleanPolicy": policy}, replicas=1)
    )
    await fleet.phase(DATASETS, "data", "Bound")


async def ends(fleet: Fleet, *names: str) -> None:
    for name in names:
        await fleet.delete(PODS, f"reader-{name}")
        await fleet.gone(PODS, f"reader-{name}")


async def test_on_demand_a_client_runs_while_pods_on_its_node_use_the_data(
    more_nodes: list[NodeProcess], fleet: Fleet, node: NodeProcess, model: dict[str, bytes]
) -> None:
    right = hashlib.md5(model["config.json"]).hexdigest()
    first, second = node.name, more_nodes[0].name
    await bound(fleet, "OnDemand")
    assert await clients(fleet) == {}
    volume = await fleet.client.get(PERSISTENTVOLUMES, f"{fleet.namespace}-data")
    assert "nodeAffinity" not in volume["spec"]  # a client could run on any node

    await fleet.create(user(fleet, "one", first))
    await saw(fleet, "one", right)
    before = await clients(fleet)
    assert before.keys() == {first}
    await fleet.create(user(fleet, "two", first), user(fleet, "three", second))
    await saw(fleet, "two", right)
    await saw(fleet, "three", right)
    after = await clients(fleet)
    assert after.keys() == {first, second}
    assert after[first] == before[first]

    await ends(fleet, "three", "one")
    await run_on(fleet, {first})
    label = f"fluid.io/f-{fleet.namespace}-data"
    assert (await fleet.client.get(NODES, second))["metadata"]["labels"][label] == "idle"
    await ends(fleet, "two")
    await run_on(fleet, set())
    await fleet.phase(DATASETS, "data", "Bound")
    await fleet.create(user(fleet, "four", second))
    await saw(fleet, "four", right)
    await run_on(fleet, {second})

    await ends(fleet, "four")
    await fleet.delete(DATASETS, "data")
    await fleet.gone(DATASETS, "data")
    for each in (node, *more_nodes):
        assert not (each.host / f"var/lib/boundaryless/mounts/{fleet.namespace}").exists()
        labels = (await fleet.client.get(NODES, each.name))["metadata"]["labels"]
        assert f"{fleet.namespace}-data" not in str(labels)


async def test_until_the_runtime_is_deleted_a_client_stays(
    fleet: Fleet, node: NodeProcess, model: dict[str, bytes]
) -> None:
    await bound(fleet, "OnRuntimeDeleted")
    assert await clients(fleet) == {}
    await fleet.create(user(fleet, "one", node.name))
    await saw(fleet, "one", hashlib.md5(model["config.json"]).hexdigest())
    before = await clients(fleet)
    await ends(fleet, "one")
    await fleet.create(user(fleet, "two", node.name))
    await saw(fleet, "two", hashlib.md5(model["config.json"]).hexdigest())
    assert await clients(fleet) == before
    await ends(fleet, "two")
    await fleet.delete(RUNTIMES["thin"], "data")
    await fleet.phase(DATASETS, "data", "NotBound")
    assert await clients(fleet) == {}


async def test_on_fuse_changed_a_client_goes_once_it_is_of_yesterday(
    fleet: Fleet, node: NodeProcess, model: dict[str, bytes]
) -> None:
    right = hashlib.md5(model["config.json"]).hexdigest()
    await bound(fleet, "OnFuseChanged")
    await fleet.create(user(fleet, "one", node.name))
    await saw(fleet, "one", right)
    await ends(fleet, "one")
    await fleet.create(user(fleet, "two", node.name))
    await saw(fleet, "two", right)
    before = await clients(fleet)
    assert before
    changed = {"spec": {"fuse": {"options": {"max_stat_cache_size": "1000"}}}}
    await fleet.client.patch(RUNTIMES["thin"], "data", changed, fleet.namespace)
    await fleet.create(user(fleet, "three", node.name))
    await saw(fleet, "three", right)
    assert await clients(fleet) == before
    await ends(fleet, "two", "three")
    await run_on(fleet, set())
    await fleet.create(user(fleet, "four", node.name))
    await saw(fleet, "four", right)


async def test_a_pod_waits_for_a_client_that_cannot_mount(fleet: Fleet, node: NodeProcess) -> None:
    """s3fs ends when there is no such bucket; once there is, the pod starts, and sees what is in it."""
    await fleet.secret()
    bucket = f"late-{fleet.namespace}"
    dataset = fleet.dataset("data", source=f"s3://{bucket}")
    await fleet.create(dataset, fleet.runtime("thin", "data", fuse={"cleanPolicy": "OnDemand"}))
    await fleet.phase(DATASETS, "data", "Bound")
    # The client may mount when there is the bucket and not yet what is in it.
    look = "until cat /models/late 2>/dev/null; do sleep 0.1; done; sleep 600"
    await fleet.create(user(fleet, "one", node.name, look))

    async def refused() -> bool:
        events = (await fleet.client.list(EVENTS, fleet.namespace))["items"]
        said = [e["message"] for e in events if e["reason"] == "FailedMount"]
        return any("hostPath type check failed" in message for message in said)

    await eventually(refused)
    await fleet.until(DATASETS, "data", lambda d: "is not ready" in str(d["status"]["conditions"]))
    assert (await fleet.client.get(PODS, "reader-one", fleet.namespace))["status"]["phase"] == "Pending"
    fleet.store.client().create_bucket(Bucket=bucket)
    fleet.store.client().put_object(Bucket=bucket, Key="late", Body=b"here\n")
    await saw(fleet, "one", "here")


async def test_whatever_happens_to_the_client_no_pod_sees_an_empty_directory(
    fleet: Fleet, node: NodeProcess, model: dict[str, bytes]
) -> None:
    """Containers start again and again while clients are killed, deleted and sent away."""
    await bound(fleet, "OnDemand")
    all_of_it = f"saw {len({path.split('/')[0] for path in model})}"
    look = 'found=$(ls /models) && echo "saw $(echo "$found" | wc -l)" || echo "saw an error"; sleep 0.1'
    looks: list[str] = []
    for turn in range(6):
        name = f"turn-{turn}"
        await fleet.create(user(fleet, name, node.name, f"for n in 1 2 3; do {look}; done"))
        for pid in processes_with("s3fs", f"/var/lib/boundaryless/mounts/{fleet.namespace}/data"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        said = (await fleet.output(f"reader-{name}")).splitlines()
        looks += [line for line in said if line.startswith("saw ")]
        await fleet.delete(PODS, f"reader-{name}")
    assert all_of_it in looks
    assert set(looks) <= {all_of_it, "saw an error"}


async def test_a_load_brings_clients_where_nobody_uses_the_data_yet(fleet: Fleet, node: NodeProcess) -> None:
    """A file system of JuiceFS, whose cache a warm-up fills through the client."""
    await fleet.secret(metaurl="sqlite3:///shared/meta.db")
    mount = {
        "mountPoint": "juicefs:///",
        "name": "files",
        "options": {"storage": "file", "bucket": "/shared/blocks/"},
        "encryptOptions": [
            {"name": "metaurl", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "metaurl"}}}
        ],
    }
    dataset = fleet.object(DATASETS, "data", {"mounts": [mount], "accessModes": ["ReadWriteMany"]})
    shared = f"/shared-{fleet.namespace}"
    runtime = fleet.runtime(
        "juicefs",
        "data",
        fuse={"cleanPolicy": "OnDemand", "volumeMounts": [{"name": "shared", "mountPath": "/shared"}]},
        volumes=[{"name": "shared", "hostPath": {"path": shared, "type": "DirectoryOrCreate"}}],
    )
    await fleet.create(dataset, runtime)
    await fleet.phase(DATASETS, "data", "Bound")
    assert await clients(fleet) == {}
    writer = user(fleet, "one", node.name, "echo weights > /models/file; cat /models/file; sleep 600")
    for each in (writer["spec"]["containers"][0]["volumeMounts"][0], writer["spec"]["volumes"][0]):
        (each.get("persistentVolumeClaim") or each).pop("readOnly")
    await fleet.create(writer)
    await saw(fleet, "one", "weights")
    await ends(fleet, "one")
    await run_on(fleet, set())

    await fleet.create(fleet.load("data"))
    await run_on(fleet, {node.name})
    await fleet.phase(DATALOADS, "data", "Complete")
    await run_on(fleet, set())
    await fleet.create(user(fleet, "two", node.name, "cat /models/file; sleep 600"))
    await saw(fleet, "two", "weights")
