"""What labels of nodes decided is decided again when they change; a node is cleaned a while after it left."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from addon_framework.api.core import NODES, PODS, STATEFULSETS
from addon_framework.api.meta import Json, Resource
from addon_framework.kube import Client, Key, key_of
from addon_framework.kube.informer import AnyInformer
from addons.cache_runtime.agent.backends import Binding
from addons.cache_runtime.agent.cleaning import Cleaner
from addons.cache_runtime.agent.clients import Clients
from addons.cache_runtime.agent.leaving import Leaving
from addons.cache_runtime.agent.names import LEAVING, cache_node_label, labels
from addons.cache_runtime.agent.nodes import NodeLabels, relabelled
from addons.cache_runtime.agent.references import References
from runtimes.interface import Backend, Cache
from runtimes.juicefs import JuiceFSBackend
from runtimes.local import LocalBackend
from runtimes.thin import ThinBackend

LABEL = "fluid.io/f-demo-m"
METADATA = {"namespace": "demo", "name": "m", "uid": "u"}
DATASET: Json = {"metadata": METADATA, "spec": {"mounts": [{"mountPoint": "s3://b", "name": "x"}]}}
KEY = Key("demo", "m")


class Listed(list[Json]):
    """What an informer has, which is what it was given."""

    def __init__(self, *objects: Json) -> None:
        super().__init__(objects)
        self._index: Callable[[Json], list[str]] = lambda obj: []

    def add_index(self, name: str, values: Callable[[Json], list[str]]) -> None:
        self._index = values

    def by_index(self, name: str, value: str) -> list[Json]:
        return [obj for obj in self if value in self._index(obj)]

    def keys_by_index(self, name: str, value: str) -> list[Key]:
        return [key_of(obj) for obj in self.by_index(name, value)]

    def in_namespace(self, namespace: str) -> list[Json]:
        return [obj for obj in self if obj["metadata"]["namespace"] == namespace]


class Server:
    """Takes patches; nothing comes back by a watch."""

    def __init__(self) -> None:
        self.written: list[Any] = []

    async def patch(self, resource: Resource, name: str, body: Json) -> None:
        self.written.append(body["metadata"]["labels"])


class Broom:
    """A cleaner whose job ends when it is told to."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.done = False

    async def clean(self, binding: Binding, node: str, why: str) -> bool:
        self.asked.append(node)
        return self.done

    def succeeded(self, binding: Binding, node: str, why: str) -> bool:
        return self.done

    async def forget(self, binding: Binding, node: str, why: str) -> None:
        pass


class Alone:
    """Nobody refers to the Dataset."""

    def to(self, key: Key) -> list[Key]:
        return []


def binding(**spec: Any) -> Binding:
    runtime: Json = {"kind": "ThinRuntime", "metadata": METADATA, "spec": {"profileName": "s3fs", **spec}}
    return Binding(DATASET, runtime, ThinBackend(), Cache.of(DATASET, runtime, image="us"))


async def test_what_a_stale_label_decided_is_decided_again() -> None:
    lazy = binding(fuse={"cleanPolicy": "OnDemand"})
    there_is: Json = {"metadata": {"name": "n", "labels": {LABEL: "true"}}}
    pods, server = Listed(), Server()
    there = {NODES: Listed(there_is), PODS: pods}

    def cache(resource: Resource) -> AnyInformer:
        return cast(AnyInformer, there.get(resource, Listed()))

    writer = NodeLabels(cast(Client, server), cache)
    clients = Clients(cache, cast(References, Alone()))
    leaving = Leaving(cache, writer, cast(Any, None), lambda key, name: [], clients)

    assert (await leaving.step(lazy, KEY))[0] is None
    assert server.written[-1][LABEL] == "idle"
    claim = {"name": "v", "persistentVolumeClaim": {"claimName": "m"}}
    pods.append(
        {"metadata": {"namespace": "demo", "name": "p"}, "spec": {"nodeName": "n", "volumes": [claim]}}
    )
    await leaving.step(lazy, KEY)
    assert len(server.written) == 1, "by the old label all is well"

    before = {"metadata": {"name": "n", "labels": {LABEL: "true"}}}
    there_is["metadata"]["labels"][LABEL] = "idle"
    assert relabelled(cast(AnyInformer, Listed(DATASET)), before, there_is) == {KEY}
    await leaving.step(lazy, KEY)
    assert server.written[-1][LABEL] == "true"


