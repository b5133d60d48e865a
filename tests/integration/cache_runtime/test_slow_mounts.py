"""FUSE caches that really are throttled: found slower than their source, told, and read past."""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Callable, Iterator

import pytest

from addon_framework.api.conditions import get_condition
from addon_framework.api.core import EVENTS, PODS, STATEFULSETS
from addon_framework.api.meta import Json
from addon_framework.testing import eventually
from addon_framework.testing.servers import free_port
from addons.cache_runtime.admission.names import CONFIGURATION, MUTATING
from addons.cache_runtime.admission.server import Address
from addons.inference_deployer.agent.status import Parts, endpoint_status
from addons.inference_deployer.controller.payload import payload, secret_name
from addons.inference_deployer.engines.vllm import VLLMEngine
from tests.integration.cache_runtime.clients import client_pod
from tests.integration.cache_runtime.faultyproxy import Fault, FaultyProxy, faulty
from tests.integration.cache_runtime.fleet import DATALOADS, DATASETS, RUNTIMES, Fleet
from tests.integration.cache_runtime.objectstore import ObjectStore

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="FUSE needs root")
MIB = 1 << 20
WEIGHTS = random.Random(3).randbytes(24 * MIB)
SLOWER = "CacheSlowerThanSource"
AUTO = {"data.boundaryless.io/bypass": "auto"}
RCLONE = {"profileName": "rclone", "fuse": {"options": {"bwlimit": "4M"}}}
JUICEFS = {"fuse": {"options": {"download-limit": "32"}}}  # Mbit/s


@pytest.fixture
def webhooks() -> Address:
    return Address("127.0.0.1", "127.0.0.1", port=free_port())


@pytest.fixture
def origin(store: ObjectStore) -> Iterator[FaultyProxy]:
    """A store across a network: 10 MiB a second for each connection."""
    with faulty(store.endpoint) as proxy:
        proxy.rule = lambda asked: Fault(rate=10 * MIB)
        yield proxy


async def slow(fleet: Fleet, origin: FaultyProxy, kind: str, spec: Json, **annotations: str) -> None:
    """A Dataset with a cache of that kind."""
    await fleet.until(MUTATING, CONFIGURATION, lambda configuration: True)
    fleet.store.client().put_object(Bucket="models", Key="slow/weights", Body=WEIGHTS)
    await fleet.secret()
    dataset = fleet.dataset("llama", source="s3://models/slow")
    dataset["spec"]["mounts"][0]["options"] = {"endpoint": origin.endpoint}
    dataset["metadata"]["annotations"] = annotations
    await fleet.create(dataset, fleet.runtime(kind, "llama", **spec))
    if kind == "juicefs":
        await fleet.create(fleet.load("llama"))


def says(kind: str, status: str, reason: str = "") -> Callable[[Json], bool]:
    def check(dataset: Json) -> bool:
        found = get_condition(dataset, kind) or {}
        return found.get("status") == status and reason in found.get("reason", "")

    return check


async def read(fleet: Fleet, *, labelled: bool = True) -> str:
    """The claim that a pod gets that starts now, after it has read the right bytes."""
    pod = fleet.reader("llama", "md5sum < /models/weights")
    if labelled:
        pod["metadata"]["labels"] = {"fuse.serverful.fluid.io/inject": "true"}
    await fleet.create(pod)
    assert (await fleet.output("reader-llama")).split()[0] == hashlib.md5(WEIGHTS).hexdigest()
    made = await fleet.client.get(PODS, "reader-llama", fleet.namespace)
    await fleet.delete(PODS, "reader-llama")
    await fleet.gone(PODS, "reader-llama")
    return str(made["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"])


async def events(fleet: Fleet) -> list[str]:
    return [
        e["message"]
        for e in (await fleet.client.list(EVENTS, fleet.namespace))["items"]
        if e["reason"] == SLOWER and e["involvedObject"]["name"] == "llama"
    ]


