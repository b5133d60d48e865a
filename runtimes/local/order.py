"""What a load reads next: file after file, but those that somebody waits for before all others."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from runtimes.local.assembly import Assembly
from runtimes.local.awaiting import below
from runtimes.source import Object, ObjectSource


@dataclass
class Item:
    """One file to copy: its source, and where it will be in the Dataset."""

    path: str
    url: str
    source: ObjectSource
    object: Object

    @property
    def is_weights(self) -> bool:
        """Whether engines read it last, once they know all the rest."""
        return self.path.endswith(".safetensors")


def version(items: Iterable[Item]) -> str:
    """A name for what the sources have now."""
    said = sorted((i.path, i.url, i.object.size, i.object.etag) for i in items)
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]


Job = tuple[Item, Assembly, int]


class Order:
    """Used by many threads at once, each of which has one range at a time.

    `begin` opens a file, or says None where nothing is left to read; asking its source may take a while, so
    files are opened a few ranges ahead, several at once, and nobody waits who has something to do. `awaited`
    says what is waited for, below which paths, whenever that has changed.
    """

    def __init__(
        self,
        items: Iterable[Item],
        begin: Callable[[Item], Assembly | None],
        awaited: Callable[[], Collection[str] | None],
        ahead: int,
    ) -> None:
        self._items, self._begin, self._awaited, self._ahead = deque(items), begin, awaited, ahead
        self._ranges: deque[Job] = deque()
        self._open: dict[Assembly, Item] = {}
        self._urgent: set[str] = set()  # paths of files that are waited for
        self._opening: list[Item] = []
        self._busy = 0
        self._ended = False
        self._changed = threading.Condition()

    def next(self) -> Job | None:
        """A range; None when there are none, and nobody has one that may come back. See `done`."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._ended or self._ranges or self._items or self._idle)
                if self._ended or not (self._ranges or self._items):
                    return None
                self._look()
                if not self._opens():
                    self._busy += 1
                    return self._ranges.popleft()
                item = self._items.popleft()
                self._opening.append(item)
            assembly = None
            try:
                assembly = self._begin(item)
            finally:
                with self._changed:
                    self._opened(item, assembly)

    def done(self) -> None:
        """What `next` gave has been dealt with."""
        with self._changed:
            self._busy -= 1
            if self._idle:
                self._changed.notify_all()

    def again(self, item: Item, assembly: Assembly, numbers: Iterable[int]) -> None:
        """Ranges that are still to be read; of a file that is waited for, after a few others."""
        with self._changed:
            for number in numbers:
                at = self._ahead if item.path in self._urgent else len(self._ranges)
                self._ranges.insert(at, (item, assembly, number))
            self._changed.notify_all()

    def finished(self, item: Item, assembly: Assembly) -> bool:
        """A file is complete: whether it was the last of those that are waited for."""
        with self._changed:
            self._open.pop(assembly, None)
            if item.path not in self._urgent:
                return False
            self._urgent.discard(item.path)
            return not self._urgent

    def end(self) -> None:
        """Nobody gets anything any more."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    @property
    def waiting(self) -> int:
        """Ranges that nobody has got."""
        return len(self._ranges)

    @property
    def open(self) -> Collection[Assembly]:
        """Of files that have been begun and not finished."""
        return list(self._open)

    @property
    def _idle(self) -> bool:
        """Nothing comes back, nor out of a file that is being opened."""
        return not self._busy and not self._opening

    def _opens(self) -> bool:
        """Whether a file is opened rather than a range given out: of many not more than are read soon."""
        if not self._items or not self._ranges:
            return bool(self._items)
        enough = len(self._ranges) + len(self._opening) >= self._ahead
        first = self._items[0].path in self._urgent and self._ranges[0][0].path not in self._urgent
        return first or not enough

    def _opened(self, item: Item, assembly: Assembly | None) -> None:
        self._opening.remove(item)
        if assembly is not None:
            self._open[assembly] = item
            jobs = [(item, assembly, number) for number in assembly.missing]
            if item.path in self._urgent:
                self._ranges.extendleft(reversed(jobs))
            else:
                self._ranges.extend(jobs)
        self._changed.notify_all()

    def _look(self) -> None:
        """Whether others are waiting than a moment ago."""
        if (first := self._awaited()) is None:
            return
        items = [*self._items, *self._opening, *self._open.values()]
        self._urgent = {item.path for item in items if below(item.path, first)}
        self._items = deque(sorted(self._items, key=lambda item: item.path not in self._urgent))
        self._ranges = deque(sorted(self._ranges, key=lambda job: job[0].path not in self._urgent))
