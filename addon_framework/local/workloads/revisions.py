"""The templates that a DaemonSet or StatefulSet has had: `kubectl rollout history` and `undo` read them.

https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/controller-revision-v1/
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from typing import NamedTuple

import orjson

from addon_framework.api.core import CONTROLLERREVISIONS
from addon_framework.api.meta import Json, Resource
from addon_framework.kube import AlreadyExists, Client
from addon_framework.kube.informer import AnyInformer
from addon_framework.local.workloads.pods import child_of, owned_by

HASH = "controller-revision-hash"
_LABELS = {"StatefulSet": "controller.kubernetes.io/hash"}  # of the revision itself


def template_hash(template: Json, collisions: int = 0) -> str:
    """Names what is made of a template; another one where that name is taken."""
    content = orjson.dumps([template, collisions] if collisions else template, option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(content).hexdigest()[:10]


class Revisions(NamedTuple):
    """Of one owner, the oldest first, and the one of its template."""

    all: list[Json]
    current: Json

    def template(self, name: str) -> Json | None:
        """Of a revision by its name."""
        found = next((each for each in self.all if each["metadata"]["name"] == name), None)
        return template_of(found) if found else None


async def keep(client: Client, cache: AnyInformer, owner: Json, of: Resource) -> Revisions:
    """Makes the current template's revision, or makes it the newest again."""
    template = owner["spec"]["template"]
    data = {"spec": {"template": {"$patch": "replace", **template}}}
    known = sorted(owned_by(cache, owner), key=_number)
    newest = _number(known[-1]) if known else 0
    same = next((each for each in reversed(known) if each["data"] == data), None)
    if same is None:
        same = await _create(client, owner, of, data, newest + 1)
    elif _number(same) < newest:
        metadata = same["metadata"]
        patch = {"revision": newest + 1}
        same = await client.patch(CONTROLLERREVISIONS, metadata["name"], patch, metadata["namespace"])
    others = [each for each in known if each["metadata"]["uid"] != same["metadata"]["uid"]]
    return Revisions(sorted([*others, same], key=_number), same)


async def forget(client: Client, owner: Json, revisions: Revisions, used: Collection[str]) -> None:
    """Deletes the oldest beyond revisionHistoryLimit that no pod has; `used` are values of the label."""
    idle = [r for r in revisions.all if r is not revisions.current and not _is_used(r, used)]
    limit = int(owner["spec"].get("revisionHistoryLimit", 10))
    for each in idle[: max(0, len(idle) - limit)]:
        await client.remove(CONTROLLERREVISIONS, each)


def hash_of(revision: Json) -> str:
    """What DaemonSets label their pods with; StatefulSets take the revision's name."""
    return str(revision["metadata"]["name"]).rpartition("-")[2]


def template_of(revision: Json) -> Json:
    """As the owner had it."""
    return {name: value for name, value in revision["data"]["spec"]["template"].items() if name != "$patch"}


async def _create(client: Client, owner: Json, of: Resource, data: Json, number: int) -> Json:
    metadata, template = owner["metadata"], owner["spec"]["template"]
    for collisions in range(100):
        digest = template_hash(template, collisions)
        name = f"{metadata['name']}-{digest}"
        labels = {**(template["metadata"].get("labels") or {}), _LABELS.get(of.kind, HASH): digest}
        given = {"labels": labels, "annotations": metadata.get("annotations")}
        revision = child_of(owner, of, CONTROLLERREVISIONS, given, name=name)
        revision |= {"data": data, "revision": number}
        try:
            return await client.create(CONTROLLERREVISIONS, revision)
        except AlreadyExists:
            there = await client.get(CONTROLLERREVISIONS, name, metadata["namespace"])
            owners = [each["uid"] for each in there["metadata"].get("ownerReferences") or ()]
            if there["data"] == data and metadata["uid"] in owners:
                return there  # our cache has not seen it yet
    raise RuntimeError(f"no name is left for a revision of {metadata['namespace']}/{metadata['name']}")


def _is_used(revision: Json, used: Collection[str]) -> bool:
    return hash_of(revision) in used or revision["metadata"]["name"] in used


def _number(revision: Json) -> int:
    return int(revision["revision"])
