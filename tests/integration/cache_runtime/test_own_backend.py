"""A backend of somebody else, its kind and all in one file: the add-on does everything for it, too."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Sequence
from pathlib import Path

import pytest

from addon_framework.api.core import PODS
from addon_framework.api.crd import generate
from addon_framework.api.data import DataLoad, Dataset
from addon_framework.api.meta import Json
from addon_framework.kube import Client, NotFound
from addon_framework.plugins import RUNTIMES, discover
from addon_framework.testing import eventually
from runtimes.interface import Backend
from tests.integration.cache_runtime import copyruntime
from tests.integration.cache_runtime.copyruntime import CopyBackend, CopyRuntime
from tests.integration.cache_runtime.fleet import Fleet
from tests.integration.cache_runtime.test_backends import SUMS

COPIES, DATASETS, LOADS = CopyRuntime.RESOURCE, Dataset.RESOURCE, DataLoad.RESOURCE


@pytest.fixture
async def backends(client: Client, crds_installed: None) -> Sequence[Backend]:
    """The new one alone; its kind is served."""
    await client.apply(generate(CopyRuntime), field_manager="tests")
    await eventually(lambda: client.list(COPIES), swallow=NotFound)
    return [CopyBackend()]


async def test_it_binds_loads_serves_and_leaves_nothing(
    fleet: Fleet, model: dict[str, bytes], host_files: Path
) -> None:
    for path, content in model.items():
        (host_files / "srv/models" / path).parent.mkdir(parents=True, exist_ok=True)
        (host_files / "srv/models" / path).write_bytes(content)
    copy = fleet.object(COPIES, "llama", {"replicas": 1})
    await fleet.create(fleet.dataset("llama", source="local:///srv/models"), copy, fleet.load("llama"))

    load = await fleet.phase(LOADS, "llama", "Complete")
    total = sum(map(len, model.values()))
    assert load["status"]["infos"]["bytes"] == load["status"]["infos"]["totalBytes"] == str(total)
    bound = await fleet.until(
        DATASETS,
        "llama",
        lambda d: (d.get("status") or {}).get("cacheStates", {}).get("cached") == _mib(total),
    )
    assert bound["status"]["phase"] == "Bound"
    assert bound["status"]["runtimes"][0]["type"] == "copy"
    counted = await fleet.until(DATASETS, "llama", lambda d: d["status"]["fileNum"] == str(len(model)))
    assert counted["status"]["ufsTotal"] == _mib(total)  # which only the load could tell
    assert counted["status"]["cacheStates"]["cachedPercentage"] == "100.0%"

    await fleet.create(fleet.reader("llama", SUMS))
    output = await fleet.output("reader-llama")
    seen = {line[34:].removeprefix("./"): line[:32] for line in output.splitlines()}
    assert seen == {path: hashlib.md5(content).hexdigest() for path, content in model.items()}
    await fleet.delete(PODS, "reader-llama")

    await fleet.delete(DATASETS, "llama")
    await fleet.gone(DATASETS, "llama")
    await fleet.gone(COPIES, "llama")
    assert not (host_files / "var/lib/boundaryless/cache" / fleet.namespace).exists()
    assert (host_files / "srv/models/config.json").exists()


async def test_its_words_about_a_wrong_spec_reach_the_user(fleet: Fleet) -> None:
    copy = fleet.object(COPIES, "llama", {"replicas": 1})
    await fleet.create(fleet.dataset("llama", source="http://example.org/models"), copy)
    await fleet.until(DATASETS, "llama", lambda d: "must be local:///directory" in str(d.get("status")))
    await fleet.delete(DATASETS, "llama")
    await fleet.gone(DATASETS, "llama")


async def test_a_copy_that_fails_half_way_is_told_and_tried_again(
    fleet: Fleet, model: dict[str, bytes], host_files: Path
) -> None:
    source = host_files / "srv/broken"
    for name in ("a/1", "b/2", "c/3", "d/4"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(b"words")
    data = host_files / "var/lib/boundaryless/cache" / fleet.namespace / "llama/data"
    data.mkdir(parents=True)
    for name in ("b", "c"):
        (data / name).write_bytes(b"in the way of a directory")
    copy = fleet.object(COPIES, "llama", {"replicas": 1})
    await fleet.create(fleet.dataset("llama", source="local:///srv/broken"), copy, fleet.load("llama"))
    why = "trying again: the log of the pod says why (on node cache-node)"
    load = await fleet.until(LOADS, "llama", lambda op: _infos(op).get("message") == why)
    assert load["status"]["phase"] == "Executing"
    for name in ("b", "c"):
        (data / name).unlink()
    await fleet.phase(LOADS, "llama", "Complete")
    assert sorted(str(p.relative_to(data)) for p in data.rglob("*/*")) == ["a/1", "b/2", "c/3", "d/4"]


async def test_a_load_that_reports_nothing_says_how_it_ended_while_it_is_tried_again(
    fleet: Fleet, host_files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copyruntime, "COPY", "echo no such table: users >&2; exit 4")
    (host_files / "srv/silent").mkdir(parents=True, exist_ok=True)
    copy = fleet.object(COPIES, "llama", {"replicas": 1})
    await fleet.create(fleet.dataset("llama", source="local:///srv/silent"), copy, fleet.load("llama"))
    why = "ended with exit code 4 and said last: no such table: users"
    load = await fleet.until(LOADS, "llama", lambda op: _infos(op).get("message", "").endswith(why))
    assert load["status"]["phase"] == "Executing"


def test_a_backend_is_at_most_150_lines() -> None:
    backends = [plugin.load() for plugin in discover(RUNTIMES).usable()]
    sources = [copyruntime, *(inspect.getmodule(type(backend)) for backend in backends)]
    assert len(sources) >= 9
    lengths = {source.__name__: len(inspect.getsource(source).splitlines()) for source in sources if source}
    assert not {name: count for name, count in lengths.items() if count > 150}


def test_five_answers_are_needed_and_the_others_have_defaults() -> None:
    needed = {"validate", "components", "volume", "warm", "clean"}
    assert set(Backend.__abstractmethods__) == needed
    assert set(vars(CopyBackend)) & set(vars(Backend)) >= needed


def _infos(operation: Json) -> Json:
    return (operation.get("status") or {}).get("infos") or {}


def _mib(size: int) -> str:
    return f"{size / 2**20:.2f}MiB"
