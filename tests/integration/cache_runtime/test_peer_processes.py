"""Workers and loaders that give one another what they read: processes are killed, files rot."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import Request

import pytest

from addon_framework.api.meta import Json
from addon_framework.kube import Key
from addon_framework.testing import eventually
from addons.cache_runtime.hub import payload, peers
from addons.cache_runtime.hub.names import PEERS_ANNOTATION
from addons.cache_runtime.hub.works import manifest_work
from runtimes.interface import Cache
from runtimes.local import LocalBackend
from runtimes.local.peers import PORT
from tests.integration.cache_runtime.faultyproxy import Fault, FaultyProxy, faulty
from tests.integration.cache_runtime.objectstore import ACCESS_KEY, BUCKET, SECRET_KEY, ObjectStore

MIB = 1 << 20
SIZES = {"model-1.safetensors": 70 * MIB + 13, "model-2.safetensors": 50 * MIB, "config.json": 900}
TOTAL = sum(SIZES.values())


class Node:
    """A worker on an address of its own, and loaders beside it."""

    def __init__(
        self, number: int, directory: Path, endpoint: str, prefix: str, key: str = SECRET_KEY
    ) -> None:
        self.host, self.directory = f"127.77.3.{number}", directory
        source = {"url": f"s3://{BUCKET}/{prefix}", "path": "/", "options": {"endpoint": endpoint}}
        self.specification: Json = {
            "directory": str(directory),
            "sources": [source],
            "owner": "LocalRuntime t/t",
        }
        self.environment = {"SOURCE0_ACCESS_KEY": ACCESS_KEY, "SOURCE0_SECRET_KEY": key, "POD_IP": self.host}
        self.worker: subprocess.Popen[str] | None = None

    def knows(self, nodes: list[Node]) -> None:
        """The others, as a Service's name would tell."""
        others = [f"{node.host}:{PORT}" for node in nodes if node is not self]
        self.specification["peers"] = {"service": "nobody.invalid", "addresses": others}

    def start(self) -> None:
        """The worker."""
        self.worker = self._run("worker")

    def end(self) -> None:
        """The worker, at once."""
        if self.worker is not None:
            self.worker.kill()
            self.worker.wait()

    def load(self) -> subprocess.Popen[str]:
        """A loader."""
        return self._run("loader")

    @property
    def listens(self) -> bool:
        """Whether the worker can be asked."""
        with socket.socket() as connection:
            return not connection.connect_ex((self.host, PORT))

    @property
    def cached(self) -> dict[str, bytes]:
        """What pods would see."""
        data = self.directory / "data"
        return {str(p.relative_to(data)): p.read_bytes() for p in data.rglob("*") if p.is_file()}

    def _run(self, module: str) -> subprocess.Popen[str]:
        environment = {**os.environ, **self.environment, "CACHE": json.dumps(self.specification)}
        command = [sys.executable, "-m", f"runtimes.local.{module}"]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


class Nodes:
    """Several, before one counted store."""

    def __init__(self, proxy: FaultyProxy, files: dict[str, bytes], nodes: list[Node]) -> None:
        self.proxy, self.files, self.all = proxy, files, nodes

    @classmethod
    @contextmanager
    def of(cls, store: ObjectStore, files: dict[str, bytes], prefix: str, directory: Path) -> Iterator[Nodes]:
        """Three that have nothing yet of files that are in the store."""
        for name, content in files.items():
            store.client().put_object(Bucket=BUCKET, Key=f"{prefix}/{name}", Body=content)
        with faulty(store.endpoint) as proxy:
            made = [Node(n, directory / f"node{n}", proxy.endpoint, prefix) for n in range(1, 4)]
            for node in made:
                node.directory.mkdir()
            try:
                yield cls(proxy, files, made)
            finally:
                for node in made:
                    node.end()

    async def start(self) -> None:
        """All workers, until they listen."""
        for node in self.all:
            node.knows(self.all)
            node.start()
        await eventually(lambda: all(node.listens for node in self.all))

    def load(self, *nodes: Node) -> list[Json]:
        """On all or some at once; what each said at its end."""
        return [done(loader) for loader in [node.load() for node in nodes or self.all]]


