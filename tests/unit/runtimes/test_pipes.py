"""Bodies that come from a socket into a file: moved by the kernel, or deciphered many records at a time."""

from __future__ import annotations

import errno
import io
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from addon_framework.local.pki import Authority
from runtimes.local.assembly import RANGE, Arrival, Assembly, DiskFaultError
from runtimes.source import Object, SourceError
from runtimes.source.checksums import hasher
from runtimes.source.connections import Connections

CONTENT = os.urandom(RANGE + 300_000)
Say = Callable[[socket.socket, int, bytes], bool]  # the number of the answer, its body; whether to go on


@dataclass(frozen=True)
class Line:
    """How bodies come; `authority` is whom a client trusts."""

    tls: ssl.SSLContext | None = None
    authority: str = ""

    def over(self, timeout: float = 30.0) -> Connections:
        return Connections(timeout, self.authority)


def secured(directory: Path, version: ssl.TLSVersion, address: str = "127.0.0.1") -> Line:
    authority = Authority.create("test")
    pair = authority.issue("store", usage="server auth", addresses=[address])
    (directory / "pem").write_bytes(pair.key + pair.cert)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(directory / "pem")
    tls.minimum_version = tls.maximum_version = version
    return Line(tls, authority.cert_pem.decode())


PLAIN = Line()


@pytest.fixture(params=["plain", "TLSv1_2", "TLSv1_3"])
def line(request: pytest.FixtureRequest, tmp_path: Path) -> Line:
    return PLAIN if request.param == "plain" else secured(tmp_path, ssl.TLSVersion[request.param])


def whole(connection: socket.socket, number: int, body: bytes) -> bool:
    connection.sendall(body)
    return True


@contextmanager
def server(say: Say, line: Line = PLAIN, headers: bytes = b"") -> Iterator[tuple[str, list[int]]]:
    """Answers ranges of CONTENT on each connection until `say` has enough; how many connections came."""
    connections: list[int] = []

    def serve(connection: socket.socket) -> None:
        if line.tls is not None:
            try:
                connection = line.tls.wrap_socket(connection, server_side=True)
            except OSError:  # the client will not have it
                return
        with suppress(OSError), connection, connection.makefile("rb") as lines:
            number = 0
            while (head := _head(lines)) is not None:
                start, end = head
                body = CONTENT[start : end + 1]
                connection.sendall(
                    b"HTTP/1.1 206 Partial Content\r\n"
                    b"Content-Range: bytes %d-%d/%d\r\nContent-Length: %d\r\n%s\r\n"
                    % (start, end, len(CONTENT), len(body), headers)
                )
                if not say(connection, number, body):
                    return
                number += 1

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connections.append(1)
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield f"{'https' if line.tls else 'http'}://127.0.0.1:{listener.getsockname()[1]}/", connections
        listener.shutdown(socket.SHUT_RDWR)


def _head(lines: io.BufferedReader) -> tuple[int, int] | None:
    bounds = None
    while line := lines.readline().strip():
        if line.lower().startswith(b"range: bytes="):
            first, _, last = line.partition(b"=")[2].partition(b"-")
            bounds = int(first), int(last)
    return bounds


def assembly(directory: Path, kind: str = "crc32") -> Assembly:
    sums = hasher(kind)
    sums.update(CONTENT)
    obj = Object(path="file", size=len(CONTENT), etag="1", stored=(kind, sums.hexdigest()))
    return Assembly(obj, directory / "file.part")


def fetch(
    connections: Connections, url: str, into: Assembly, number: int, came: Callable[[int], None]
) -> None:
    start, end = into.bounds(number)
    headers = {"Range": f"bytes={start}-{end - 1}"}
    with connections.request("GET", urlsplit(url), "/", headers) as response:
        connections.pour(response, start, end, Arrival(into, number, came), "file")
    into.complete(number)


@pytest.mark.parametrize("kind", ["crc32", "sha256"])
def test_a_body_is_written_and_verified_without_being_received(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved: list[int] = []
    splice = os.splice

    def counted(*args: int, **more: int) -> int:
        moved.append(splice(*args, **more))
        return moved[-1]

    monkeypatch.setattr(os, "splice", counted)
    file, counts = assembly(tmp_path, kind), list[int]()
    with server(whole) as (url, connections):
        over = Connections()
        for number in range(file.count):
            fetch(over, url, file, number, counts.append)
    assert file.finish().read_bytes() == CONTENT
    assert sum(counts) == len(CONTENT)
    assert sum(moved) > 1.9 * len(CONTENT), "into a pipe, and out of it"
    assert len(connections) == 1, "the second range comes over the same connection"


def test_a_kernel_that_cannot_is_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def cannot(source: int, *_: int, **__: int) -> int:
        asked.append(source)
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "splice", cannot)
    file = assembly(tmp_path)
    with server(whole) as (url, _):
        over = Connections()
        for number in range(file.count):
            fetch(over, url, file, number, lambda _: None)
    assert file.finish().read_bytes() == CONTENT
    assert len(asked) == 1


