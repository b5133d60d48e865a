"""Other caches of the same Dataset, asked before the origin.

Each node reads from the origin the ranges that it owns (see ownership) among those who are loading the file
at that moment, and takes the others from whoever has them. Who loads alone owns everything; who comes later
takes what is there. Nobody waits long: a peer that does not answer is left out for a while, and a node that
gets nothing takes over one range after the other.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import http.client
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from runtimes.local import assembly
from runtimes.local.ownership import owner
from runtimes.source.connections import Connections
from runtimes.source.objects import Sink, SourceError

PORT = 9465
_TIMEOUT = 2.0  # seconds for an answer
_FRESH = 0.1  # seconds for which an answer about ranges is good
_AWAY = 5.0  # seconds for which a peer that failed is not asked
_SOON = 0.2  # seconds that a name may take
_RESOLVED = 2.0  # seconds for which a name is
_GRACE, _SHORTEST = 5.0, 0.05  # seconds without a range after which one is taken over
ORIGIN, LATER = "", "later"
_KEYS = re.compile(r"SOURCE\d+_(ACCESS_KEY|SECRET_KEY|TOKEN)")


@dataclass
class _View:
    marks: bytes | None = None  # None: it has no part of the file
    at: float = -1e9
    lock: threading.Lock = field(default_factory=threading.Lock)


class Peers:
    """Used by many threads at once. `find` names the peers as host:port; `own` is this node's address."""

    def __init__(
        self,
        find: Callable[[], Sequence[str]],
        token: str,
        own: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._find, self._headers = find, {"Authorization": f"Bearer {token}"}
        self._own, self._clock = own, clock
        self._connections = Connections(timeout=_TIMEOUT)
        self._lock = threading.Lock()
        self._found: tuple[str, ...] = ()
        self._views: dict[tuple[str, str], _View] = {}
        self._away: dict[str, float] = {}
        self._got_at, self._grace = clock(), _GRACE
        self._turn = 0
        self.bytes = 0
        self._found_at = clock()
        self._look()

    def choose(self, file: str, number: int) -> str:
        """A peer that has the range, ORIGIN to read it there, or LATER when somebody else is about to."""
        known = {peer: marks for peer in self._members() if (marks := self._marks(peer, file)) is not None}
        with self._lock:
            if having := [peer for peer, marks in known.items() if marks[number : number + 1] == b"\1"]:
                self._turn += 1
                return having[self._turn % len(having)]
            reading = any(marks[number : number + 1] == b"\2" for marks in known.values())
            loading = [peer for peer, marks in known.items() if b"\0" in marks or b"\2" in marks]
            if not reading and owner([*loading, self._own], file, number) == self._own:
                return ORIGIN
            if self._clock() - self._got_at > self._grace:
                self._got_at, self._grace = self._clock(), max(_SHORTEST, self._grace / 2)
                return ORIGIN
            return LATER

    def read(self, peer: str, file: str, number: int, length: int, sink: Sink) -> None:
        """A range. Raises SourceError, after which the peer is not asked for a while."""
        with self._answer(peer, f"/{file}/{number}") as response:
            if response.status != 200 or response.length != length:
                raise SourceError(f"{peer}: has not {length} bytes of range {number} of {file}")
            self._connections.pour(response, 0, length, sink, f"{peer}: {file}")
        with self._lock:
            self._got_at, self._grace = self._clock(), _GRACE
            self.bytes += length

    def compiled(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Who has compiled code of engines: names and bytes of archives, as they say."""
        for peer in self._members():
            with contextlib.suppress(SourceError, ValueError), self._answer(peer, "/compiled") as response:
                if response.status == 200 and isinstance(said := json.loads(response.read()), dict):
                    yield peer, said

    def archive(self, peer: str, name: str, length: int, sink: Sink) -> None:
        """One of them. Raises SourceError."""
        with self._answer(peer, f"/compiled/{name}") as response:
            if response.status != 200 or response.length != length:
                raise SourceError(f"{peer}: has not {length} bytes of {name}")
            self._connections.pour(response, 0, length, sink, f"{peer}: {name}")

    def arrived(self) -> None:
        """A range has come from the origin."""
        with self._lock:
            self._got_at = self._clock()

    def drop(self, peer: str, seconds: float = _AWAY) -> None:
        """It failed."""
        with self._lock:
            self._away[peer] = self._clock() + seconds

    def _answer(self, peer: str, path: str) -> AbstractContextManager[http.client.HTTPResponse]:
        return self._connections.request("GET", urlsplit(f"http://{peer}"), path, self._headers)

    def _members(self) -> list[str]:
        now = self._clock()
        with self._lock:
            due = now - self._found_at > _RESOLVED
            if due:
                self._found_at = now
        if due:
            self._look()
        with self._lock:
            return [p for p in self._found if p != self._own and self._away.get(p, 0.0) <= now]

    def _look(self) -> None:
        """A name service that does not answer holds up nobody for long."""
        thread = threading.Thread(target=self._resolve, daemon=True)
        thread.start()
        thread.join(_SOON)

    def _resolve(self) -> None:
        found = tuple(self._find())
        with self._lock:
            self._found = found

    def _marks(self, peer: str, file: str) -> bytes | None:
        with self._lock:
            view = self._views.setdefault((peer, file), _View())
        with view.lock:
            if self._clock() - view.at > _FRESH and self._away.get(peer, 0.0) <= self._clock():
                try:
                    view.marks = self._ask(peer, file)
                except SourceError:
                    view.marks = None
                    self.drop(peer)
                view.at = self._clock()
            return view.marks

    def _ask(self, peer: str, file: str) -> bytes | None:
        with self._answer(peer, f"/{file}") as response:
            body = bytes(response.read())
            if response.status == 404:
                return None
            if response.status != 200 or response.headers.get("Range-Size") != str(assembly.RANGE):
                raise SourceError(f"{peer}: answers {response.status}, or has ranges of another size")
            return body


def token_of(environment: Mapping[str, str]) -> str:
    """The user's, or one that only those know who could read the sources themselves."""
    if given := environment.get("PEERS_TOKEN"):
        return given
    keys = sorted((name, value) for name, value in environment.items() if _KEYS.fullmatch(name) and value)
    return hmac.new(json.dumps(keys).encode(), b"boundaryless peers", hashlib.sha256).hexdigest()


def other_nodes(specification: Mapping[str, Any], environment: Mapping[str, str]) -> Peers | None:
    """The other nodes, if the cache has peers; the worker of this node has written down its address."""
    said = specification.get("peers")
    if not said:
        return None
    try:
        own = (Path(specification["directory"]) / "address").read_text()
    except FileNotFoundError:
        own = ""
    return Peers(resolver(said["service"], said.get("addresses") or ()), token_of(environment), own)


def resolver(name: str, more: Sequence[str] = (), port: int = PORT) -> Callable[[], Sequence[str]]:
    """Every address of a headless Service, as host:port, and `more`; the Service may have none yet."""

    def find() -> Sequence[str]:
        try:
            found = socket.getaddrinfo(name, port, socket.AF_INET, socket.SOCK_STREAM)
        except OSError:
            found = []
        return sorted({f"{address[4][0]}:{port}" for address in found} | set(more))

    return find