def reports(loader: subprocess.Popen[str], timeout: float = 90) -> list[Json]:
    """All that it says. It must end well."""
    out, _ = loader.communicate(timeout=timeout)
    said: list[Json] = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    assert loader.returncode == 0, said
    return said


def done(loader: subprocess.Popen[str], timeout: float = 90) -> Json:
    """The loader's last word of its load."""
    said = reports(loader, timeout)
    found: Json = next(each for each in said if each["report"] == "done")
    return found


@pytest.fixture
def nodes(store: ObjectStore, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Nodes]:
    random_, prefix = random.Random(3), f"peers/{tmp_path.name}"
    files = {name: random_.randbytes(size) for name, size in SIZES.items()}
    with Nodes.of(store, files, prefix, tmp_path) as made:
        yield made


async def test_nodes_that_load_at_once_read_each_byte_from_the_origin_once(nodes: Nodes) -> None:
    await nodes.start()
    said = nodes.load()
    assert [node.cached for node in nodes.all] == [nodes.files] * 3
    assert nodes.proxy.sent < 1.1 * TOTAL  # alone they read 3 times as much
    assert sum(each["origin"] + each["peers"] for each in said) == 3 * TOTAL


async def test_a_load_says_when_nothing_but_weights_is_missing_unless_older_ones_are_there(
    nodes: Nodes, store: ObjectStore
) -> None:
    node = nodes.all[0]
    prefix = node.specification["sources"][0]["url"].removeprefix(f"s3://{BUCKET}/")
    nodes.proxy.rule = lambda asked: Fault(rate=2 * MIB) if "model" in asked.path else None
    said = reports(node.load())
    versions = {each["report"]: each["version"] for each in said if "version" in each}
    assert versions.keys() == {"progress", "done"}
    assert versions["progress"] == versions["done"]
    assert all(each["files"] for each in said if each["report"] == "progress" and "version" in each)

    store.client().put_object(Bucket=BUCKET, Key=f"{prefix}/model-2.safetensors", Body=bytes(20 * MIB))
    said = reports(node.load())
    assert [each for each in said if each["report"] == "progress" and each["bytes"] < each["total"]]
    assert not [each for each in said if each["report"] == "progress" and "version" in each]
    assert next(each for each in said if each["report"] == "done")["version"] != versions["done"]


async def test_a_node_that_comes_later_reads_nothing_from_the_origin(nodes: Nodes) -> None:
    await nodes.start()
    nodes.load(nodes.all[0])
    before = nodes.proxy.sent
    (said,) = nodes.load(nodes.all[2])
    assert nodes.all[2].cached == nodes.files
    assert nodes.proxy.sent - before < MIB  # the listing, and what is too small to be asked for
    assert said["peers"] > TOTAL - MIB


async def test_a_node_whose_worker_starts_after_its_load_knows_itself(nodes: Nodes) -> None:
    node = nodes.all[0]
    node.specification["peers"] = {"service": "nobody.invalid", "addresses": [f"{node.host}:{PORT}"]}
    node.specification["threads"] = 2  # else it asks for all at once
    nodes.proxy.rule = lambda asked: Fault(rate=MIB)
    loader = node.load()
    await eventually(lambda: nodes.proxy.sent > MIB)
    node.start()
    await eventually(lambda: nodes.proxy.sent > 14 * MIB)
    nodes.proxy.rule = lambda asked: None
    done(loader, timeout=15)
    assert node.cached == nodes.files


async def test_a_cluster_that_comes_later_takes_all_from_the_first(nodes: Nodes) -> None:
    first, later = nodes.all[:2]
    clusters = [
        {"metadata": {"name": node.host, "annotations": {PEERS_ANNOTATION: f"{node.host}:{PORT}"}}}
        for node in (first, later)
    ]
    reached = peers.reached(clusters, Key("models", "llama"), hub_id="")
    for node in (first, later):  # what the hub sends to each, down to what its pods are told
        metadata = {"name": "llama", "namespace": "models"}
        made = payload.dataset(metadata, first.specification["sources"][0]["url"], {})
        work = manifest_work(made, None, [], node.host, others=peers.others(reached, node.host))
        _, dataset, runtime, *_ = work["spec"]["workload"]["manifests"]
        (worker,) = LocalBackend().components(Cache.of(dataset, runtime, image=""))
        environment = {each["name"]: each.get("value") for each in worker.pod["containers"][0]["env"]}
        node.specification["peers"] = {
            **json.loads(environment["CACHE"])["peers"],
            "service": "nobody.invalid",  # each cluster's own
        }
        node.start()
    await eventually(lambda: all(node.listens for node in (first, later)))
    nodes.load(first)
    before = nodes.proxy.sent
    (said,) = nodes.load(later)
    assert later.cached == nodes.files
    assert nodes.proxy.sent - before < MIB  # the listing, and what is too small to be asked for
    assert said["peers"] > TOTAL - MIB


