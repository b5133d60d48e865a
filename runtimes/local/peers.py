"""Other caches of the same Dataset, asked before the origin.

Each node reads from the origin the ranges that it owns (see ownership) among those who are loading the file
at that moment, then those of others that nobody has begun, and takes what others have. Who loads alone owns
everything; who comes later takes what is there. What others know of one is a moment old, so a range is
claimed first (see `claim`). Nobody waits long: a peer that does not answer is left out for a while, one to
which the origin gives nothing owns nothing, and a node that gets nothing, while the peers get nothing either,
takes over one range after the other.
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
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from runtimes.local import assembly
from runtimes.local.assembly import ABSENT, CLAIMED, READING, REFUSED, THERE
from runtimes.local.ownership import owner
from runtimes.source.connections import Connections
from runtimes.source.objects import Sink, SourceError

PORT = 9465
SERVER = "server"  # file beside the data: the id of the node's own server
_TIMEOUT = 2.0  # seconds for an answer
_FRESH = 0.1  # seconds for which an answer about ranges is good
_AWAY = 5.0  # seconds for which a peer that failed is not asked, at most
_AWHILE, _TIMES = 0.2, 10  # at least, and how many times as long as it took to find out
_SOON = 0.2  # seconds that a name may take
_RESOLVED = 2.0  # seconds for which a name is
_GRACE, _SHORTEST = 5.0, 0.05  # seconds without a range after which one is taken over
_OFTEN = 100  # times that a peer says it has what it has not
_POLL = 0.02  # seconds between looks at a claim that is not settled
_TOGETHER = 1.0  # seconds that a load waits for those that begin with it
_ASKING = 0.001  # seconds: an answer may be as old for each peer, so that asking many costs little
ORIGIN, MINE, THEIRS, LATER = "", "mine", "theirs", "later"  # what is no peer
_KEYS = re.compile(r"SOURCE\d+_(ACCESS_KEY|SECRET_KEY|TOKEN|OPTION_.+)")


@dataclass
class _View:
    marks: bytes | None = None  # None: it has no part of the file
    written: int = 0  # bytes of the file
    at: float = -1e9  # when it was asked
    lock: threading.Lock = field(default_factory=threading.Lock)


class Peers:
    """Used by many threads at once. `find` names the caches as host:port, `known` are some while it has not
    answered yet. One of them may be the server of this `directory`, perhaps from now on, or by another name
    than before: it is known by the id that it answers with, and never waited for.
    """

    def __init__(
        self,
        find: Callable[[], Sequence[str]],
        token: str,
        directory: Path,
        known: Sequence[str] = (),
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        self._find, self._headers = find, {"Authorization": f"Bearer {token}"}
        self._directory, self._clock, self._wait = directory, clock, wait
        self._own = ""  # this node's address, once its server has answered
        self._connections = Connections(timeout=_TIMEOUT)
        self._lock = threading.Lock()
        self._found = tuple(known)
        self._views: dict[tuple[str, str], _View] = {}
        self._away: dict[str, float] = {}
        self._why: dict[str, str] = {}  # what was wrong with a peer when it was last asked
        self._got_at, self._grace, self._coming = clock(), _GRACE, 0
        self._turn, self._gone = 0, Counter[str]()
        self.bytes = 0
        self._found_at = clock()
        self._look()

    def together(self) -> None:
        """Waits a moment for peers whose servers are only just being started, as this node's may be: what is
        read before they can be asked each reads for itself. It may take that long to see that one is away."""
        began = self._clock()
        for peer in self._found if len(self._found) > 1 else ():
            while not self._answers(peer):
                if self._clock() - began > _TOGETHER:
                    return
                self._wait(_POLL)

    def choose(self, file: str, number: int) -> str:
        """A peer that has the range; MINE to claim it and read it at the origin, THEIRS where that is rather
        for others; LATER when somebody is about to, or ORIGIN to read it all the same: nothing comes."""
        known = self._known(file, self._clock() - _FRESH)
        with self._lock:
            if having := [peer for peer, marks in known.items() if _of(marks, number) == THERE]:
                self._turn += 1
                return having[self._turn % len(having)]
            begun = {_of(marks, number) for marks in known.values()}
            loading = [peer for peer, marks in known.items() if _is_loading(marks)]
            mine = owner([*loading, self._own], file, number) == self._own
            if mine and not begun & {READING, REFUSED}:
                return MINE
            if not begun & {READING, CLAIMED}:
                return THEIRS
            if self._clock() - self._got_at > self._grace:
                self._got_at, self._grace = self._clock(), max(_SHORTEST, self._grace / 2)
                return ORIGIN
            return LATER

    def claim(self, file: str, number: int) -> bool:
        """Whether a range is to be read here, once peers can see that it is claimed here.

        Of two that claim it, at least the later one sees the other, and both know whose it is: that one waits
        until the other has given way, or has begun to read (Lamport's bakery, one range a customer).
        """
        began = self._clock()
        while True:
            looked = self._clock()
            marks = {peer: _of(known, number) for peer, known in self._known(file, looked).items()}
            if any(mark in (THERE, READING) for mark in marks.values()):
                return False
            claiming = [peer for peer, mark in marks.items() if mark == CLAIMED]
            if not claiming or looked - began > _TIMEOUT:
                return True
            if owner([*claiming, self._own], file, number) != self._own:
                return False
            self._wait(_POLL)

    def read(self, peer: str, file: str, number: int, length: int, sink: Sink) -> None:
        """A range. Raises SourceError, after which the peer is not asked for a while unless it is stale."""
        with self._answer(peer, f"/{file}/{number}") as response:
            if response.status == 404:  # the file has just been moved, or evicted
                response.read()
                raise self._stale(peer, file)
            if response.status != 200 or response.length != length:
                raise SourceError(f"{peer}: has not {length} bytes of range {number} of {file}")
            self._connections.pour(response, 0, length, sink, f"{peer}: {file}")
        with self._lock:
            self._got(length)
            self.bytes += length

    def listing(self) -> tuple[str, bytes]:
        """Who has all of the Dataset, and what that is. Raises SourceError."""
        why = ["nobody is known who might have it"]
        for peer in self._members():
            try:
                with self._answer(peer, "/listing") as response:
                    text = bytes(response.read())
                    if response.status == 200:
                        return peer, text
                    why.append(f"{peer}: has not all of it")
            except SourceError as error:
                why.append(str(error))
        raise SourceError("; ".join(why[1:] or why))

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

    def drop(self, peer: str, why: str, seconds: float = _AWAY) -> None:
        """It failed."""
        with self._lock:
            self._away[peer], self._why[peer] = self._clock() + seconds, why

    def lacking(self) -> str:
        """Why nobody gives a file that nobody seems to have."""
        with self._lock:
            others = [peer for peer in self._found if peer != self._own]
            return "; ".join(self._why.get(p) or f"{p}: has it not in its cache" for p in others)

    @contextlib.contextmanager
    def _answer(self, peer: str, path: str) -> Iterator[http.client.HTTPResponse]:
        url = urlsplit(f"http://{peer}")
        with self._connections.request("GET", url, path, self._headers) as response:
            if self._is_mine(response.headers.get("Server-Id")):
                with self._lock:
                    self._own = peer
                raise SourceError(f"{peer}: is this node")
            yield response

    def _answers(self, peer: str) -> bool:
        try:
            with self._answer(peer, "/") as response:
                response.read()
        except SourceError:
            return peer == self._own
        return True

    def _is_mine(self, server: str | None) -> bool:
        try:
            return server == (self._directory / SERVER).read_text()
        except FileNotFoundError:  # this node has had none yet
            return False

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

    def _stale(self, peer: str, file: str) -> SourceError:
        with self._lock:
            self._views[peer, file].at = -1e9
            self._gone[peer] += 1
            often = self._gone[peer] > _OFTEN
        return SourceError(f"{peer}: has {file} no more", stale=not often)

    def _got(self, length: int) -> None:
        """Bytes have come, here or to a peer. A range's worth is a reason to wait for more."""
        self._coming += length
        if self._coming >= assembly.RANGE:
            self._got_at, self._grace, self._coming = self._clock(), _GRACE, 0

    def _known(self, file: str, since: float) -> dict[str, bytes]:
        """What peers say of the file's ranges; those who load it, after `since`."""
        members = self._members()
        views = {peer: self._view(peer, file, since, len(members) * _ASKING) for peer in members}
        return {peer: marks for peer, marks in views.items() if marks is not None}

    def _view(self, peer: str, file: str, since: float, idle: float) -> bytes | None:
        with self._lock:
            view = self._views.setdefault((peer, file), _View())
        with view.lock:
            old = view.at < (since if view.marks is not None else since - idle)
            if old and self._away.get(peer, 0.0) <= self._clock():
                began = view.at = self._clock()
                try:
                    marks, written = self._ask(peer, file)
                except (SourceError, ValueError) as error:  # it cannot be reached, or talks nonsense
                    marks, written = None, 0
                    # One that is just being started says so at once.
                    took = self._clock() - began
                    self.drop(peer, str(error), min(max(_AWHILE, _TIMES * took), _AWAY))
                else:
                    with self._lock:
                        self._why.pop(peer, None)
                if marks is not None and view.marks is not None:
                    with self._lock:
                        self._got(max(written - view.written, 0))
                view.marks, view.written = marks, written
            return view.marks

    def _ask(self, peer: str, file: str) -> tuple[bytes | None, int]:
        with self._answer(peer, f"/{file}") as response:
            body = bytes(response.read())
            if response.status == 404:
                return None, 0
            if response.status != 200 or response.headers.get("Range-Size") != str(assembly.RANGE):
                raise SourceError(f"{peer}: answers {response.status}, or has ranges of another size")
            return body, int(response.headers.get("Written") or 0)


def _is_loading(marks: bytes) -> bool:
    """With an origin that answers."""
    return REFUSED not in marks and any(mark != THERE for mark in marks)


def _of(marks: bytes, number: int) -> int:
    """A file that has just been opened is still short."""
    return marks[number] if number < len(marks) else ABSENT


def token_of(environment: Mapping[str, str]) -> str:
    """The user's, or one that only those know who could read the sources themselves."""
    if given := environment.get("PEERS_TOKEN"):
        return given
    keys = sorted((name, value) for name, value in environment.items() if _KEYS.fullmatch(name) and value)
    return hmac.new(json.dumps(keys).encode(), b"boundaryless peers", hashlib.sha256).hexdigest()


def other_nodes(specification: Mapping[str, Any], environment: Mapping[str, str]) -> Peers | None:
    """The other nodes, if the cache has peers, or those that it is to be filled `from`."""
    said = specification.get("peers")
    if not said:
        return None
    given, addresses = specification.get("from"), said.get("addresses") or ()
    find = (lambda: given) if given else resolver(said["service"], addresses)
    return Peers(find, token_of(environment), Path(specification["directory"]), given or addresses)


def resolver(name: str, more: Sequence[str] = (), port: int = PORT) -> Callable[[], Sequence[str]]:
    """Every address of a headless Service, as host:port, and `more`; the Service may have none yet."""

    def find() -> Sequence[str]:
        try:
            found = socket.getaddrinfo(name, port, socket.AF_INET, socket.SOCK_STREAM)
        except OSError:
            found = []
        return sorted({f"{address[4][0]}:{port}" for address in found} | set(more))

    return find
