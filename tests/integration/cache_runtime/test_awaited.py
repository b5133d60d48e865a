"""A second loader finds the cache's directory taken: what it waits for comes first, from a real S3 server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from addon_framework.testing import eventually
from runtimes.local.awaiting import DIRECTORY
from runtimes.local.store import Store
from tests.integration.cache_runtime.faultyproxy import Asked, Fault, FaultyProxy, faulty
from tests.integration.cache_runtime.objectstore import ACCESS_KEY, BUCKET, SECRET_KEY, ObjectStore

THREADS, MANY = 4, 200


class Two:
    """A load of all, which stops after 20 files until `gone_on`, and at the file `last` until `end`."""

    def __init__(self, store: ObjectStore, proxy: FaultyProxy, prefix: str, directory: Path) -> None:
        self.proxy, self.prefix, self.directory = proxy, prefix, directory
        self.contents = {f"big/{n:03}": os.urandom(1000) for n in range(MANY)}
        self.contents |= {"zz/small": b"small", "zz/other": b"other", "big/last": b"last"}
        client = store.client()
        with ThreadPoolExecutor(16) as pool:
            for name, content in self.contents.items():
                pool.submit(client.put_object, Bucket=BUCKET, Key=f"{prefix}/{name}", Body=content)
        self.end, self.gone_on, self.held = threading.Event(), threading.Event(), 0
        proxy.rule = self.rule

    def rule(self, asked: Asked) -> Fault | None:
        if asked.range and asked.path.endswith("/last"):
            self.end.wait(90)
        elif asked.range and len(self.asked("/big/")) > 20:
            with self.proxy.lock:
                self.held += not self.gone_on.is_set()
            self.gone_on.wait(90)
        return None

    def asked(self, part: str) -> list[int]:
        """Which requests were for a range of such files."""
        return [asked.number for asked in list(self.proxy.asked) if asked.range and part in asked.path]

    def spawn(self, *targets: str) -> subprocess.Popen[str]:
        source = {
            "url": f"s3://{BUCKET}/{self.prefix}",
            "path": "/",
            "options": {"endpoint": self.proxy.endpoint},
        }
        said = {"directory": str(self.directory), "sources": [source], "targets": targets, "threads": THREADS}
        keys = {"SOURCE0_ACCESS_KEY": ACCESS_KEY, "SOURCE0_SECRET_KEY": SECRET_KEY}
        return subprocess.Popen(
            [sys.executable, "-m", "runtimes.local.loader"],
            env={**os.environ, **keys, "CACHE": json.dumps(said)},
            stdout=subprocess.PIPE,
            text=True,
        )

    @property
    def waiting(self) -> int:
        """How many have said what they wait for."""
        try:
            return len([name for name in os.listdir(self.directory / DIRECTORY) if name[0] != "."])
        except FileNotFoundError:
            return 0

    @property
    def complete(self) -> set[str]:
        """What is written down and right."""
        store = Store(self.directory)
        store.open()
        for path in store.entries:
            assert (self.directory / "data" / path).read_bytes() == self.contents[path]
        return set(store.entries)


@pytest.fixture
def two(store: ObjectStore, tmp_path: Path) -> Iterator[Two]:
    with faulty(store.endpoint) as proxy:
        two = Two(store, proxy, f"awaited/{tmp_path.name}", tmp_path / "cache")
        try:
            yield two
        finally:
            two.end.set()
            two.gone_on.set()


async def begun(two: Two) -> tuple[subprocess.Popen[str], subprocess.Popen[str]]:
    """One that loads all, and one that waits for a small file at its end."""
    first = two.spawn()
    await eventually(lambda: two.held == THREADS)  # all its threads
    second = two.spawn("/zz/small")
    await eventually(lambda: two.waiting == 1)
    return first, second


def done(loader: subprocess.Popen[str]) -> dict[str, int]:
    """What it said at its end."""
    words, _ = loader.communicate(timeout=60)
    assert loader.returncode == 0, words
    found: dict[str, int] = json.loads(next(line for line in words.splitlines() if '"done"' in line))
    return found


async def test_a_small_file_is_there_long_before_the_end_of_a_big_load(two: Two) -> None:
    first, second = await begun(two)
    two.gone_on.set()
    said = done(second)
    assert first.poll() is None  # it cannot have ended
    assert (said["files"], said["totalFiles"], said["origin"]) == (1, 1, 0)
    assert "zz/small" in two.complete
    small = two.asked("/zz/small")
    assert len(small) == 1
    assert len([number for number in two.asked("/big/") if number < small[0]]) < MANY / 2
    assert two.waiting == 0
    two.end.set()
    assert done(first)["files"] == len(two.contents)
    assert two.complete == set(two.contents)


async def test_when_the_one_that_loads_is_killed_the_waiter_goes_on_itself(two: Two) -> None:
    first, second = await begun(two)
    first.kill()
    first.communicate()
    two.gone_on.set()
    assert done(second)["origin"] == len(b"small")
    assert "zz/small" in two.complete
    assert two.waiting == 0
    two.end.set()
    assert done(two.spawn())["files"] == len(two.contents)
    assert two.complete == set(two.contents)


async def test_a_waiter_that_is_killed_is_nobodys_concern(two: Two) -> None:
    first, second = await begun(two)
    second.kill()
    second.communicate()
    assert two.waiting == 1
    two.gone_on.set()
    two.end.set()
    assert done(first)["files"] == len(two.contents)
    assert two.complete == set(two.contents)
    assert two.waiting == 0  # the load has looked, and nobody held it


async def test_what_the_running_load_does_not_bring_is_waited_for(two: Two) -> None:
    first = two.spawn("/big")
    await eventually(lambda: two.held == THREADS)  # all its threads
    second = two.spawn("/zz/other", "/big/007")
    await eventually(lambda: two.waiting == 1)
    two.gone_on.set()
    two.end.set()
    assert done(first)["files"] == MANY + 1
    assert done(second)["origin"] == len(b"other")
    assert two.complete == {name for name in two.contents if name != "zz/small"}