def test_of_the_labels_of_nodes_only_its_own_concern_a_dataset() -> None:
    datasets = cast(AnyInformer, Listed(DATASET))
    label = cache_node_label(KEY, "u")

    def of(**labels: str) -> Json:
        return {"metadata": {"name": "n", "labels": labels}}

    assert relabelled(datasets, of(), of(**{label: "true"})) == {KEY}
    assert relabelled(datasets, of(**{label: "true"}), of(**{label: LEAVING})) == {KEY}
    assert relabelled(datasets, of(**{label: LEAVING}), of()) == {KEY}
    assert relabelled(datasets, of(**{LABEL: "idle"}), None) == {KEY}
    assert relabelled(datasets, None, of(**{LABEL: "true"})) == {KEY}
    assert not relabelled(datasets, of(**{LABEL: "true"}), of(**{LABEL: "true", "zone": "a"}))
    assert not relabelled(datasets, of(), of(**{"fluid.io/s-demo-other": "true"}))


@pytest.mark.parametrize(
    ("backend", "source", "role"),
    [(LocalBackend(), "s3://b", "worker"), (JuiceFSBackend(), "s3://b", "client")],
)
async def test_a_node_is_cleaned_a_while_after_its_label_says_that_its_cache_goes(
    backend: Backend, source: str, role: str
) -> None:
    """Who schedules may not have seen the label yet. JuiceFS's copies are its clients'."""
    dataset: Json = {"metadata": METADATA, "spec": {"mounts": [{"mountPoint": source, "name": "x"}]}}
    runtime: Json = {"kind": backend.resource.kind, "metadata": METADATA, "spec": {"replicas": 1}}
    here = Binding(dataset, runtime, backend, Cache.of(dataset, runtime, image="us"))
    label, now = cache_node_label(KEY, "u"), 100.0
    before = {label: "true"} | ({LABEL: "true"} if role == "client" else {})
    there_is: Json = {"metadata": {"name": "n", "labels": before}}
    ready = {"replicas": 1, "readyReplicas": 1, "observedGeneration": 1}
    own = labels(KEY, role)
    workload: Json = {"metadata": {"labels": own, "generation": 1}, "spec": {"replicas": 1}, "status": ready}
    elsewhere: Json = {"metadata": {"labels": own, "name": "w"}, "spec": {"nodeName": "other"}}
    there = {NODES: Listed(there_is), STATEFULSETS: Listed(workload), PODS: Listed(elsewhere)}

    def cache(resource: Resource) -> AnyInformer:
        return cast(AnyInformer, there.get(resource, Listed()))

    server, cleaner = Server(), Broom()
    leaving = Leaving(
        cache,
        NodeLabels(cast(Client, server), cache),
        cast(Cleaner, cleaner),
        lambda key, name: [],
        Clients(cache, cast(References, Alone())),
        clock=lambda: now,
    )
    assert await leaving.step(here, KEY) == (None, "")
    assert server.written[-1][label] == LEAVING
    assert server.written[-1].get(LABEL) is None, "no pod is sent where no client will be"
    there_is["metadata"]["labels"] = {label: LEAVING}
    assert await leaving.step(here, KEY) == (2.0, "")
    now += 1.5
    assert await leaving.step(here, KEY) == (0.5, "")
    assert not cleaner.asked
    now += 0.5
    await leaving.step(here, KEY)
    assert cleaner.asked == ["n"]
    assert len(server.written) == 1
    cleaner.done = True
    await leaving.step(here, KEY)
    assert server.written[-1][label] is None


async def test_clients_that_have_the_cache_mark_their_nodes_as_workers_do() -> None:
    dataset: Json = {"metadata": METADATA, "spec": {"mounts": [{"mountPoint": "s3://b", "name": "x"}]}}
    runtime: Json = {"kind": "JuiceFSRuntime", "metadata": METADATA, "spec": {"replicas": 1}}
    here = Binding(dataset, runtime, JuiceFSBackend(), Cache.of(dataset, runtime, image="us"))
    pod: Json = {"metadata": {"labels": labels(KEY, "client"), "name": "c"}, "spec": {"nodeName": "n"}}
    there = {NODES: Listed({"metadata": {"name": "n", "labels": {}}}), PODS: Listed(pod)}

    def cache(resource: Resource) -> AnyInformer:
        return cast(AnyInformer, there.get(resource, Listed()))

    server, clients = Server(), Clients(cache, cast(References, Alone()))
    writer = NodeLabels(cast(Client, server), cache)
    await Leaving(cache, writer, cast(Any, None), lambda key, name: [], clients).step(here, KEY)
    (written,) = server.written
    assert written[cache_node_label(KEY, "u")] == written["fluid.io/s-juicefs-demo-m"] == "true"
    assert written[LABEL] == "true"
    assert "fluid_exclusive" not in written