async def test_a_node_that_is_killed_while_it_loads_holds_up_no_other(nodes: Nodes) -> None:
    await nodes.start()
    nodes.proxy.rule = lambda asked: Fault(rate=8 * MIB)
    loaders = [node.load() for node in nodes.all]
    await eventually(lambda: nodes.proxy.sent > TOTAL // 4)
    loaders[0].kill()
    nodes.all[0].end()
    nodes.proxy.rule = lambda asked: None
    for loader in loaders[1:]:
        done(loader)
    assert [node.cached for node in nodes.all[1:]] == [nodes.files] * 2
    loaders[0].wait()


async def test_a_node_that_the_origin_refuses_holds_up_no_other_and_gets_all_from_them(
    nodes: Nodes, store: ObjectStore
) -> None:
    with faulty(store.endpoint) as refusing:
        refusing.rule = lambda asked: Fault(status=503) if asked.range else None
        nodes.all[0].specification["sources"][0]["options"]["endpoint"] = refusing.endpoint
        await nodes.start()
        first, *others = nodes.load()
    assert [node.cached for node in nodes.all] == [nodes.files] * 3
    assert first["origin"] == 0
    assert sum(each["origin"] for each in others) < 1.1 * TOTAL


async def test_a_node_whose_copy_was_changed_is_found_out_and_the_origin_asked(nodes: Nodes) -> None:
    await nodes.start()
    liar, other = nodes.all[:2]
    nodes.load(liar)
    file = liar.directory / "data" / "model-1.safetensors"
    file.chmod(0o644)
    with file.open("r+b") as opened:
        opened.seek(20 * MIB)
        opened.write(b"these bytes are not the model's")
    (said,) = nodes.load(other)
    assert other.cached == nodes.files
    assert said["origin"] >= SIZES["model-1.safetensors"]


def published(node: Node, key: str, content: bytes = b"compiled") -> Path:
    """As an engine's launcher does."""
    path = node.directory / "compiled" / f"{key * 32}.{hashlib.sha256(content).hexdigest()}.tar"
    path.parent.mkdir(exist_ok=True)
    path.with_suffix(".new").write_bytes(content)
    path.with_suffix(".new").rename(path)
    return path


async def test_what_an_engine_has_compiled_is_there_when_one_starts_on_another_node(nodes: Nodes) -> None:
    await nodes.start()
    first, second, third = nodes.all
    archive = published(first, "a", b"machine code" * 100_000)
    (second.directory / "compiled").mkdir()  # its pod has been started
    copy = second.directory / "compiled" / archive.name
    await eventually(copy.exists, timeout=25)  # at once: not after half a minute
    assert copy.read_bytes() == archive.read_bytes()
    assert not (third.directory / "compiled").exists()  # where no engine is

    late = published(first, "b")
    assert not (second.directory / "compiled" / late.name).exists()
    nodes.load(second)  # an engine that waits for this load finds it afterwards
    assert (second.directory / "compiled" / late.name).read_bytes() == b"compiled"


async def test_whoever_has_not_the_sources_credentials_gets_nothing(nodes: Nodes) -> None:
    await nodes.start()
    nodes.load(nodes.all[0])
    for path in ("0" * 32, "compiled"):
        url = f"http://{nodes.all[0].host}:{PORT}/{path}"
        for given in ("", "Bearer guessed"):
            request = Request(url, headers={"Authorization": given})
            with pytest.raises(urllib.error.HTTPError, match="401"):
                await asyncio.to_thread(urllib.request.urlopen, request)
