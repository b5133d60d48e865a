"""Source credentials: fetched from the hub where a Dataset says so, and read where a source needs them.

The hub keeps a copy of the user's Secret in this cluster's namespace, with a Role for exactly this add-on.
The Dataset on the spoke names it in an annotation, so no ManifestWork ever carries a secret.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable

import structlog

from addon_framework.api.core import SECRETS
from addon_framework.api.meta import Json, owner_reference
from addon_framework.kube import ApiError, Client, Informer, Key, NotFound
from addon_framework.kube.informer import AnyInformer
from addons.cache_runtime.agent.names import (
    FIELD_MANAGER,
    HUB_SECRET_ANNOTATION,
    HUB_SECRET_FOR_LABEL,
    dataset_key,
    labels,
)
from runtimes.interface import Cache, SecretKey

log = structlog.get_logger(__name__)


class CredentialsError(Exception):
    """Credentials are not there yet; the message says which, and who has to bring them."""


class Credentials:
    """Copies of hub Secrets, followed as long as a Dataset names them."""

    def __init__(
        self,
        spoke: Client,
        hub: Client | None,
        cluster: str,
        copies: AnyInformer,
        changed: Callable[[Key], None],
    ) -> None:
        self._spoke, self._hub, self._cluster = spoke, hub, cluster
        self._copies, self._changed = copies, changed
        self._followed: dict[str, tuple[Informer[Json], asyncio.Task[None]]] = {}
        self._wanted: dict[Key, str] = {}

    async def copy(self, dataset: Json, key: Key) -> None:
        """Brings the Secret that the annotation names beside the Dataset. Raises CredentialsError."""
        name = (dataset["metadata"].get("annotations") or {}).get(HUB_SECRET_ANNOTATION)
        self._want(key, name)
        if not name:
            return
        source = await self._source(name)
        owner = (source["metadata"].get("labels") or {}).get(HUB_SECRET_FOR_LABEL, key.namespace)
        if owner != key.namespace:
            raise CredentialsError(
                f"annotation {HUB_SECRET_ANNOTATION}: Secret {name} of the hub is not for namespace "
                f"{key.namespace}; remove the annotation, or have the hub send this Dataset"
            )
        current = self._copies.get(Key(key.namespace, name))
        data = source.get("data") or {}
        if current is not None and (current.get("data") or {}) == data and _owned(current, dataset):
            return
        if current is None:
            await self._refuse_stranger(name, key)
        secret: Json = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": name,
                "namespace": key.namespace,
                "labels": labels(key, "credentials"),
                "ownerReferences": [owner_reference(dataset)],
            },
            "type": source.get("type") or "Opaque",
            "data": data,
        }
        await self._spoke.apply(secret, field_manager=FIELD_MANAGER, resource=SECRETS)

    async def values(self, cache: Cache) -> dict[SecretKey, str]:
        """The values of every secret option. Raises CredentialsError naming what is missing."""
        found: dict[SecretKey, str] = {}
        secrets: dict[str, Json] = {}
        for reference in {ref for source in cache.sources for ref in source.secrets.values()}:
            where = f"Secret {cache.namespace}/{reference.name}"
            if reference.name not in secrets:
                try:
                    secrets[reference.name] = await self._spoke.get(SECRETS, reference.name, cache.namespace)
                except NotFound:
                    raise CredentialsError(
                        f"{where} is not there; Dataset {cache.name} names it in encryptOptions"
                    ) from None
            data = secrets[reference.name].get("data") or {}
            if reference.key not in data:
                raise CredentialsError(
                    f"{where} has no key {reference.key}; it has {', '.join(data) or 'none'}"
                )
            found[reference] = base64.b64decode(data[reference.key]).decode()
        return found

    def forget(self, key: Key) -> None:
        """A Dataset is gone."""
        self._want(key, None)

    def close(self) -> None:
        """Ends the watches."""
        for _, task in self._followed.values():
            task.cancel()
        self._followed.clear()

    async def _source(self, name: str) -> Json:
        if self._hub is None:
            raise CredentialsError(
                f"annotation {HUB_SECRET_ANNOTATION} names Secret {name} on the hub, but this agent has no "
                "access to a hub"
            )
        informer, _ = self._followed[name]
        known = informer.get(Key(self._cluster, name))
        if known is not None:
            return known
        try:  # the watch may not have been allowed yet: asking says why
            return await self._hub.get(SECRETS, name, self._cluster)
        except ApiError as error:
            raise CredentialsError(
                f"Secret {self._cluster}/{name} cannot be read from the hub: {error.message}"
            ) from None

    async def _refuse_stranger(self, name: str, key: Key) -> None:
        """Never overwrites a Secret that somebody else made."""
        try:
            existing = await self._spoke.get(SECRETS, name, key.namespace)
        except NotFound:
            return
        if not dataset_key(existing):
            raise CredentialsError(
                f"Secret {key.namespace}/{name} exists and is not ours; remove it, or remove the annotation "
                f"{HUB_SECRET_ANNOTATION} of Dataset {key.name}"
            )

    def _want(self, key: Key, name: str | None) -> None:
        before = self._wanted.get(key)
        if before == name:
            return
        if name is None:
            del self._wanted[key]
        else:
            self._wanted[key] = name
            self._watch(name)
        if before is not None and before not in self._wanted.values():
            _, task = self._followed.pop(before)
            task.cancel()

    def _watch(self, name: str) -> None:
        if self._hub is None or name in self._followed:
            return
        informer: Informer[Json] = Informer(
            self._hub, SECRETS, namespace=self._cluster, field_selector=f"metadata.name={name}"
        )

        def event(old: Json | None, new: Json | None) -> None:
            for key, wanted in self._wanted.items():
                if wanted == name:
                    self._changed(key)

        informer.on_event(event)
        self._followed[name] = (informer, asyncio.create_task(informer.run()))


def _owned(secret: Json, dataset: Json) -> bool:
    """Whether the copy belongs to this very Dataset, not to an earlier one of the same name."""
    owners = secret["metadata"].get("ownerReferences") or []
    return any(owner.get("uid") == dataset["metadata"]["uid"] for owner in owners)
