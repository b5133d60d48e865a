"""Compiled code that nodes give one another: over real connections, from servers that may lie."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from runtimes.local.compiled import archives, fetch
from runtimes.local.peers import Peers
from runtimes.local.serving import PeerServer

TOKEN = "a-token"


def put(directory: Path, key: str, content: bytes) -> str:
    """An archive as a launcher leaves it."""
    name = f"{key * 32}.{hashlib.sha256(content).hexdigest()}.tar"
    (directory / "compiled").mkdir(parents=True, exist_ok=True)
    (directory / "compiled" / name).write_bytes(content)
    return name


@contextmanager
def liar(answers: dict[str, bytes]) -> Iterator[str]:
    """A peer that says what it wants."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = answers.get(self.path)
            self.send_response(200 if body is not None else 404)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield "{}:{}".format(*server.server_address[:2])
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Of another node's server."""
    (tmp_path / "there").mkdir()
    server = PeerServer(("127.0.0.1", 0), tmp_path / "there", TOKEN)
    yield "{}:{}".format(*server.server_address[:2])
    server.close()


@pytest.fixture
def there(tmp_path: Path, address: str) -> tuple[Path, Peers]:
    """Another node's directory, and how it is reached."""
    return tmp_path / "there", Peers(lambda: [address], TOKEN, tmp_path / "here")


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """Our node's, on which an engine is."""
    (tmp_path / "here" / "compiled").mkdir(parents=True)
    return tmp_path / "here"


def test_what_is_missing_comes_once(here, there):
    directory, peers = there
    name = put(directory, "a", os.urandom(3_000_000))
    assert fetch(here, peers) == 1
    assert (here / "compiled" / name).read_bytes() == (directory / "compiled" / name).read_bytes()
    assert fetch(here, peers) == 0
    put(directory, "a", b"of the same key: ours is as good")
    assert fetch(here, peers) == 0


def test_only_archives_are_shown(here, there):
    directory, peers = there
    put(directory, "a", b"x")
    (directory / "compiled" / ".unfinished.new").touch()
    (directory / "secret").write_text("s")
    os.symlink(directory / "secret", directory / "compiled" / f"{'b' * 32}.{'c' * 64}.tar")
    assert [list(said) for _, said in peers.compiled()] == [[next(iter(archives(directory)))]]
    assert fetch(here, peers) == 1


def test_where_no_engine_is_nothing_is_fetched(tmp_path, there):
    directory, peers = there
    put(directory, "a", b"x")
    assert fetch(tmp_path / "nothing", peers) == 0
    assert not (tmp_path / "nothing").exists()


def test_no_more_than_there_may_be(here, there):
    directory, peers = there
    put(here, "a", bytes(600))
    put(directory, "b", bytes(600))
    assert fetch(here, peers, limit=1000) == 0
    assert fetch(here, peers, limit=1200) == 1


def test_bytes_that_are_not_those_of_the_name_are_thrown_away(here, there, capfd):
    directory, peers = there
    name = put(directory, "a", b"12345")
    (directory / "compiled" / name).write_bytes(b"54321")
    assert fetch(here, peers) == 0
    assert os.listdir(here / "compiled") == []
    assert "SHA-256" in capfd.readouterr().err


@pytest.mark.parametrize(
    "said",
    [
        b"nonsense",
        b"[]",
        json.dumps({"../../outside": 1}).encode(),
        json.dumps({f"{'a' * 32}.{'b' * 64}.tar": "many"}).encode(),
        json.dumps({f"{'a' * 32}.{'b' * 64}.tar": 5}).encode(),
    ],
)
def test_a_peer_that_talks_nonsense_keeps_no_other_from_being_asked(here, there, address, said):
    directory, _ = there
    put(directory, "c", b"x")
    with liar({"/compiled": said, f"/compiled/{'a' * 32}.{'b' * 64}.tar": b"12345"}) as liar_address:
        peers = Peers(lambda: [liar_address, address], TOKEN, here)
        assert fetch(here, peers) == 1
    assert [name[0] for name in os.listdir(here / "compiled")] == ["c"]
