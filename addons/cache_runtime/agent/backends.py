"""Which backend caches a Dataset: the one whose runtime object has the Dataset's name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from addon_framework.api.meta import Json, Resource
from addon_framework.kube import Client, Key, NotFound, key_of
from addon_framework.kube.informer import AnyInformer
from addon_framework.plugins import RUNTIMES, Plugins, discover
from addons.cache_runtime.agent.copies import apart
from addons.cache_runtime.agent.reference_rules import is_reference
from addons.cache_runtime.hub.names import FINALIZER as FLEET_FINALIZER
from addons.cache_runtime.hub.names import placement_of
from runtimes import validation
from runtimes.interface import Backend, Cache, Profile
from runtimes.node_directories import NodeDirectories

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Binding:
    """A Dataset with its runtime. `problems` say why it cannot be set up as written."""

    dataset: Json
    runtime: Json
    backend: Backend
    cache: Cache
    problems: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()  # kinds of other runtimes of that name
    notes: tuple[str, ...] = ()  # fields that are given and have no effect, and why
    credentials: str = ""  # a hash of the values of the Secrets that its pods read, where that is known

    @property
    def ending(self) -> bool:
        """Either of the two is being deleted."""
        return any(obj["metadata"].get("deletionTimestamp") for obj in (self.dataset, self.runtime))


class Resolver:
    """Reads the bindings from the informers' caches."""

    def __init__(
        self,
        backends: Sequence[Backend],
        image: str,
        cache: Callable[[Resource], AnyInformer],
        directories: NodeDirectories | None = None,
        *,
        on_hub: bool = False,
    ) -> None:
        self.backends, self._image, self._cache = backends, image, cache
        self._directories, self._on_hub = directories or NodeDirectories(), on_hub

    def runtimes(self, key: Key) -> list[tuple[Backend, Json]]:
        """The runtime objects of that name, oldest first."""
        found = [
            (b, runtime) for b in self.backends if (runtime := self._cache(b.resource).get(key)) is not None
        ]
        return sorted(
            found, key=lambda pair: (pair[1]["metadata"].get("creationTimestamp", ""), pair[0].type)
        )

    def bind(self, dataset: Json, key: Key) -> Binding | None:
        """The Dataset with its runtime: the one it is bound to already, else the oldest, if it caches."""
        return None if is_reference(dataset) or self.of_fleet(dataset) else self.pair(dataset, key)

    def of_fleet(self, dataset: Json | None) -> bool:
        """Whether it is the hub's to send to clusters, where this cluster is the hub: not ours to cache."""
        if dataset is None:
            return False
        taken = FLEET_FINALIZER in (dataset["metadata"].get("finalizers") or [])
        return taken or (self._on_hub and bool(placement_of(dataset)))

    def pair(self, dataset: Json, key: Key) -> Binding | None:
        """The same, whoever's the Dataset is."""
        bound = {r.get("type") for r in (dataset.get("status") or {}).get("runtimes") or []}
        candidates = [
            (backend, runtime)
            for backend, runtime in self.runtimes(key)
            if backend.type in bound or not apart(dataset, runtime)
        ]
        if not candidates:
            return None
        backend, runtime = next((pair for pair in candidates if pair[0].type in bound), candidates[0])
        cache = self.cache(dataset, runtime)
        problems = self.problems(backend, cache)
        ignored = tuple(r["kind"] for b, r in candidates if b is not backend)
        notes = () if problems else tuple(validation.notes(backend, cache))
        return Binding(dataset, runtime, backend, cache, tuple(problems), ignored, notes)

    def problems(self, backend: Backend, cache: Cache) -> list[str]:
        """Why the pair could never be set up: as it is, or on this cluster's nodes."""
        return [*validation.problems(backend, cache), *self._directories.problems(cache)]

    def of_kind(self, kind: str) -> Backend | None:
        """The backend whose runtime objects are of that kind."""
        return next((backend for backend in self.backends if backend.resource.kind == kind), None)

    def cache(self, dataset: Json, runtime: Json) -> Cache:
        """The pair, with the cluster's object that the runtime names, if it is there."""
        backend, profile = self.of_kind(str(runtime.get("kind"))), None
        kind = backend.profile if backend is not None else None
        if kind is not None and (name := (runtime.get("spec") or {}).get(kind.field)):
            profile = self._cache(kind.resource).get(Key("", name))
        return Cache.of(dataset, runtime, image=self._image, profile=profile)

    def naming(self, kind: Profile, name: str) -> list[Key]:
        """The runtimes that name an object of that kind."""
        return [
            key_of(runtime)
            for backend in self.backends
            if backend.profile == kind
            for runtime in self._cache(backend.resource)
            if (runtime.get("spec") or {}).get(kind.field) == name
        ]

    def leftover(self, key: Key) -> Binding | None:
        """A runtime whose Dataset is gone: enough to clean up after it."""
        pairs = self.runtimes(key)
        if not pairs:
            return None
        backend, runtime = pairs[0]
        metadata = {"namespace": key.namespace, "name": key.name, "uid": ""}
        dataset: Json = {"metadata": metadata, "spec": {}}
        return Binding(dataset, runtime, backend, Cache.of(dataset, runtime, image=self._image))


async def served_backends(
    client: Client, plugins: Plugins | None = None, *, attempts: int = 60
) -> list[Backend]:
    """The installed backends whose kinds the cluster has. Their CRDs arrive at the same time as we do."""
    found: list[Backend] = []
    for plugin in (plugins if plugins is not None else discover(RUNTIMES)).usable():
        backend = plugin.load()
        if not isinstance(backend, Backend):
            log.warning("not a cache backend", plugin=plugin.name, origin=plugin.origin)
            continue
        kinds = [backend.resource, *([backend.profile.resource] if backend.profile is not None else [])]
        for attempt in range(attempts):
            try:
                for kind in kinds:
                    await client.resource_for(kind.api_version, kind.kind)
            except NotFound:
                if attempt == attempts - 1:
                    names = [kind.kind for kind in kinds]
                    log.warning("backend left out, its kinds are not all installed", kinds=names)
                else:
                    await asyncio.sleep(0.5)
            else:
                found.append(backend)
                break
    return found
