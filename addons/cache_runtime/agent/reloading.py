"""Files that are lost and whose DataLoad is gone: a DataLoad of ours brings them back.

Nothing else would: a LocalRuntime reads its source for DataLoads only, and pods have no other way to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from addon_framework.api.meta import Json, Resource, owner_reference
from addon_framework.kube import AlreadyExists, Client, key_of
from addon_framework.kube.informer import AnyInformer
from addons.cache_runtime.agent.names import DATALOADS, LOST_ANNOTATION, short_hash
from addons.cache_runtime.agent.operations.status import COMPLETE

_SECONDS = 1800  # for which what it has loaded is looked after


class Reloading:
    """One DataLoad of a Dataset at a time."""

    def __init__(self, client: Client, cache: Callable[[Resource], AnyInformer]) -> None:
        self._client, self._cache = client, cache

    async def step(self, dataset: Json, abandoned: Mapping[str, Sequence[str]]) -> None:
        """Makes one for files that nobody loads, by node; one that has loaded others goes first."""
        if not abandoned:
            return
        load = _load(dataset, sorted({path for paths in abandoned.values() for path in paths}))
        there = self._cache(DATALOADS).get(key_of(load))
        if there is None:
            try:
                await self._client.create(DATALOADS, load)
            except AlreadyExists:
                pass  # our copy was behind
        elif is_ours(there) and (there.get("status") or {}).get("phase") == COMPLETE:
            await self._client.remove(DATALOADS, there)


def is_ours(load: Json) -> bool:
    """Whether nobody but us has asked for it."""
    return LOST_ANNOTATION in (load["metadata"].get("annotations") or {})


def _load(dataset: Json, paths: Sequence[str]) -> Json:
    name, namespace = dataset["metadata"]["name"], dataset["metadata"]["namespace"]
    return {
        "apiVersion": DATALOADS.api_version,
        "kind": DATALOADS.kind,
        "metadata": {
            "name": f"{name}-lost" if len(name) <= 58 else f"lost-{short_hash(name)}",
            "namespace": namespace,
            "annotations": {LOST_ANNOTATION: ", ".join(paths)},
            "ownerReferences": [owner_reference(dataset)],
        },
        "spec": {
            "dataset": {"name": name, "namespace": namespace},
            "target": [{"path": path} for path in paths],
            "ttlSecondsAfterFinished": _SECONDS,
        },
    }
