"""The informer: a local copy of one resource's objects, kept current by list and watch.

The protocol: https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from typing import Any, Generic, TypeVar, cast

import msgspec
import structlog

from addon_framework.api.meta import Json, Resource
from addon_framework.kube.client import Client
from addon_framework.kube.errors import ApiError, Gone
from addon_framework.kube.key import Key, key_of, resource_version_of, version_number
from addon_framework.kube.packed import Packed

T = TypeVar("T")
log = structlog.get_logger(__name__)

_MIN_BACKOFF, _MAX_BACKOFF = 0.05, 10.0


class Informer(Generic[T]):
    """A cache of `resource`, optionally of one namespace or of what selectors match.

    Holds plain dicts, or structs of `model` where given (20 times smaller), or `packed` dicts (5 times
    smaller, made anew whenever one is asked for). What it hands out is shared: never change it. Callbacks get
    (old, new): (None, new) for an addition, (old, None) for a removal.
    """

    def __init__(
        self,
        client: Client,
        resource: Resource,
        *,
        namespace: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
        model: type[T] | None = None,
        packed: bool = False,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.client = client
        self.resource = resource
        self.namespace = namespace
        self._selectors = {"label_selector": label_selector, "field_selector": field_selector}
        self._model = model
        self._jitter = jitter
        self._objects: MutableMapping[Key, T] = Packed() if packed else {}
        self._callbacks: list[Callable[[T | None, T | None], None]] = []
        self._index_functions: dict[str, Callable[[T], Iterable[str]]] = {}
        self._indexes: dict[str, dict[str, set[Key]]] = {}
        self._synced = asyncio.Event()
        self._version = ""

    def __len__(self) -> int:
        return len(self._objects)

    def __iter__(self) -> Iterator[T]:
        return iter(list(self._objects.values()))

    def __contains__(self, key: Key) -> bool:
        return key in self._objects

    def get(self, key: Key) -> T | None:
        """The object as last seen, or None."""
        return self._objects.get(key)

    def items(self) -> list[T]:
        """All objects as last seen."""
        return list(self._objects.values())

    def in_namespace(self, namespace: str) -> list[T]:
        """The objects of one namespace."""
        return [self._objects[key] for key in self.keys_in_namespace(namespace)]

    def keys_in_namespace(self, namespace: str) -> list[Key]:
        """The keys of the objects of one namespace."""
        self.add_index(_BY_NAMESPACE, lambda obj: (key_of(obj).namespace,))
        return self.keys_by_index(_BY_NAMESPACE, namespace)

    def add_index(self, name: str, values: Callable[[T], Iterable[str]]) -> None:
        """Makes `by_index(name, value)` a look-up; `values` gives an object's values. Idempotent by name."""
        if name in self._index_functions:
            return
        self._index_functions[name] = values
        index: dict[str, set[Key]] = defaultdict(set)
        for key, obj in self._objects.items():
            for value in values(obj):
                index[value].add(key)
        self._indexes[name] = index

    def by_index(self, name: str, value: str) -> list[T]:
        """The objects for which the index function `name` gives `value`."""
        return [self._objects[key] for key in self.keys_by_index(name, value)]

    def keys_by_index(self, name: str, value: str) -> list[Key]:
        """The keys of those objects; of packed ones none is made for that."""
        return list(self._indexes[name].get(value, ()))

    def on_event(self, callback: Callable[[T | None, T | None], None]) -> None:
        """Calls back on every change, and for what is already there; asking twice is asking once."""
        if callback in self._callbacks:
            return
        self._callbacks.append(callback)
        for obj in list(self._objects.values()):
            callback(None, obj)

    def expect(self, obj: Json) -> None:
        """What a write of ours was answered, until the watch shows it, or what came after it.

        Nobody is called back for that; should a list not have it, then for its removal.
        """
        key, version = key_of(obj), version_number(obj["metadata"].get("resourceVersion"))
        current = self._objects.get(key)
        known = resource_version_of(current) if current is not None else ""
        if version > max(version_number(known), version_number(self._version)):
            self._store(key, obj, quietly=True)

    async def synced(self) -> None:
        """Returns once the first list is in the cache."""
        await self._synced.wait()

    @property
    def is_synced(self) -> bool:
        """The first list is in the cache."""
        return self._synced.is_set()

    async def run(self) -> None:
        """Lists, watches, resumes, lists again when the history is gone; until cancelled."""
        failures = 0
        while True:
            try:
                if not self._version:
                    await self._list()
                began = asyncio.get_running_loop().time()
                await self._watch()
                failures = 0
                if asyncio.get_running_loop().time() - began < 1:  # a server that is going down
                    await asyncio.sleep(0.2 + 0.2 * self._jitter())
            except Gone:
                self._version = ""
            except ApiError as error:
                failures += 1
                delay = min(_MIN_BACKOFF * 2**failures, _MAX_BACKOFF) * (0.5 + self._jitter())
                if failures == 4:  # the first few are a restart; from here on it is news
                    log.warning(
                        "cannot watch",
                        resource=self.resource.plural,
                        reason=error.reason,
                        message=error.message,
                    )
                if error.status:  # an answer, so our version may be unknown to a server with another store
                    self._version = ""
                await self.client.reach.pause(delay)

    def forget(self) -> None:
        """Be as before the first list: all that is there when it runs again is news."""
        for key in list(self._objects):
            self._store(key, None)
        self._version = ""
        self._synced.clear()

    async def _list(self) -> None:
        try:
            await self._take(in_one=False)
        except Gone:  # the snapshot expired between two pages
            await self._take(in_one=True)
        self._synced.set()

    async def _take(self, *, in_one: bool) -> None:
        """Page by page: the whole list of a large fleet takes many times what is kept of it."""
        there: set[Key] = set()
        pages = self.client.pages(self.resource, self.namespace, in_one=in_one, **self._selectors)
        async for page in pages:
            for item in page["items"]:
                key = key_of(item)
                there.add(key)
                current = self._objects.get(key)
                if current is None or resource_version_of(current) != resource_version_of(item):
                    item.setdefault("apiVersion", self.resource.api_version)
                    item.setdefault("kind", self.resource.kind)
                    self._store(key, item)
            version = page["metadata"]["resourceVersion"]
        for key in [key for key in self._objects if key not in there]:
            self._store(key, None)
        self._version = version

    async def _watch(self) -> None:
        timeout = int(240 + 120 * self._jitter())
        events = self.client.watch(
            self.resource,
            self.namespace,
            resource_version=self._version,
            timeout=timeout,
            **self._selectors,
        )
        async for kind, obj in events:
            if kind != "BOOKMARK":
                self._store(key_of(obj), None if kind == "DELETED" else obj)
            self._version = obj["metadata"]["resourceVersion"]

    def _store(self, key: Key, raw: Json | None, *, quietly: bool = False) -> None:
        old = self._objects.get(key)
        new = self._decode(raw) if raw is not None else None
        if new is None:
            self._objects.pop(key, None)
        else:
            self._objects[key] = new
        for name, values in self._index_functions.items():
            index = self._indexes[name]
            before = set(values(old)) if old is not None else set()
            after = set(values(new)) if new is not None else set()
            for value in before - after:
                index[value].discard(key)
                if not index[value]:
                    del index[value]
            for value in after - before:
                index[value].add(key)
        if quietly or (old is None and new is None):
            return
        for callback in self._callbacks:
            try:
                callback(old, new)
            except Exception:  # one listener's mistake must not stop the others' cache
                log.exception("event callback failed", resource=self.resource.plural, key=str(key))

    def _decode(self, raw: Json) -> T:
        raw["metadata"].pop("managedFields", None)
        if self._model is None:
            return cast(T, raw)
        return msgspec.convert(raw, self._model, strict=False)


_BY_NAMESPACE = "namespace"

AnyInformer = Informer[Any]
