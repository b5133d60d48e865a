"""Caches fetch from each other: the origin is read about once, and no peer can stop or spoil a load."""

from __future__ import annotations

import hashlib
import random
import select
import socket
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.local import assembly as assembly_module
from runtimes.local import peers as peers_module
from runtimes.local import transfer as transfer_module
from runtimes.local.ownership import owner
from runtimes.local.peers import MINE, Peers
from runtimes.local.serving import PeerServer
from runtimes.local.store import Store
from runtimes.local.transfer import Item, Transfer
from runtimes.reporting import Progress
from runtimes.source import Object, Sink, SourceError

RANGE, TOKEN = 10_000, "a-token"
CONTENT = random.Random(5).randbytes(100 * RANGE + 17)


class Origin:
    """Counts what is read; `each` is called at every read."""

    def __init__(self) -> None:
        self.sent, self._lock = 0, threading.Lock()
        self.each: Callable[[], object] = lambda: None

    def objects(self) -> Iterator[Object]:
        yield self.object()

    def object(self) -> Object:
        return Object("f", len(CONTENT), "v1", hashlib.md5(CONTENT).hexdigest())

    def detailed(self, obj: Object) -> Object:
        return obj

    def read(self, obj: Object, start: int, end: int, sink: Sink) -> bool:
        self.each()
        threading.Event().wait(0.005)  # as far as any origin is
        sink(memoryview(bytearray(CONTENT[start:end])))
        with self._lock:
            self.sent += end - start
        return True


