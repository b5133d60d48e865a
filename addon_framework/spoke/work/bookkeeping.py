"""The AppliedManifestWork: what a work owns on this cluster, written down before it is made."""

from __future__ import annotations

import asyncio
import copy
import hashlib
from collections.abc import Iterable, Mapping

from addon_framework.api.meta import Json
from addon_framework.api.work import AppliedManifestWork
from addon_framework.kube import AlreadyExists, ApiError, Client, Conflict
from addon_framework.kube.ensure import write_status
from addon_framework.spoke.names import APPLIED_WORK_FINALIZER
from addon_framework.spoke.work import ownership
from addon_framework.spoke.work.objects import SpokeObjects
from addon_framework.spoke.work.targets import Target

RESOURCE = AppliedManifestWork.RESOURCE
Place = tuple[str, str, str, str]


def hub_hash(server: str) -> str:
    """Which hub; part of the names, so that two hubs never mix."""
    return hashlib.sha256(server.encode()).hexdigest()


def applied_name(hash_: str, work: str) -> str:
    """OCM's name; at most 188 characters of a work's name fit."""
    return f"{hash_}-{work}"


def place(entry: Json) -> Place:
    """Which object an entry of appliedResources is, whatever the version."""
    return entry.get("group") or "", entry["resource"], entry.get("namespace") or "", entry["name"]


def entry_of(target: Target, live: Json | None) -> Json:
    """An entry of appliedResources; without a uid it is an intention."""
    resource = target.resource
    entry = {"version": resource.version, "resource": resource.plural, "name": target.name}
    entry |= {"group": resource.group} if resource.group else {}
    entry |= {"namespace": target.namespace} if target.namespace else {}
    if live is not None:
        entry["uid"] = live["metadata"]["uid"]
    return entry


def entries(applied: Json) -> list[Json]:
    """status.appliedResources."""
    return list((applied.get("status") or {}).get("appliedResources") or [])


async def create(client: Client, name: str, work: Json, hash_: str, agent: str) -> Json:
    """The AppliedManifestWork of a work, with the finalizer that its deletion waits for."""
    metadata: Json = {"name": name, "finalizers": [APPLIED_WORK_FINALIZER]}
    if labels := work["metadata"].get("labels"):
        metadata["labels"] = dict(labels)
    applied = {
        "apiVersion": RESOURCE.api_version,
        "kind": RESOURCE.kind,
        "metadata": metadata,
        "spec": {"hubHash": hash_, "agentID": agent, "manifestWorkName": work["metadata"]["name"]},
    }
    try:
        return await client.create(RESOURCE, applied)
    except AlreadyExists as error:
        raise Conflict(409, "Conflict", error.message) from error  # the cache is behind


async def record(client: Client, applied: Json, wanted: Mapping[Place, Json]) -> Json:
    """Make appliedResources this; the object as it is then."""
    listed = sorted(wanted.values(), key=place)
    if listed == sorted(entries(applied), key=place) and not _evicted(applied):
        return applied
    status = copy.deepcopy(applied.get("status") or {})
    status["appliedResources"] = listed
    status.pop("evictionStartTime", None)
    if await write_status(client, RESOURCE, applied, status):
        return await client.get(RESOURCE, applied["metadata"]["name"])
    return applied


async def remove_all(
    objects: SpokeObjects, applied: Json, gone: Iterable[Json]
) -> tuple[list[Json], list[ApiError]]:
    """Let go of these objects; the entries of those still there, and the errors of those that may not go."""
    uid = applied["metadata"]["uid"]
    listed = list(gone)

    async def remove(entry: Json) -> Json | ApiError | None:
        target = target_of(entry)
        try:
            obj = await ownership.let_go(objects.client, entry, uid)
        except ApiError as error:
            objects.refusals[target] = error.message
            return error
        objects.refusals.pop(target, None)
        return None if obj is None else {**entry, "uid": obj["metadata"]["uid"]}

    found = await asyncio.gather(*map(remove, listed))
    errors = [answer for answer in found if isinstance(answer, ApiError)]
    pairs = zip(listed, found, strict=True)
    left = [entry if isinstance(a, ApiError) else a for entry, a in pairs if a is not None]
    return left, errors


def target_of(entry: Json) -> Target:
    """Where to look for an entry's object."""
    resource, name, namespace = ownership.resource_of(entry)
    return Target(resource, namespace, name)


def _evicted(applied: Json) -> bool:
    return bool((applied.get("status") or {}).get("evictionStartTime"))
