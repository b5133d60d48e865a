"""Changes of a bound Dataset with a FUSE client: applied where nobody uses it, else told with who does."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable

import pytest

from addon_framework.api.conditions import get_condition, is_true
from addon_framework.api.core import EVENTS, PODS
from addon_framework.api.meta import Json
from addon_framework.testing import eventually
from tests.integration.cache_runtime.fleet import DATALOADS, DATASETS, RUNTIMES, Fleet

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="FUSE needs root")
Change = Callable[[Fleet], Awaitable[object]]


async def mounts(fleet: Fleet) -> object:
    spec = fleet.dataset("data", source="s3://models/other")["spec"]
    return await fleet.client.patch(DATASETS, "data", {"spec": {"mounts": spec["mounts"]}}, fleet.namespace)


async def credentials(fleet: Fleet) -> object:
    return await fleet.secret(rotated="yes")


def runtime(kind: str, **spec: Json) -> Change:
    async def change(fleet: Fleet) -> object:
        return await fleet.client.patch(RUNTIMES[kind], "data", {"spec": spec}, fleet.namespace)

    return change


ENVIRONMENT: Json = {"env": [{"name": "CHANGED", "value": "1"}]}
RESOURCES: Json = {"resources": {"requests": {"cpu": "1m"}}}
TIER: Json = {"levels": [{"mediumtype": "SSD", "path": "/var/lib/boundaryless/cache", "quota": "2Gi"}]}


@pytest.mark.parametrize(
    ("kind", "profile", "change", "field"),
    [
        ("thin", "s3fs", mounts, "Dataset.spec.mounts"),
        ("thin", "s3fs", credentials, "the values of its Secrets"),
        ("thin", "s3fs", runtime("thin", fuse=ENVIRONMENT), "ThinRuntime.spec.fuse"),
        ("thin", "rclone", mounts, "Dataset.spec.mounts"),
        ("thin", "rclone", runtime("thin", fuse=RESOURCES), "ThinRuntime.spec.fuse"),
        ("juicefs", "", runtime("juicefs", tieredstore=TIER), "JuiceFSRuntime.spec.tieredstore"),
        ("juicefs", "", runtime("juicefs", fuse=ENVIRONMENT), "JuiceFSRuntime.spec.fuse"),
    ],
)
async def test_a_change_waits_for_pods_that_use_the_client_and_for_nobody_else(
    fleet: Fleet, model: dict[str, bytes], kind: str, profile: str, change: Change, field: str
) -> None:
    fleet.store.client().put_object(Bucket="models", Key="other/only-here", Body=b"new")
    await fleet.secret()
    more = {"profileName": profile} if profile else {}
    await fleet.create(fleet.dataset("data"), fleet.runtime(kind, "data", **more))
    await fleet.phase(DATASETS, "data", "Bound")
    await fleet.create(fleet.reader("data", "sleep 600"))
    await fleet.phase(PODS, "reader-data", "Running")
    (before,) = await clients(fleet)

    await change(fleet)
    told = await fleet.until(DATASETS, "data", lambda d: is_true(d, "ChangesPending"))
    said = get_condition(told, "ChangesPending")
    assert said is not None
    assert said["message"].startswith(f"{field} changed; it takes effect when these clients restart")
    assert f"on node cache-node {before['metadata']['name']}, which pods reader-data use" in said["message"]
    assert told["status"]["phase"] == "Bound"
    assert told["status"]["mounts"][0]["mountPoint"] == "s3://models/llama", (
        "what is mounted, not what will be"
    )
    assert [each["metadata"]["uid"] for each in await clients(fleet)] == [before["metadata"]["uid"]]

    async def event() -> bool:
        events = (await fleet.client.list(EVENTS, fleet.namespace))["items"]
        return ("ChangesPending", said["message"]) in {(each["reason"], each["message"]) for each in events}

    await eventually(event)
    await fleet.delete(PODS, "reader-data")

    async def replaced() -> bool:
        now = await clients(fleet)
        return [each["metadata"]["uid"] for each in now] not in ([], [before["metadata"]["uid"]])

    await eventually(replaced)
    applied = await fleet.until(DATASETS, "data", lambda d: not is_true(d, "ChangesPending"))
    assert get_condition(applied, "ChangesPending")["reason"] == "ChangesApplied"  # type: ignore[index]
    if change is mounts:
        await fleet.until(DATASETS, "data", lambda d: "other" in str(d["status"].get("mounts")))
        await fleet.create(fleet.reader("data", "cat /models/only-here"))
        assert (await fleet.output("reader-data")).strip() == "new"


async def test_a_copy_has_nothing_of_the_source_that_was_before(fleet: Fleet) -> None:
    """Nor of the bucket as it was. JuiceFS tells files by name, size and time, and here only bytes differ."""
    store = fleet.store.client()
    for path, content in (("new/same", b"new"), ("old/same", b"old"), ("old/gone", b"old")):  # older first
        store.put_object(Bucket="models", Key=f"source/{path}", Body=content)
    await fleet.secret()
    await fleet.create(
        fleet.dataset("data", source="s3://models/source/old"),
        fleet.runtime("juicefs", "data"),
        fleet.load("data"),
    )
    await fleet.phase(DATALOADS, "data", "Complete")
    changed = fleet.dataset("data", source="s3://models/source/new")["spec"]["mounts"]

    async def reads(script: str, expected: str) -> None:
        async def right() -> bool:
            await fleet.create(fleet.reader("data", f"({script}) || true"))
            said = await fleet.output("reader-data")
            await fleet.delete(PODS, "reader-data")
            await fleet.gone(PODS, "reader-data")
            return said.split() == expected.split()

        await eventually(right)

    await reads("cd /models; ls; cat same", "gone same old")
    await fleet.client.patch(DATASETS, "data", {"spec": {"mounts": changed}}, fleet.namespace)
    await reads("cd /models; ls; cat same", "same new")
    store.put_object(Bucket="models", Key="source/new/same", Body=b"now")
    await fleet.create(fleet.load("again", dataset="data"))
    await fleet.phase(DATALOADS, "again", "Complete")
    await reads("cd /models; ls; cat same", "same now")


async def clients(fleet: Fleet) -> list[Json]:
    """That are not on their way out."""
    selector = f"data.boundaryless.io/role=client,data.boundaryless.io/dataset-namespace={fleet.namespace}"
    pods = (await fleet.client.list(PODS, fleet.namespace, label_selector=selector))["items"]
    return [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]
