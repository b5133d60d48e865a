"""Storage: objects in memory, every write in SQLite before it is acknowledged, and the watchers' history.

One counter gives every write its resourceVersion. A write is one SQLite transaction in WAL mode: what was
acknowledged survives a kill -9 of the process. Each write also leaves what was there before, from which a
restart makes the recent history anew, so that watches go on where they were.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from addon_framework.api.meta import Json

HISTORY = 10_000
HISTORY_SECONDS = 300.0
_SLOW_WATCHER = 5_000
_TRIM = 500
_PUT = (
    "INSERT INTO objects VALUES (?, ?, ?, ?, ?) ON CONFLICT (resource, namespace, name) "
    "DO UPDATE SET version = excluded.version, body = excluded.body"
)

ObjectKey = tuple[str, str]  # namespace ("" for cluster scope), name


@dataclass(frozen=True, slots=True)
class Event:
    """A change. `old` was there before; for a deletion `obj` is the last state with the new version."""

    version: int
    resource: str
    type: str
    key: ObjectKey
    obj: Json
    old: Json | None
    at: float = 0.0


@dataclass(eq=False)
class Watcher:
    """A queue of events of one resource. Cut off, by `lagging`, when it does not keep up."""

    resource: str
    events: deque[Event] = field(default_factory=deque)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    lagging: bool = False

    def push(self, event: Event) -> None:
        """Never blocks a writer."""
        if len(self.events) >= _SLOW_WATCHER:
            self.lagging = True
        else:
            self.events.append(event)
        self.wake.set()


class TooOldError(Exception):
    """The history does not reach back to the version that was asked for."""


class Store:
    """The objects of one cluster. Stored dicts are never changed in place: a write brings a new one."""

    def __init__(
        self, path: Path | str, clock: Callable[[], float] = time.monotonic, *, history: int = HISTORY
    ) -> None:
        self._clock, self._limit = clock, history
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.executescript(
            """
            PRAGMA journal_mode = WAL;
            PRAGMA synchronous = NORMAL;
            CREATE TABLE IF NOT EXISTS objects (
                resource TEXT, namespace TEXT, name TEXT, version INTEGER, body BLOB,
                PRIMARY KEY (resource, namespace, name));
            CREATE TABLE IF NOT EXISTS history (
                version INTEGER PRIMARY KEY, resource TEXT, namespace TEXT, name TEXT, old BLOB);
            CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER) WITHOUT ROWID;
            INSERT OR IGNORE INTO meta VALUES ('version', 1);
            """
        )
        self._objects: dict[str, dict[str, dict[str, Json]]] = {}  # by resource, namespace and name
        self._uids: dict[str, tuple[str, ObjectKey]] = {}
        for resource, namespace, name, body in self._db.execute(
            "SELECT resource, namespace, name, body FROM objects ORDER BY resource, namespace, name"
        ):
            obj = orjson.loads(body)
            self._objects.setdefault(resource, {}).setdefault(namespace, {})[name] = obj
            self._uids[obj["metadata"]["uid"]] = (resource, (namespace, name))
        self.version: int = self._db.execute("SELECT value FROM meta WHERE name = 'version'").fetchone()[0]
        self._history: deque[Event] = deque(self._remembered())
        self.oldest = self._history[0].version - 1 if self._history else self.version
        self._watchers: dict[str, set[Watcher]] = {}
        self._listeners: list[Callable[[Event], None]] = []

    def close(self) -> None:
        """Checkpoints and closes the file."""
        self._db.close()

    def _remembered(self) -> list[Event]:
        """The last events, from what each write has replaced, the newest first."""
        after: dict[tuple[str, ObjectKey], Json | None] = {}
        events, now = [], self._clock()
        query = "SELECT version, resource, namespace, name, old FROM history ORDER BY version DESC LIMIT ?"
        for version, resource, namespace, name, body in self._db.execute(query, (self._limit,)):
            key = (namespace, name)
            old = orjson.loads(body) if body is not None else None
            obj = after[resource, key] if (resource, key) in after else self.get(resource, key)
            after[resource, key] = old
            kind = "DELETED" if obj is None else "MODIFIED" if old else "ADDED"
            obj = obj or _at_version(old or {"metadata": {}}, version)
            events.append(Event(version, resource, kind, key, obj, old, now))
        return events[::-1]

    # Reads

    def get(self, resource: str, key: ObjectKey) -> Json | None:
        """The object as stored; do not change it."""
        return self._objects.get(resource, {}).get(key[0], {}).get(key[1])

    def by_uid(self, uid: str) -> tuple[str, ObjectKey] | None:
        """Where an object with this uid is."""
        return self._uids.get(uid)

    def list_at(self, resource: str, namespace: str, version: int) -> list[Json]:
        """`list` as it was at a version. Raises TooOldError."""
        if version < self.oldest:
            raise TooOldError
        objects: dict[ObjectKey, Json | None] = {
            (space, name): obj
            for space, named in self._objects.get(resource, {}).items()
            for name, obj in named.items()
        }
        for event in reversed(self._history):
            if event.version <= version:
                break
            if event.resource == resource:
                objects[event.key] = event.old
        return [obj for key, obj in sorted(objects.items()) if obj and namespace in ("", key[0])]

    def list(self, resource: str, namespace: str = "") -> list[Json]:
        """All objects of a resource, sorted by namespace and name as etcd would have them."""
        spaces = self._objects.get(resource, {})
        if namespace:
            spaces = {namespace: spaces.get(namespace, {})}
        return [objects[name] for _, objects in sorted(spaces.items()) for name in sorted(objects)]

    def everything(self) -> Iterator[tuple[str, ObjectKey, Json]]:
        """Every object, for controllers that start."""
        for resource, spaces in list(self._objects.items()):
            for namespace, objects in list(spaces.items()):
                for name, obj in list(objects.items()):
                    yield resource, (namespace, name), obj

    def count(self, resource: str) -> int:
        """How many objects there are."""
        return sum(map(len, self._objects.get(resource, {}).values()))

    # Writes

    def put(self, resource: str, key: ObjectKey, obj: Json) -> Json:
        """Stores a new or changed object under the next version; returns it with that version."""
        version = self.version + 1
        obj = _at_version(obj, version)
        body = orjson.dumps(obj)
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._remember(version, resource, key)
            self._db.execute(_PUT, (resource, *key, version, body))
            self._db.execute("UPDATE meta SET value = ? WHERE name = 'version'", (version,))
        self.version = version
        objects = self._objects.setdefault(resource, {}).setdefault(key[0], {})
        old = objects.get(key[1])
        objects[key[1]] = obj
        self._uids[obj["metadata"]["uid"]] = (resource, key)
        self._publish(Event(version, resource, "MODIFIED" if old else "ADDED", key, obj, old, self._clock()))
        return obj

    def remove(self, resource: str, key: ObjectKey) -> Json:
        """Removes an object; returns its last state under the version of its removal."""
        version = self.version + 1
        namespace, name = key
        objects = self._objects[resource][namespace]
        old = objects[name]
        last = _at_version(old, version)
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._remember(version, resource, key)
            self._db.execute(
                "DELETE FROM objects WHERE resource = ? AND namespace = ? AND name = ?", (resource, *key)
            )
            self._db.execute("UPDATE meta SET value = ? WHERE name = 'version'", (version,))
        self.version = version
        del objects[name]
        if not objects:
            del self._objects[resource][namespace]
        self._uids.pop(old["metadata"]["uid"], None)
        self._publish(Event(version, resource, "DELETED", key, last, old, self._clock()))
        return last

    def _remember(self, version: int, resource: str, key: ObjectKey) -> None:
        """What is about to be replaced; now and then, what is too old for anybody goes."""
        where = (resource, *key)
        query = "SELECT body FROM objects WHERE resource = ? AND namespace = ? AND name = ?"
        self._db.execute(f"INSERT INTO history VALUES (?, ?, ?, ?, ({query}))", (version, *where, *where))
        if version % _TRIM == 0:
            self._db.execute("DELETE FROM history WHERE version <= ?", (version - self._limit,))

    # Watching

    def listen(self, listener: Callable[[Event], None]) -> None:
        """Calls back, in order, on every change of anything."""
        self._listeners.append(listener)

    def watch(self, resource: str, since: int | None) -> Watcher:
        """Events of a resource after version `since` (None: from now). Raises TooOldError."""
        watcher = Watcher(resource)
        if since is not None and since < self.version:
            if since < self.oldest:
                raise TooOldError
            for event in self._history:
                if event.version > since and event.resource == resource:
                    watcher.events.append(event)
            watcher.wake.set()
        self._watchers.setdefault(resource, set()).add(watcher)
        return watcher

    def unwatch(self, watcher: Watcher) -> None:
        """Forgets a watcher."""
        self._watchers.get(watcher.resource, set()).discard(watcher)

    def _publish(self, event: Event) -> None:
        history = self._history
        history.append(event)
        while len(history) > self._limit or history[0].at < event.at - HISTORY_SECONDS:
            self.oldest = history.popleft().version
        for watcher in self._watchers.get(event.resource, ()):
            watcher.push(event)
        for listener in self._listeners:
            listener(event)


def _at_version(obj: Json, version: int) -> Json:
    return {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(version)}}
