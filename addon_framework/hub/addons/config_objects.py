"""Reads configuration objects of any kind: what they hash to, and who has to look when one changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from addon_framework.api.addon import AddOnDeploymentConfig, AddOnTemplate
from addon_framework.api.meta import Json, Resource
from addon_framework.hub.addons.configs import Kind, Reference, spec_hash
from addon_framework.kube import ApiError, Controller, Key, Watch

_KNOWN: dict[Kind, Resource] = {
    Kind(kind.RESOURCE.group, kind.RESOURCE.plural): kind.RESOURCE
    for kind in (AddOnDeploymentConfig, AddOnTemplate)
}
Users = Callable[[Reference], Iterable[Key]]


class Found(NamedTuple):
    """What was asked for, as it is now."""

    missing: list[Reference]
    hashes: dict[Reference, str]
    generations: dict[Reference, int]


class ConfigObjects:
    """The configuration objects that one controller asks for; `users` are the keys that one concerns."""

    def __init__(self, controller: Controller, users: Users) -> None:
        self._controller, self._users = controller, users
        self._resources: dict[Kind, Resource | None] = dict(_KNOWN)
        self._followed: set[Resource] = set()
        self._hashed: dict[Reference, tuple[Json, str]] = {}

    def watches(self) -> list[Watch]:
        """The kinds that every add-on may have; others are watched once they are asked for."""
        return [Watch(resource, map=self._concerned(kind)) for kind, resource in _KNOWN.items()]

    async def read(self, wanted: Iterable[Reference]) -> Found:
        """Their hashes and generations, by the caches."""
        found = Found([], {}, {})
        for reference in wanted:
            resource = await self._resource(reference.kind)
            config = None
            if resource is not None:
                informer = self._controller.cache(resource)
                if resource not in self._followed:
                    await informer.synced()
                    self._follow(resource, reference.kind)
                config = informer.get(Key(reference.namespace, reference.name))
            if config is None:
                self._hashed.pop(reference, None)
                found.missing.append(reference)
            else:
                found.hashes[reference] = self._hash(reference, config)
                found.generations[reference] = config["metadata"].get("generation", 0)
        return found

    def _hash(self, reference: Reference, config: Json) -> str:
        """Once for as long as the cache has that very object: thousands of add-ons may ask for it."""
        known, text = self._hashed.get(reference, (None, ""))
        if known is not config:
            text = spec_hash(config)
            self._hashed[reference] = config, text
        return text

    async def _resource(self, kind: Kind) -> Resource | None:
        """The resource of a configuration kind that only its group and plural name is known of."""
        if self._resources.get(kind) is None:
            get = self._controller.client.request
            try:
                version = "v1"
                if kind.group:
                    version = (await get("GET", f"/apis/{kind.group}"))["preferredVersion"]["version"]
                root = f"/apis/{kind.group}/{version}" if kind.group else "/api/v1"
                listed = await get("GET", root)
            except ApiError:
                return None
            for entry in listed.get("resources") or []:
                if entry["name"] == kind.resource:
                    self._resources[kind] = Resource(
                        kind.group, version, kind.resource, entry["kind"], entry["namespaced"]
                    )
        return self._resources.get(kind)

    def _follow(self, resource: Resource, kind: Kind) -> None:
        """From now on a change of such an object concerns those who use it."""
        if resource in self._followed:
            return
        self._followed.add(resource)
        if resource in _KNOWN.values():
            return  # watched from the start
        concerned = self._concerned(kind)

        def changed(old: Json | None, new: Json | None) -> None:
            for obj in (old, new):
                for key in concerned(obj) if obj is not None else ():
                    self._controller.queue.add(key)

        self._controller.cache(resource).on_event(changed)

    def _concerned(self, kind: Kind) -> Callable[[Json], Iterable[Key]]:
        def concerned(config: Json) -> Iterable[Key]:
            metadata = config["metadata"]
            return self._users(Reference(kind, metadata.get("namespace", ""), metadata["name"]))

        return concerned
