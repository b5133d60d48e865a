"""A client of yesterday is replaced when nobody uses it or it does not work: for longer than a moment."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from addon_framework.api.core import PODS
from addon_framework.api.meta import Json, Resource
from addon_framework.api.time import now_rfc3339
from addon_framework.kube import Client
from addon_framework.kube.informer import AnyInformer
from addons.cache_runtime.agent.backends import Binding
from addons.cache_runtime.agent.names import labels
from addons.cache_runtime.agent.references import References
from addons.cache_runtime.agent.renewal import Renewal
from addons.cache_runtime.agent.rights import Rights
from runtimes.interface import Cache
from runtimes.thin import ThinBackend
from tests.unit.cache_runtime.test_leaving import DATASET, KEY, METADATA, Alone, Listed

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RUNNING: Json = {"running": {}}
CRASHED: Json = {"waiting": {"reason": "CrashLoopBackOff"}}


class Server:
    """Takes deletions."""

    def __init__(self) -> None:
        self.deleted: list[str] = []

    async def remove(self, resource: Resource, obj: Json) -> bool:
        self.deleted.append(obj["metadata"]["name"])
        return True


class Allowed:
    """Rights that are there."""

    async def using(self, role: str, binding: Binding, call: Callable[[], Awaitable[None]]) -> None:
        await call()


def client(state: Json, *, ready: bool, since: float) -> Json:
    """Of yesterday: it says nothing of what it was made from."""
    of = {"name": "thin-fuse", "state": state, "ready": ready}
    condition = {
        "type": "Ready",
        "status": "False",
        "lastTransitionTime": now_rfc3339(NOW - timedelta(seconds=since)),
    }
    return {
        "metadata": {"namespace": "demo", "name": "client", "uid": "c", "labels": labels(KEY, "client")},
        "spec": {"nodeName": "n", "containers": [{"name": "thin-fuse"}, {"name": "remount"}]},
        "status": {"containerStatuses": [{"name": "remount", "ready": True}, of], "conditions": [condition]},
    }


def user() -> Json:
    claim = {"name": "v", "persistentVolumeClaim": {"claimName": "m"}}
    pod = {"metadata": {"namespace": "demo", "name": "p"}, "spec": {"nodeName": "n", "volumes": [claim]}}
    return cast(Json, pod)


async def renewed(*pods: Json) -> tuple[bool, float | None]:
    """Whether the client is replaced, and when it is looked at again."""
    runtime: Json = {"kind": "ThinRuntime", "metadata": METADATA, "spec": {"profileName": "s3fs"}}
    binding = Binding(DATASET, runtime, ThinBackend(), Cache.of(DATASET, runtime, image="us"))
    server = Server()

    def cache(resource: Resource) -> AnyInformer:
        return cast(AnyInformer, Listed(*pods) if resource == PODS else Listed())

    rights, alone = cast(Rights, Allowed()), cast(References, Alone())
    renewal = Renewal(cast(Client, server), cache, alone, rights, clock=lambda: NOW)
    again = (await renewal.step(binding, KEY)).again
    return bool(server.deleted), again


@pytest.mark.parametrize(
    ("state", "ready", "since", "replaced", "again"),
    [
        pytest.param(RUNNING, True, 600, False, None, id="another container of its pod is down"),
        pytest.param(RUNNING, False, 10, False, 20.0, id="has not answered for a moment"),
        pytest.param(RUNNING, False, 30, True, None, id="has not answered for a while"),
        pytest.param(CRASHED, False, 1, True, None, id="has ended"),
    ],
)
async def test_one_that_is_used_is_replaced_only_if_it_does_not_work(
    state: Json, ready: bool, since: float, replaced: bool, again: float | None
) -> None:
    assert await renewed(client(state, ready=ready, since=since), user()) == (replaced, again)


async def test_one_that_nobody_uses_is_replaced() -> None:
    assert await renewed(client(RUNNING, ready=True, since=600)) == (True, None)
