"""Copies what a cache lacks: many ranges at once, each tried again with back-off until the source answers."""

from __future__ import annotations

import functools
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import TypeVar

from runtimes.local.assembly import ABSENT, CLAIMED, READING, REFUSED, Arrival, Assembly, DiskFaultError
from runtimes.local.awaiting import Awaited
from runtimes.local.order import Item, Order
from runtimes.local.peers import LATER, MINE, ORIGIN, THEIRS, Peers
from runtimes.local.store import Store
from runtimes.reporting import Progress
from runtimes.source import Sink, SourceError

T = TypeVar("T")
THREADS = 16
_BASE, _MAX = 0.1, 5.0
_SMALLEST = 1 << 18  # bytes of a file that peers are asked for
_LARGE = 8 << 20  # bytes of a file whose MD5 costs more than asking for something better
_POLL = 0.02  # seconds between looks at a range that a peer is about to have
_NOBODY = 30.0  # seconds without a byte after which what only peers may give is given up


class Transfer:
    """Runs the copy. `patience` is how long it goes on without a single byte arriving.

    `strictly`: what a checksum will vouch for comes from peers, or not at all.
    """

    def __init__(
        self,
        store: Store,
        items: list[Item],
        progress: Progress,
        *,
        threads: int = THREADS,
        peers: Peers | None = None,
        strictly: bool = False,
        patience: float = 300,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        self._store, self._progress, self._threads = store, progress, threads
        self._peers, self._givers = peers, dict[Assembly, set[str]]()
        self._refused = Counter[tuple[Assembly, int]]()  # how often, the origin each range
        self._doubtful = False  # whether the origin's last answer was a refusal
        self._asked = set[tuple[Assembly, int]]()  # what nothing has come of yet
        self._passed = 0  # ranges in a row that were left to others
        self._strictly = strictly
        self._patience, self._clock = patience, clock
        self._awaited = Awaited(store.directory)
        self._order = Order(items, self._begin, self._first, ahead=threads)
        self._lock = threading.Lock()
        self._error: Exception | None = None
        self._stop = threading.Event()
        self._wait = wait or self._stop.wait
        self._moved_at = clock()
        self.origin = 0  # bytes that came from there
        self.unverified = 0  # files whose source tells no checksum that can be compared

    @property
    def from_peers(self) -> int:
        """Bytes that came from other nodes."""
        return self._peers.bytes if self._peers is not None else 0

    def run(self) -> None:
        """Returns when every file is complete. Raises SourceError, or OSError of the disk."""
        threads = [threading.Thread(target=self._work, daemon=True) for _ in range(self._threads)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for assembly in self._order.open:
            assembly.close()
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        try:
            while (job := self._order.next()) is not None:
                self._range(*job)
                self._order.done()
        except Exception as error:  # whatever it is, the copy is not complete
            self._error = self._error or error
            self._stop.set()
            self._order.end()

    def _begin(self, item: Item) -> Assembly | None:
        """Files are opened only when their turn has come."""
        if item.object.checksum is None or (item.object.md5 and item.object.size >= _LARGE):
            item.object = self._again(functools.partial(item.source.detailed, item.object))
        assembly = Assembly(item.object, self._store.temporary(item.path, item.url, item.object))
        with self._progress.lock:
            self._progress.bytes += assembly.present
        if assembly.missing:
            return assembly
        self._finish(item, assembly)  # killed between the last byte and the rename
        return None

    def _first(self) -> Collection[str] | None:
        """What others wait for, if that has changed; who has just come may wait for what is complete."""
        if (targets := self._awaited.changed()) is not None:
            self._store.tell()
        return targets

    def _range(self, item: Item, assembly: Assembly, number: int) -> None:
        start, end = assembly.bounds(number)
        giver = self._giver(item, assembly, number)
        if giver == LATER:
            self._wait(_POLL)
            self._order.again(item, assembly, [number])
            return
        if giver == ORIGIN:
            self._ask(assembly, number)

        def came(count: int) -> None:
            if (assembly, number) in self._asked:
                self._came(assembly, number)
            self._progress.add(count)
            self._moved_at = self._clock()

        def attempt() -> bool:
            sink = Arrival(assembly, number, came)
            try:
                if giver:
                    self._peers_read(giver, assembly, number, sink)
                    return True
                return start == end or item.source.read(item.object, start, end, sink)
            except SourceError:
                self._progress.add(sink.start - sink.position)
                raise
            except DiskFaultError as fault:
                raise fault.error from None

        try:
            trusted = attempt() if self._peers is not None else self._again(attempt)
        except SourceError as error:
            if self._peers is None:
                raise
            if not giver:
                self._pause(error, self._refuse(assembly, number))
            elif not error.stale:
                self._peers.drop(giver, str(error))
            self._order.again(item, assembly, [number])
            return
        if not trusted:
            assembly.distrust()
        if not giver:
            with self._lock:
                self._asked.discard((assembly, number))
                self.origin += end - start
            if self._peers is not None:
                self._peers.arrived()
        if assembly.complete(number) and not self._deceived(item, assembly):
            self._finish(item, assembly)

    def _giver(self, item: Item, assembly: Assembly, number: int) -> str:
        """Peers are only believed where a checksum will tell, and where all know the version by a name."""
        if self._peers is None or not assembly.verified or not item.object.etag:
            return ORIGIN
        if self._strictly and item.object.size:
            return self._given(item, assembly, number)
        if item.object.size < _SMALLEST and not self._refused[assembly, number]:
            return ORIGIN  # asking who has it costs as much
        giver = self._peers.choose(assembly.name, number)
        if self._is_idle(giver) and giver == THEIRS:
            giver = MINE
        if giver == MINE:
            assembly.mark(number, CLAIMED)
            if self._peers.claim(assembly.name, number):
                return ORIGIN
            assembly.mark(number, ABSENT)
        return LATER if giver in (MINE, THEIRS) else giver

    def _is_idle(self, giver: str) -> bool:
        """Whether all ranges that are left were left to others: one can as well begin with those."""
        with self._lock:
            self._passed = self._passed + 1 if giver in (THEIRS, LATER) else 0
            return self._passed > self._order.waiting + self._threads

    def _given(self, item: Item, assembly: Assembly, number: int) -> str:
        """A peer that has it, or LATER. Raises SourceError when none gives anything for long."""
        assert self._peers is not None
        giver = self._peers.choose(assembly.name, number)
        if giver not in (MINE, THEIRS, ORIGIN, LATER):
            return giver
        if self._clock() - self._moved_at > _NOBODY:
            raise SourceError(f"{item.path}: {self._peers.lacking()}", permanent=True)
        return LATER

    def _peers_read(self, peer: str, assembly: Assembly, number: int, sink: Sink) -> None:
        assert self._peers is not None
        with self._lock:
            self._givers.setdefault(assembly, set()).add(peer)
        start, end = assembly.bounds(number)
        self._peers.read(peer, assembly.name, number, end - start, sink)

    def _deceived(self, item: Item, assembly: Assembly) -> bool:
        """Whether peers gave wrong bytes: they are not asked again, and the file is read anew."""
        givers = self._givers.pop(assembly, None)
        if self._peers is None or not givers or assembly.distrusted or assembly.matches():
            return False
        for peer in givers:
            self._peers.drop(peer, f"{peer}: gave wrong bytes", float("inf"))
        self._progress.trouble = (
            f"{item.object.path}: wrong bytes from {', '.join(sorted(givers))}; read anew"
        )
        self._progress.add(-item.object.size)
        assembly.restart()
        self._order.again(item, assembly, assembly.missing)
        return True

    def _ask(self, assembly: Assembly, number: int) -> None:
        """The origin, soon; while it refuses us peers shall not wait for what we want of it."""
        with self._lock:
            self._asked.add((assembly, number))
            assembly.mark(number, REFUSED if self._doubtful else READING)

    def _came(self, assembly: Assembly, number: int) -> None:
        """The origin answers."""
        with self._lock:
            self._doubtful = False
            self._asked.discard((assembly, number))
            assembly.mark(number, READING)

    def _refuse(self, assembly: Assembly, number: int) -> int:
        """The origin does not; how often it has not given this range before."""
        with self._lock:
            self._doubtful = True
            for other, its in self._asked:
                other.mark(its, REFUSED)
            self._asked.discard((assembly, number))
            assembly.mark(number, REFUSED)
            self._refused[assembly, number] += 1
            return self._refused[assembly, number] - 1

    def _again(self, attempt: Callable[[], T]) -> T:
        """Until the source answers, or will not."""
        failures = 0
        while True:
            try:
                return attempt()
            except SourceError as error:
                self._pause(error, failures)
                failures += 1

    def _pause(self, error: SourceError, failures: int) -> None:
        """Before the source is asked again. Raises what makes that useless."""
        idle = self._clock() - self._moved_at
        if error.permanent or error.stale or idle > self._patience or self._stop.is_set():
            raise error
        self._progress.trouble = str(error)
        self._wait(min(_BASE * 2**failures, _MAX) * (0.5 + random.random()))

    def _finish(self, item: Item, assembly: Assembly) -> None:
        """A file whose checksum is wrong is read once more from the start, by a later run."""
        if assembly.distrusted:
            item.object = self._again(lambda: item.source.detailed(replace(item.object, md5="")))
            assembly.trust(item.object)
        with self._lock:
            self.unverified += not assembly.verified and item.object.size > 0
        self._store.add(item.path, item.url, item.object, assembly.finish())
        self._progress.complete(item.path)
        if self._order.finished(item, assembly):
            self._store.tell()
