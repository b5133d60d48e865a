"""What cannot be removed from a node is told, since nobody else would remove it."""

from __future__ import annotations

from typing import Any, cast

from addon_framework.api.core import EVENTS, JOBS
from addon_framework.api.meta import Json, Resource
from addon_framework.kube import Client, Key
from addon_framework.kube.informer import AnyInformer
from addons.cache_runtime.agent.backends import Binding
from addons.cache_runtime.agent.cleaning import Cleaner
from runtimes.interface import Cache
from runtimes.local import LocalBackend

METADATA = {"namespace": "demo", "name": "m", "uid": "u"}


class Server:
    """Takes what is created; `jobs` are those that an informer has."""

    def __init__(self) -> None:
        self.created: list[tuple[Resource, Json]] = []
        self.jobs: dict[Key, Json] = {}

    async def create(self, resource: Resource, obj: Json) -> None:
        self.created.append((resource, obj))

    def cache(self, resource: Resource) -> AnyInformer:
        return cast(AnyInformer, self.jobs)


async def test_a_node_that_is_not_cleaned_is_told_with_what_is_left_there() -> None:
    dataset: Json = {"metadata": METADATA, "spec": {"mounts": [{"mountPoint": "s3://b", "name": "x"}]}}
    runtime: Json = {"kind": "LocalRuntime", "metadata": METADATA, "spec": {}}
    binding = Binding(dataset, runtime, LocalBackend(), Cache.of(dataset, runtime, image="us"))
    server = Server()
    cleaner = Cleaner(cast(Client, server), server.cache, "addons")

    assert not await cleaner.clean(binding, "n")
    ((resource, job),) = server.created
    assert resource == JOBS
    failed: Any = {"type": "Failed", "status": "True", "reason": "DeadlineExceeded", "message": "too slow"}
    server.jobs[Key("addons", job["metadata"]["name"])] = {**job, "status": {"conditions": [failed]}}

    assert await cleaner.clean(binding, "n"), "a node that is gone for good must not keep the Dataset"
    assert not cleaner.succeeded(binding, "n")
    resource, event = server.created[-1]
    assert (resource, event["reason"], event["type"]) == (EVENTS, "CacheNotRemoved", "Warning")
    assert event["message"] == (
        "node n was not cleaned (DeadlineExceeded too slow); unmount and remove by hand what is left of "
        "/var/lib/boundaryless/cache/demo/m"
    )
