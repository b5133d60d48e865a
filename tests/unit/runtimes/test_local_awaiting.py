"""A load brings first what others wait for; a source that is slow to tell of a file holds up no other."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from runtimes.local import assembly as assembly_module
from runtimes.local.awaiting import DIRECTORY, Awaited, Waiter
from runtimes.local.order import Item
from runtimes.local.store import Store
from runtimes.local.transfer import Transfer
from runtimes.reporting import Progress
from runtimes.source import Object, Sink

RANGE = 1000


class Files:
    """A source in memory. `each` is called before a range is read, `asked` when one file is asked for."""

    def __init__(self, **sizes: int) -> None:
        self.contents = {name: name.encode() * size for name, size in sizes.items()}
        self.reads: list[str] = []
        self.each: Callable[[str], None] = lambda name: None
        self.asked: Callable[[str], None] = lambda name: None

    def objects(self) -> Iterator[Object]:
        for name, content in self.contents.items():
            yield Object(name, len(content), "v1", hashlib.md5(content).hexdigest())

    def detailed(self, obj: Object) -> Object:
        self.asked(obj.path)
        return next(each for each in self.objects() if each.path == obj.path)

    def read(self, obj: Object, start: int, end: int, sink: Sink) -> bool:
        self.each(obj.path)
        self.reads.append(obj.path)
        sink(memoryview(bytearray(self.contents[obj.path][start:end])))
        return True


@pytest.fixture(autouse=True)
def small_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assembly_module, "RANGE", RANGE)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def waiting() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def wait_for(directory: Path, waiting: ExitStack, *targets: str) -> Waiter:
    waiter = Waiter(directory, targets, lambda: False)
    waiting.callback(waiter.end)
    assert not waiter.look()
    return waiter


def load(directory: Path, source: Files, threads: int = 1, *, told: bool = True) -> Store:
    """`told`: the listing has the checksums."""
    objects = [obj if told else replace(obj, md5="") for obj in source.objects()]
    items = [Item(obj.path, "mem://", source, obj) for obj in objects]
    store = Store(directory)
    with store.exclusive():
        Transfer(store, items, Progress(), threads=threads).run()
    for name, content in source.contents.items():
        assert (directory / "data" / name).read_bytes() == content
    return store


def test_files_come_in_order_and_those_that_are_waited_for_before_others(
    directory: Path, waiting: ExitStack
) -> None:
    source = Files(a=4 * RANGE, b=2 * RANGE, c=RANGE, d=2 * RANGE, e=1)

    def each(name: str) -> None:
        if source.reads == ["a", "a"]:
            wait_for(directory, waiting, "d", "x")

    source.each = each
    load(directory, source)
    assert "".join(source.reads) == "aaa" + "dd" + "a" + "bb" + "c" + "e"


def test_what_is_waited_for_is_written_down_at_once(directory: Path, waiting: ExitStack) -> None:
    """Also when it was complete already and the index is not written for every file."""
    source = Files(a=1, b=1, c=3 * RANGE, d=1, e=3 * RANGE)
    known: dict[str, set[str]] = {}
    seen = Store(directory)

    def each(name: str) -> None:
        if name == "c" and "c" not in source.reads:
            wait_for(directory, waiting, "b", "d")
        seen.open()
        known.setdefault(name, set(seen.entries))

    source.each = each
    load(directory, source)
    assert {"b", "d"} <= known["e"]


def test_many_files_that_are_waited_for_are_not_open_all_at_once(directory: Path, waiting: ExitStack) -> None:
    source = Files(**{f"f{number}": 1 for number in range(100)})
    opened: list[int] = []

    def each(name: str) -> None:
        if not source.reads:
            wait_for(directory, waiting, "")
        opened.append(len(list(Path("/proc/self/fd").iterdir())))

    source.each = each
    load(directory, source, threads=4)
    assert max(opened) - min(opened) < 30


def test_a_file_that_is_slow_to_open_holds_up_no_other(directory: Path) -> None:
    source, rest = Files(slow=2 * RANGE, a=3 * RANGE, b=3 * RANGE), threading.Event()

    def asked(name: str) -> None:
        if name == "slow":
            assert rest.wait(30)

    def each(name: str) -> None:
        if len(source.reads) == 5:  # this is the last of the others
            rest.set()

    source.asked, source.each = asked, each
    load(directory, source, threads=2, told=False)
    assert source.reads[-2:] == ["slow", "slow"]


def test_threads_wait_for_what_may_come_back(directory: Path) -> None:
    """Each waits for all: none has left because there was nothing to do for a moment."""
    source, together = Files(a=1, b=4 * RANGE), threading.Barrier(4)

    def asked(name: str) -> None:
        assert name in ("a", "b")

    def each(name: str) -> None:
        if name == "b":
            together.wait(30)

    source.asked, source.each = asked, each
    load(directory, source, threads=4, told=False)


def test_who_has_died_waits_no_more(directory: Path, waiting: ExitStack) -> None:
    awaited = Awaited(directory)
    assert awaited.changed() is None
    gone = directory / DIRECTORY / "gone"
    gone.parent.mkdir(parents=True)
    gone.write_text('["b"]')  # nobody holds it
    waiter = wait_for(directory, waiting, "a", "c/d")
    assert awaited.changed() == {"a", "c/d"}
    assert awaited.changed() is None
    assert not gone.exists()
    waiter.end()
    assert awaited.changed() == set()
    assert list(gone.parent.iterdir()) == []


def test_the_directory_is_waited_for_until_there_is_nothing_left_to_do(directory: Path) -> None:
    store, looks = Store(directory), [False, False, True]
    with store.exclusive() as alone:
        assert alone
        with Store(directory).exclusive(lambda: looks.pop(0)) as second:
            assert not second
    assert looks == []
    with Store(directory).exclusive(lambda: True) as third:
        assert third
