"""What the agent does around a backend: order of arrival, credentials, refusals, faults, deletion."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from addon_framework.api.core import JOBS, PERSISTENTVOLUMECLAIMS, PODS, SECRETS
from addon_framework.kube import NotFound
from addon_framework.testing import eventually
from addons.cache_runtime.agent.names import FORCE_ANNOTATION
from tests.integration.cache_runtime.fleet import DATALOADS, DATASETS, RUNTIMES, Fleet


async def test_a_load_may_come_before_its_dataset_and_the_runtime_last(
    fleet: Fleet, model: dict[str, bytes]
) -> None:
    await fleet.create(fleet.load("llama"))
    waiting = await fleet.phase(DATALOADS, "llama", "Pending")
    assert waiting["status"]["infos"]["message"] == f"waiting for Dataset {fleet.namespace}/llama"
    await fleet.secret()
    await fleet.create(fleet.dataset("llama"))
    unbound = await fleet.phase(DATASETS, "llama", "NotBound")
    assert unbound["status"]["conditions"][0]["reason"] == "RuntimeNotFound"
    await fleet.create(fleet.runtime("local", "llama"))
    await fleet.phase(DATALOADS, "llama", "Complete")
    await fleet.phase(DATASETS, "llama", "Bound")


async def test_credentials_come_from_the_hub(fleet: Fleet, model: dict[str, bytes]) -> None:
    name = f"inference-{fleet.namespace}-credentials"
    dataset = fleet.dataset("llama", secret=name)
    dataset["metadata"]["annotations"] = {"data.boundaryless.io/hub-secret": name}
    await fleet.create(dataset, fleet.runtime("local", "llama"), fleet.load("llama"))
    waiting = await fleet.until(
        DATASETS,
        "llama",
        lambda d: "cannot be read from the hub" in str((d.get("status") or {}).get("conditions")),
    )
    assert waiting["status"]["phase"] == "Pending"
    await fleet.hub_secret(name)
    try:
        await fleet.phase(DATALOADS, "llama", "Complete")
        copy = await fleet.client.get(SECRETS, name, fleet.namespace)
        assert copy["metadata"]["ownerReferences"][0]["kind"] == "Dataset"
        await fleet.delete(DATASETS, "llama")
        await fleet.gone(SECRETS, name)
    finally:
        await fleet.client.delete(SECRETS, name, "cluster1")


async def test_credentials_of_another_namespace_do_not_come(fleet: Fleet) -> None:
    name = f"inference-{fleet.namespace}-credentials"
    await fleet.hub_secret(name, **{"data.boundaryless.io/hub-secret-for": "others"})
    try:
        dataset = fleet.dataset("llama", secret=name)
        dataset["metadata"]["annotations"] = {"data.boundaryless.io/hub-secret": name}
        await fleet.create(dataset, fleet.runtime("local", "llama"))
        text = f"is not for namespace {fleet.namespace}"
        await fleet.until(DATASETS, "llama", lambda d: text in str((d.get("status") or {}).get("conditions")))
        with pytest.raises(NotFound):
            await fleet.client.get(SECRETS, name, fleet.namespace)
    finally:
        await fleet.client.delete(SECRETS, name, "cluster1")


async def test_a_quota_that_is_too_small_is_refused_and_then_raised(
    fleet: Fleet, model: dict[str, bytes]
) -> None:
    await fleet.secret()
    await fleet.create(fleet.dataset("llama"), fleet.runtime("local", "llama", quota="1Mi"))
    await fleet.create(fleet.load("llama"))
    failed = await fleet.phase(DATALOADS, "llama", "Failed")
    assert failed["status"]["conditions"][0]["reason"] == "QuotaExceeded"
    message = failed["status"]["infos"]["message"]
    assert f"LocalRuntime {fleet.namespace}/llama" in message
    assert "spec.tieredstore.levels[0].quota" in message
    levels = fleet.runtime("local", "llama", quota="1Gi")["spec"]["tieredstore"]
    await fleet.client.patch(RUNTIMES["local"], "llama", {"spec": {"tieredstore": levels}}, fleet.namespace)
    complete = await fleet.phase(DATALOADS, "llama", "Complete")
    assert "message" not in complete["status"]["infos"]


async def test_wrong_specs_are_named_by_field(fleet: Fleet) -> None:
    dataset = fleet.dataset("llama", source="nfs://models/llama")
    await fleet.create(dataset, fleet.runtime("local", "llama"), fleet.load("llama", policy="Cron"))
    failed = await fleet.phase(DATASETS, "llama", "Failed")
    assert "spec.mounts[0].mountPoint: 'nfs://models/llama'" in str(failed["status"]["conditions"])
    load = await fleet.phase(DATALOADS, "llama", "Failed")
    assert "spec.schedule: policy Cron needs one" in load["status"]["infos"]["message"]
    assert load["status"]["conditions"][0]["reason"] == "ScheduleNotSpecified"
    await fleet.secret()
    mounts = fleet.dataset("llama")["spec"]["mounts"]
    await fleet.client.patch(DATASETS, "llama", {"spec": {"mounts": mounts}}, fleet.namespace)
    await fleet.phase(DATASETS, "llama", "Bound")


async def test_s3fs_cannot_be_loaded(fleet: Fleet) -> None:
    await fleet.secret()
    await fleet.create(fleet.dataset("llama"), fleet.runtime("thin", "llama"), fleet.load("llama"))
    failed = await fleet.phase(DATALOADS, "llama", "Failed")
    assert failed["status"]["conditions"][0]["reason"] == "DataOperationNotSupport"


async def test_data_in_use_is_not_taken_away(fleet: Fleet, model: dict[str, bytes], host_files: Path) -> None:
    await fleet.secret()
    await fleet.create(fleet.dataset("llama"), fleet.runtime("local", "llama"), fleet.load("llama"))
    await fleet.create(fleet.reader("llama", "sleep 600"))
    await fleet.phase(DATALOADS, "llama", "Complete")
    await fleet.until(PODS, "reader-llama", lambda p: (p.get("status") or {}).get("phase") == "Running")
    await fleet.delete(DATASETS, "llama")
    held = await fleet.until(DATASETS, "llama", lambda d: "in use by pods" in str(d["status"]["conditions"]))
    assert "reader-llama" in str(held["status"]["conditions"])
    assert (host_files / f"var/lib/boundaryless/cache/{fleet.namespace}/llama/data/config.json").exists()
    await fleet.delete(PODS, "reader-llama")
    await fleet.gone(DATASETS, "llama")
    assert not (host_files / f"var/lib/boundaryless/cache/{fleet.namespace}").exists()


async def test_data_in_use_goes_when_it_is_forced(
    fleet: Fleet, model: dict[str, bytes], host_files: Path
) -> None:
    await fleet.secret()
    await fleet.create(fleet.dataset("llama"), fleet.runtime("local", "llama"))
    await fleet.create(fleet.reader("llama", "sleep 600"))
    await fleet.until(PODS, "reader-llama", lambda p: (p.get("status") or {}).get("phase") == "Running")
    await fleet.delete(DATASETS, "llama")
    await fleet.until(DATASETS, "llama", lambda d: FORCE_ANNOTATION in str(d["status"]["conditions"]))
    forced = {"metadata": {"annotations": {FORCE_ANNOTATION: "true"}}}
    await fleet.client.patch(DATASETS, "llama", forced, fleet.namespace)
    await fleet.gone(DATASETS, "llama")
    assert not (host_files / f"var/lib/boundaryless/cache/{fleet.namespace}").exists()


async def test_a_pod_that_has_ended_keeps_no_claim(fleet: Fleet, model: dict[str, bytes]) -> None:
    """Kubernetes would: the next Dataset of that name could have none."""
    await fleet.secret()
    await fleet.create(fleet.dataset("llama"), fleet.runtime("local", "llama"))
    await fleet.create(fleet.reader("llama", "true"))
    await fleet.until(PODS, "reader-llama", lambda p: (p.get("status") or {}).get("phase") == "Succeeded")
    await fleet.delete(DATASETS, "llama")
    await fleet.gone(DATASETS, "llama")
    with pytest.raises(NotFound):
        await fleet.client.get(PERSISTENTVOLUMECLAIMS, "llama", fleet.namespace)
    await fleet.delete(RUNTIMES["local"], "llama")
    await fleet.gone(RUNTIMES["local"], "llama")
    await fleet.create(fleet.dataset("llama"), fleet.runtime("local", "llama"))
    await fleet.phase(DATASETS, "llama", "Bound")


async def test_without_its_runtime_a_dataset_is_unbound(fleet: Fleet, model: dict[str, bytes]) -> None:
    await fleet.secret()
    await fleet.create(fleet.dataset("llama"), fleet.runtime("local", "llama"))
    await fleet.phase(DATASETS, "llama", "Bound")
    await fleet.delete(RUNTIMES["local"], "llama")
    unbound = await fleet.phase(DATASETS, "llama", "NotBound")
    assert "ufsTotal" not in unbound["status"]
    await fleet.gone(PERSISTENTVOLUMECLAIMS, "llama")
    await fleet.create(fleet.runtime("local", "llama"))
    await fleet.phase(DATASETS, "llama", "Bound")


async def test_an_agent_that_is_killed_anywhere_goes_on(fleet: Fleet, model: dict[str, bytes]) -> None:
    await fleet.secret()
    await fleet.create(fleet.dataset("llama"), fleet.runtime("local", "llama"), fleet.load("llama"))
    for _ in range(6):
        await asyncio.wait({asyncio.create_task(_next_write(fleet))}, timeout=1)
        await fleet.stop_agent()
        fleet.start_agent()
    await fleet.phase(DATALOADS, "llama", "Complete")
    await fleet.until(
        DATASETS, "llama", lambda d: d["status"]["cacheStates"].get("cachedPercentage") == "100.0%"
    )
    await fleet.delete(DATASETS, "llama")
    for _ in range(4):
        await asyncio.wait({asyncio.create_task(_next_write(fleet))}, timeout=1)
        await fleet.stop_agent()
        fleet.start_agent()
    await fleet.gone(DATASETS, "llama")


async def test_what_is_settled_is_not_written(fleet: Fleet, model: dict[str, bytes]) -> None:
    await fleet.secret()
    await fleet.create(fleet.dataset("llama"), fleet.runtime("local", "llama"), fleet.load("llama"))
    await fleet.phase(DATALOADS, "llama", "Complete")
    await fleet.phase(DATASETS, "llama", "Bound")
    await fleet.until(
        DATASETS, "llama", lambda d: d["status"]["cacheStates"].get("cachedPercentage") == "100.0%"
    )
    versions = await _settled_versions(fleet)
    await fleet.stop_agent()
    fleet.start_agent()
    await fleet.create(fleet.dataset("other"), fleet.runtime("local", "other"))
    await fleet.phase(DATASETS, "other", "Bound")  # by then the agent has been through "llama" as well
    assert await _versions(fleet) == versions


async def test_a_loader_that_is_killed_resumes(fleet: Fleet, model: dict[str, bytes]) -> None:
    await fleet.secret()
    await asyncio.to_thread(fleet.store.stop)
    try:
        await fleet.create(fleet.dataset("llama"), fleet.runtime("local", "llama"), fleet.load("llama"))
        await fleet.until(
            DATALOADS, "llama", lambda d: "startTime" in ((d.get("status") or {}).get("infos") or {})
        )
        pid = await eventually(lambda: _loader(fleet.namespace))
        os.kill(pid, signal.SIGKILL)
    finally:
        await asyncio.to_thread(fleet.store.start)
    complete = await fleet.phase(DATALOADS, "llama", "Complete")
    assert complete["status"]["infos"]["bytes"] == str(sum(map(len, model.values())))
    job = await fleet.client.get(JOBS, "llama-loader-job", fleet.namespace)
    assert job["status"]["failed"] == 1


@pytest.mark.parametrize("kind", ["local", "juicefs"])
async def test_wrong_keys_fail_with_the_sources_words_and_new_ones_are_tried(
    fleet: Fleet, model: dict[str, bytes], kind: str
) -> None:
    name = f"inference-{fleet.namespace}-credentials"
    dataset = fleet.dataset("llama", secret=name)
    dataset["metadata"]["annotations"] = {"data.boundaryless.io/hub-secret": name}
    await fleet.hub_secret(name)
    good = (await fleet.client.get(SECRETS, name, "cluster1"))["data"]
    wrong = {"data": {"secretAccessKey": "d3Jvbmc="}}
    await fleet.client.patch(SECRETS, name, wrong, "cluster1")
    try:
        await fleet.create(dataset, fleet.runtime(kind, "llama"), fleet.load("llama"))
        condition = await fleet.until(
            DATASETS, "llama", lambda d: "access denied" in str((d.get("status") or {}).get("conditions"))
        )
        assert condition["status"]["phase"] in ("Pending", "Bound")
        await fleet.client.patch(SECRETS, name, {"data": good}, "cluster1")
        await fleet.phase(DATALOADS, "llama", "Complete")
    finally:
        await fleet.client.delete(SECRETS, name, "cluster1")


def _loader(namespace: str) -> int:
    """The process of the loader, not of its sandbox."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            line = (entry / "cmdline").read_bytes()
            environment = (entry / "environ").read_bytes()
        except OSError:
            continue
        words = line.split(b"\0")
        if words[1:3] == [b"-m", b"runtimes.local.loader"] and f"/{namespace}/".encode() in environment:
            return int(entry.name)
    return 0


async def _next_write(fleet: Fleet) -> None:
    listed = await fleet.client.list(DATASETS, fleet.namespace)
    version = listed["metadata"]["resourceVersion"]
    async for _ in fleet.client.watch(DATASETS, fleet.namespace, resource_version=version, timeout=1):
        return


async def _versions(fleet: Fleet) -> dict[str, str]:
    found = {}
    for resource in (DATASETS, DATALOADS, RUNTIMES["local"], PERSISTENTVOLUMECLAIMS):
        obj = await fleet.client.get(resource, "llama", fleet.namespace)
        found[resource.kind] = obj["metadata"]["resourceVersion"]
    return found


async def _settled_versions(fleet: Fleet) -> dict[str, str]:
    """Once two looks, with the loader's job ended in between, are the same."""
    await fleet.until(JOBS, "llama-loader-job", lambda j: (j.get("status") or {}).get("succeeded"))
    last = await _versions(fleet)

    async def same() -> bool:
        nonlocal last
        before, last = last, await _versions(fleet)
        return before == last

    await eventually(same, interval=0.3)
    return last
