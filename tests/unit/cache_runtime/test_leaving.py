"""Labels of nodes are looked at once more after they were written, since no watch tells of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from addon_framework.api.core import NODES, PODS
from addon_framework.api.meta import Json, Resource
from addon_framework.kube import Client, Key
from addon_framework.kube.informer import AnyInformer
from addons.cache_runtime.agent.backends import Binding
from addons.cache_runtime.agent.clients import Clients
from addons.cache_runtime.agent.leaving import Leaving
from addons.cache_runtime.agent.nodes import NodeLabels
from addons.cache_runtime.agent.references import References
from runtimes.interface import Cache
from runtimes.thin import ThinBackend

LABEL = "fluid.io/f-demo-m"


class Listed(list[Json]):
    """What an informer has, which is what it was given."""

    def __init__(self, *objects: Json) -> None:
        super().__init__(objects)
        self._index: Callable[[Json], list[str]] = lambda obj: []

    def add_index(self, name: str, values: Callable[[Json], list[str]]) -> None:
        self._index = values

    def by_index(self, name: str, value: str) -> list[Json]:
        return [obj for obj in self if value in self._index(obj)]

    def in_namespace(self, namespace: str) -> list[Json]:
        return [obj for obj in self if obj["metadata"]["namespace"] == namespace]


class Server:
    """Takes patches; nothing comes back by a watch."""

    def __init__(self) -> None:
        self.written: list[Any] = []

    async def patch(self, resource: Resource, name: str, body: Json) -> None:
        self.written.append(body["metadata"]["labels"])


class Alone:
    """Nobody refers to the Dataset."""

    def to(self, key: Key) -> list[Key]:
        return []


async def test_what_a_stale_label_decided_is_decided_again() -> None:
    metadata = {"namespace": "demo", "name": "m", "uid": "u"}
    dataset: Json = {"metadata": metadata, "spec": {"mounts": [{"mountPoint": "s3://b", "name": "x"}]}}
    spec = {"profileName": "s3fs", "fuse": {"cleanPolicy": "OnDemand"}}
    runtime: Json = {"kind": "ThinRuntime", "metadata": metadata, "spec": spec}
    binding = Binding(dataset, runtime, ThinBackend(), Cache.of(dataset, runtime, image="us"))
    node: Json = {"metadata": {"name": "n", "labels": {LABEL: "true"}}}
    pods, server = Listed(), Server()
    there = {NODES: Listed(node), PODS: pods}

    def cache(resource: Resource) -> AnyInformer:
        return cast(AnyInformer, there.get(resource, Listed()))

    labels = NodeLabels(cast(Client, server), cache)
    clients = Clients(cache, cast(References, Alone()))
    leaving = Leaving(cache, labels, cast(Any, None), lambda key, name: [], clients)

    key = Key("demo", "m")
    again, _ = await leaving.step(binding, key)
    assert server.written[-1][LABEL] == "idle"
    assert again is not None, "the node's informer does not have it yet"

    claim = {"name": "v", "persistentVolumeClaim": {"claimName": "m"}}
    pods.append(
        {"metadata": {"namespace": "demo", "name": "p"}, "spec": {"nodeName": "n", "volumes": [claim]}}
    )
    await leaving.step(binding, key)
    assert len(server.written) == 1, "by the old label all is well"
    node["metadata"]["labels"][LABEL] = "idle"
    again, _ = await leaving.step(binding, key)
    assert server.written[-1][LABEL] == "true"
    node["metadata"]["labels"][LABEL] = "true"
    assert (await leaving.step(binding, key))[0] is None