class Refusing(Origin):
    """Lists what it has, and gives none of it."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def read(self, obj: Object, start: int, end: int, sink: Sink) -> bool:
        self.asked += 1
        raise SourceError("come again")


class Node:
    """A cache directory and its server."""

    def __init__(self, directory: Path, origin: Origin) -> None:
        directory.mkdir()
        self.directory, self.origin, self.store = directory, origin, Store(directory)
        self.server = PeerServer(("127.0.0.1", 0), directory, TOKEN)
        self.address = "{}:{}".format(*self.server.server_address[:2])
        self.progress = Progress()

    def serve(self) -> None:
        self.server = PeerServer(("127.0.0.1", int(self.address.partition(":")[2])), self.directory, TOKEN)

    def load(self, addresses: list[str], threads: int = 3, *, strictly: bool = False) -> Transfer:
        item = Item("f", "mem://f", self.origin, self.origin.object())
        peers = Peers(lambda: addresses, TOKEN, self.directory)
        peers.together()
        with self.store.exclusive():
            transfer = Transfer(
                self.store, [item], self.progress, threads=threads, peers=peers, strictly=strictly
            )
            transfer.run()
        assert (self.directory / "data/f").read_bytes() == CONTENT
        assert self.progress.bytes == len(CONTENT)
        return transfer


@pytest.fixture(autouse=True)
def small_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assembly_module, "RANGE", RANGE)


@pytest.fixture
def origin() -> Origin:
    return Origin()


@pytest.fixture
def nodes(tmp_path: Path, origin: Origin) -> Iterator[list[Node]]:
    with ExitStack() as stack:
        made = [Node(tmp_path / str(number), origin) for number in range(4)]
        for node in made:
            stack.callback(lambda node=node: node.server.close())
        yield made


def together(nodes: list[Node], addresses: list[str]) -> list[Transfer]:
    with ThreadPoolExecutor(len(nodes)) as pool:
        return list(pool.map(lambda node: node.load(addresses), nodes))


def test_nodes_that_load_together_read_the_origin_once(
    nodes: list[Node], origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers_module, "_GRACE", float("inf"))  # nobody takes over, however busy the machine
    done = together(nodes, [node.address for node in nodes])
    assert origin.sent == sum(each.origin for each in done) == len(CONTENT)


def test_nodes_whose_servers_start_with_their_loads_read_the_origin_once(
    nodes: list[Node], origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers_module, "_GRACE", float("inf"))
    monkeypatch.setattr(peers_module, "_TOGETHER", float("inf"))
    for node in nodes:
        node.server.close()
    with ThreadPoolExecutor() as pool:
        loads = pool.submit(together, nodes, [node.address for node in nodes])
        with pytest.raises(TimeoutError):
            loads.result(0.3)
        assert not origin.sent
        for node in nodes:
            node.serve()
        assert sum(each.origin for each in loads.result(60)) == len(CONTENT)
    assert origin.sent == len(CONTENT)


def test_of_many_peers_that_are_away_one_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers_module, "_TIMEOUT", 0.05)
    monkeypatch.setattr(peers_module, "_TOGETHER", 0.0)
    with ExitStack() as stack:
        silent = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(3)]
        addresses = ["{}:{}".format(*each.getsockname()) for each in silent]
        Peers(lambda: addresses, TOKEN, tmp_path, addresses).together()
        asked, _, _ = select.select(silent, [], [], 0)
        assert len(asked) == 1


def test_a_node_that_loads_alone_waits_for_nobody_though_its_own_server_is_among_the_peers(
    nodes: list[Node], origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers_module, "_GRACE", float("inf"))
    node = nodes[0]
    assert node.load([node.address]).origin == len(CONTENT)


def test_a_file_is_there_for_peers_while_it_becomes_complete(
    nodes: list[Node], origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, seen = nodes[0], list[object]()
    name = node.store.temporary("f", "mem://f", origin.object()).stem
    write = Store._write

    def watched(store: Store, *, durable: bool = False) -> None:
        if (node.directory / "data/f").exists():
            seen.append(node.server.found(name))
        write(store, durable=durable)

    monkeypatch.setattr(Store, "_write", watched)
    node.load([])
    assert seen
    assert None not in seen


def test_peers_by_address_need_no_name_service(nodes: list[Node], origin: Origin) -> None:
    nodes[0].load([])
    file, answered = nodes[0].store.temporary("f", "mem://f", origin.object()).stem, threading.Event()
    peers = Peers(lambda: [str(answered.wait(60))], TOKEN, nodes[1].directory, [nodes[0].address])
    try:
        assert peers.choose(file, 0) == nodes[0].address
    finally:
        answered.set()


def test_one_that_comes_later_reads_nothing_from_the_origin(nodes: list[Node], origin: Origin) -> None:
    nodes[0].load([])
    before = origin.sent
    assert nodes[1].load([nodes[0].address]).origin == 0
    assert origin.sent == before == len(CONTENT)


def test_one_that_dies_while_it_loads_stops_nobody(nodes: list[Node], origin: Origin) -> None:
    reads = Counter[str]()

    def each() -> None:
        reads["all"] += 1
        if reads["all"] == 30:
            nodes[0].server.token = b"that of another life"  # open connections end, too
            nodes[0].server.close()

    origin.each = each
    together(nodes, [node.address for node in nodes])
    assert reads["all"] >= 30


def test_one_whom_the_origin_refuses_stops_nobody_and_gets_all_from_the_others(
    nodes: list[Node], origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers_module, "_GRACE", float("inf"))  # others know that they need not wait
    refused = Refusing()
    nodes[0].origin = refused
    done = together(nodes, [node.address for node in nodes])
    assert done[0].origin == 0
    assert refused.asked
    assert origin.sent == len(CONTENT)


def test_of_one_that_is_slow_the_others_do_what_it_has_not_begun(
    nodes: list[Node], origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers_module, "_GRACE", float("inf"))
    slow = nodes[0].origin = Origin()
    deadline = time.monotonic() + 60

    def each() -> None:
        while origin.sent < len(CONTENT) - RANGE and time.monotonic() < deadline:
            time.sleep(0.01)

    slow.each = each
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(nodes[0].load, [node.address for node in nodes], threads=1)
        together(nodes[1:], [node.address for node in nodes])
        first.result()
    assert time.monotonic() < deadline
    assert 0 < slow.sent <= RANGE
    assert origin.sent + slow.sent == len(CONTENT)


def test_wrong_bytes_are_found_and_read_from_the_origin(nodes: list[Node], origin: Origin) -> None:
    nodes[0].load([])
    spoilt = nodes[0].directory / "data/f"
    spoilt.chmod(0o644)
    with spoilt.open("r+b") as file:
        file.seek(5 * RANGE)
        file.write(b"these are not the bytes")
    done = nodes[1].load([nodes[0].address])
    assert done.origin == len(CONTENT)
    assert nodes[1].progress.moved == 2 * len(CONTENT)


def test_a_load_from_peers_alone_asks_the_origin_for_nothing(nodes: list[Node], origin: Origin) -> None:
    nodes[0].load([])
    before = origin.sent
    done = nodes[1].load([nodes[0].address], strictly=True)
    assert (done.origin, done.from_peers, origin.sent) == (0, len(CONTENT), before)


def test_a_load_from_peers_alone_says_why_nobody_gives(
    nodes: list[Node], origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer_module, "_NOBODY", 1.0)
    empty, spoilt, gone = (node.address for node in nodes[1:])
    with pytest.raises(SourceError, match=f"f: {empty}: has it not in its cache"):
        nodes[0].load([empty], strictly=True)
    nodes[2].load([])
    before, file = origin.sent, nodes[2].directory / "data/f"
    file.chmod(0o644)
    file.write_bytes(bytes(len(CONTENT)))
    with pytest.raises(SourceError, match=f"f: {spoilt}: gave wrong bytes"):
        nodes[0].load([spoilt], strictly=True)
    nodes[3].server.close()
    with pytest.raises(SourceError, match=gone):
        nodes[0].load([gone], strictly=True)
    assert origin.sent == before


def test_a_peer_that_is_not_there_costs_little(nodes: list[Node], origin: Origin) -> None:
    nodes[1].server.close()
    assert nodes[0].load([nodes[1].address]).origin == len(CONTENT)


def test_a_peer_that_is_just_being_started_is_found_soon(nodes: list[Node], origin: Origin) -> None:
    node, now = nodes[0], [0.0]
    node.load([])
    node.server.close()
    file = node.store.temporary("f", "mem://f", origin.object()).stem
    peers = Peers(lambda: [node.address], TOKEN, nodes[1].directory, clock=lambda: now[0])
    assert peers.choose(file, 0) == MINE
    node.serve()
    now[0] += 0.25
    assert peers.choose(file, 0) == node.address


@pytest.mark.parametrize(
    ("token", "path", "status"),
    [("other", f"/{'0' * 32}", 401), (TOKEN, f"/{'0' * 32}", 404), (TOKEN, "/../index.json", 404)],
)
def test_strangers_and_other_files_are_refused(nodes: list[Node], token: str, path: str, status: int) -> None:
    request = urllib.request.Request(
        f"http://{nodes[0].address}{path}", headers={"Authorization": f"Bearer {token}"}
    )
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=60)
    assert caught.value.code == status
    caught.value.close()


@given(
    members=st.sets(st.text("abc.:1", min_size=1), min_size=2, max_size=8),
    file=st.text("0123456789abcdef"),
    number=st.integers(0, 10_000),
)
def test_when_a_member_goes_only_its_ranges_move(members: set[str], file: str, number: int) -> None:
    had = owner(members, file, number)
    assert had == owner(sorted(members, reverse=True), file, number)
    for gone in members - {had}:
        assert owner(members - {gone}, file, number) == had
    assert owner(members - {had}, file, number) in members - {had}


def test_ranges_are_shared_evenly() -> None:
    counts = Counter(owner(["a", "b", "c"], "f", number) for number in range(3000))
    assert min(counts.values()) > 900
