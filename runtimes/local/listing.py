"""What the sources had when all of it was complete here, with checksums: written down by the loader.

A cache that is filled from this one may go by it when the source is gone. Whoever does so believes this cache
about what the data is, since the source cannot be asked; so it is done only where somebody said so.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from runtimes.local.order import Item
from runtimes.local.store import Store
from runtimes.source import Object, Sink, SourceError
from runtimes.source.objects import checked

_FILE = "listing.json"


@dataclass(frozen=True)
class Listed:
    """One file. `kind` and `digest` are of its checksum, if it has one."""

    url: str
    size: int
    etag: str
    kind: str = ""
    digest: str = ""
    part_size: int = 0

    @property
    def version(self) -> tuple[str, int, str]:
        """What tells it from another."""
        return self.url, self.size, self.etag


def write(store: Store, items: Iterable[Item]) -> None:
    """All that there is. What is known of a file's checksum stays as long as its version does."""
    known, now = _read(store.directory), dict[str, Listed]()
    for item in items:
        obj, before = item.object, known.get(item.path)
        kind, digest = obj.checksum or ("", "")
        fresh = Listed(item.url, obj.size, obj.etag, kind, digest, obj.parts)
        now[item.path] = before if before is not None and before.version == fresh.version else fresh
    written = store.directory / f"{_FILE}.new"
    written.write_text(json.dumps({path: asdict(listed) for path, listed in now.items()}))
    written.replace(store.directory / _FILE)


def whole(store: Store) -> bytes | None:
    """The listing, if all of it is complete."""
    listed = _read(store.directory)
    there = store.entries
    for path, each in listed.items():
        entry = there.get(path)
        if entry is None or (entry.url, entry.size, entry.etag) != each.version:
            return None
    return (store.directory / _FILE).read_bytes() if listed else None


def items(text: bytes, giver: str) -> Iterator[Item]:
    """As a giver lists them. Raises SourceError."""
    try:
        for path, fields in json.loads(text).items():
            each = Listed(**fields)
            stored = (each.kind, each.digest) if each.digest else None
            obj = Object(checked(path, giver), each.size, each.etag, stored=stored, part_size=each.part_size)
            yield Item(path, each.url, _Gone(each.url), obj)
    except (ValueError, TypeError, AttributeError) as error:
        raise SourceError(f"{giver}: its listing cannot be read: {error}", permanent=True) from error


class _Gone:
    """A source that cannot be asked."""

    def __init__(self, url: str) -> None:
        self._url = url

    def objects(self) -> Iterator[Object]:
        """Unknown."""
        return iter(())

    def detailed(self, obj: Object) -> Object:
        """Nothing more is known."""
        return obj

    def read(self, obj: Object, start: int, end: int, sink: Sink) -> bool:
        """Never: a cache is not believed where no checksum will tell."""
        raise SourceError(
            f"{self._url} cannot be read, and told no checksum of {obj.path} by which the bytes of a cache "
            "could be known",
            permanent=True,
        )


def _read(directory: Path) -> dict[str, Listed]:
    try:
        return {path: Listed(**said) for path, said in json.loads((directory / _FILE).read_text()).items()}
    except (FileNotFoundError, ValueError, TypeError):
        return {}