async def test_a_throttled_mount_is_told_and_pods_go_on_with_it_unless_the_dataset_says_so(
    fleet: Fleet, origin: FaultyProxy
) -> None:
    await slow(fleet, origin, "thin", RCLONE)

    dataset = await fleet.until(DATASETS, "llama", says(SLOWER, "True"))

    numbers = dataset["status"]["numbers"]
    assert numbers["cacheBytesPerSecond"] < 8 * MIB < numbers["sourceBytesPerSecond"]
    # The source is measured once, by ranges of its own; what the client reads ahead is its affair.
    assert [asked.range for asked in origin.asked].count(f"bytes=0-{4 * MIB - 1}") == 1
    assert origin.sent < 4 * len(WEIGHTS)
    await eventually(lambda: events(fleet))
    (told,) = await events(fleet)
    assert "the cache reads" in told
    assert "the source" in told
    assert await read(fleet) == "llama"
    assert (await fleet.client.list(DATASETS, fleet.namespace))["items"][0]["metadata"]["name"] == "llama"


async def test_a_dataset_that_asks_for_it_has_a_copy_until_its_cache_is_fast_again(
    fleet: Fleet, origin: FaultyProxy
) -> None:
    await slow(fleet, origin, "juicefs", JUICEFS, **AUTO)

    await fleet.until(DATASETS, "llama", says("Bypassed", "True"))

    assert len(await events(fleet)) == 1
    assert await read(fleet) == "llama-bypass"
    assert await read(fleet, labelled=False) == "llama"
    runtime = await fleet.client.get(RUNTIMES["juicefs"], "llama", fleet.namespace)
    runtime["spec"]["fuse"] = {}
    await fleet.client.update(RUNTIMES["juicefs"], runtime)
    await fleet.until(STATEFULSETS, "llama-fuse", lambda s: "download-limit" not in json.dumps(s["spec"]))
    await fleet.delete(PODS, (await client_pod(fleet))["metadata"]["name"])

    await fleet.until(DATASETS, "llama", says(SLOWER, "False"))
    await fleet.until(DATASETS, "llama", says("Bypassed", "False", "NotNeeded"))
    assert await read(fleet) == "llama"
    for resource in (DATALOADS, DATASETS, RUNTIMES["local"]):
        await fleet.gone(resource, "llama-bypass")


async def test_the_next_replica_of_a_model_reads_the_copy(fleet: Fleet, origin: FaultyProxy) -> None:
    """What the deployer sends, but for the engine: a program that reads the model stands in for it."""
    await fleet.until(MUTATING, CONFIGURATION, lambda configuration: True)
    fleet.store.client().put_object(Bucket="models", Key="slow/weights", Body=WEIGHTS)
    options = {"endpoint": origin.endpoint}
    deployment: Json = {"metadata": {"name": "chat", "namespace": fleet.namespace}}
    deployment["spec"] = {
        "model": {"source": "s3://models/slow", "options": options, "credentialsRef": {"name": "keys"}},
        "cache": {"runtime": "rclone", "bypass": "auto", "options": {"bwlimit": "4M"}},
    }
    await fleet.hub_secret(secret_name(fleet.namespace, "chat"))
    made = {obj["kind"]: obj for obj in payload(deployment, VLLMEngine())}
    await fleet.create(made["Dataset"], made["ThinRuntime"])

    dataset = await fleet.until(DATASETS, "chat", says("Bypassed", "True"))

    template = made["Deployment"]["spec"]["template"]
    (volume,) = [v for v in template["spec"]["volumes"] if v["name"] == "model"]
    pod = fleet.reader("chat", "md5sum < /models/weights")
    pod["metadata"]["labels"], pod["spec"]["volumes"] = template["metadata"]["labels"], [volume]
    await fleet.create(pod)
    assert (await fleet.output("reader-chat")).split()[0] == hashlib.md5(WEIGHTS).hexdigest()
    replica = await fleet.client.get(PODS, "reader-chat", fleet.namespace)
    assert replica["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"] == "chat-bypass"
    advice = endpoint_status(made["InferenceEndpoint"], Parts(dataset=dataset))["cacheAdvice"]
    assert "the cache reads" in advice
    assert f"Dataset {fleet.namespace}/chat-bypass" in advice

    await fleet.delete(DATASETS, "chat")

    for resource, name in ((DATASETS, "chat"), (DATASETS, "chat-bypass"), (RUNTIMES["local"], "chat-bypass")):
        await fleet.gone(resource, name)