def test_a_file_system_that_takes_nothing_from_pipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    splice = os.splice

    def only_in(*args: int, offset_dst: int | None = None) -> int:
        if offset_dst is not None:
            raise OSError(errno.EINVAL, "Invalid argument")
        return splice(*args)

    monkeypatch.setattr(os, "splice", only_in)
    file = assembly(tmp_path)
    with server(whole) as (url, _):
        for number in range(file.count):
            fetch(Connections(), url, file, number, lambda _: None)
    assert file.finish().read_bytes() == CONTENT


def test_a_full_disk_is_no_fault_of_the_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    splice = os.splice

    def full(*args: int, offset_dst: int | None = None) -> int:
        if offset_dst is not None:
            raise OSError(errno.ENOSPC, "No space left on device")
        return splice(*args)

    monkeypatch.setattr(os, "splice", full)
    with server(whole) as (url, _), pytest.raises(DiskFaultError, match="No space left"):
        fetch(Connections(), url, assembly(tmp_path), 0, lambda _: None)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_over_tls_many_records_are_written_at_a_time(tmp_path: Path, version: ssl.TLSVersion) -> None:
    line, file, counts = secured(tmp_path, version), assembly(tmp_path), list[int]()
    with server(whole, line) as (url, connections):
        over = line.over()
        for number in range(file.count):
            fetch(over, url, file, number, counts.append)
    assert file.finish().read_bytes() == CONTENT
    assert sum(counts) == len(CONTENT)
    assert len(counts) < len(CONTENT) / (1 << 17)
    assert len(connections) == 1


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_certificate_is_for_one_server_and_no_other(tmp_path: Path, version: ssl.TLSVersion) -> None:
    line = secured(tmp_path, version, "127.0.0.2")
    with server(whole, line) as (url, _), pytest.raises(SourceError, match="IP address mismatch") as caught:
        fetch(line.over(), url, assembly(tmp_path), 0, lambda _: None)
    assert caught.value.permanent


def test_few_bytes_are_passed_on_before_more_come(tmp_path: Path, line: Line) -> None:
    heard, counts = threading.Event(), list[int]()

    def say(connection: socket.socket, number: int, body: bytes) -> bool:
        connection.sendall(body[:100_000])
        assert heard.wait(30)
        connection.sendall(body[100_000:])
        return True

    def came(count: int) -> None:
        counts.append(count)
        if sum(counts) >= 100_000:
            heard.set()

    file = assembly(tmp_path)
    with server(say, line) as (url, _):
        over = line.over()
        for number in range(file.count):
            fetch(over, url, file, number, came)
    assert file.finish().read_bytes() == CONTENT


def test_an_answer_that_ends_early_says_how_much_is_missing(tmp_path: Path, line: Line) -> None:
    def say(connection: socket.socket, number: int, body: bytes) -> bool:
        connection.sendall(body[:-1000])
        return False

    with server(say, line) as (url, _), pytest.raises(SourceError, match="ended 1000 bytes early"):
        fetch(line.over(), url, assembly(tmp_path), 0, lambda _: None)


@pytest.mark.parametrize("headers", [b"Connection: close\r\n", b""], ids=["announced", "not announced"])
def test_a_server_that_closes_after_each_answer(tmp_path: Path, line: Line, headers: bytes) -> None:
    def say(connection: socket.socket, number: int, body: bytes) -> bool:
        connection.sendall(body)
        return False

    file = assembly(tmp_path)
    with server(say, line, headers) as (url, connections):
        over = line.over()
        for number in range(file.count):
            fetch(over, url, file, number, lambda _: None)
    assert file.finish().read_bytes() == CONTENT
    assert len(connections) == file.count


def test_a_server_that_says_no_more_is_given_up(tmp_path: Path, line: Line) -> None:
    enough = threading.Event()

    def say(connection: socket.socket, number: int, body: bytes) -> bool:
        connection.sendall(body[:-1_000_000])
        return enough.wait(30)

    with server(say, line) as (url, _):
        with pytest.raises(SourceError, match="timed out"):
            fetch(line.over(timeout=1.0), url, assembly(tmp_path), 0, lambda _: None)
        enough.set()
