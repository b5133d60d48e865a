"""What commands about Datasets ask the hub, and what they say when it is not there."""

from __future__ import annotations

from collections.abc import Iterable

from addon_framework.api.conditions import get_condition
from addon_framework.api.core import SECRETS
from addon_framework.api.meta import Json, Resource
from addon_framework.cli.connect import Failure, NotThere, is_kind_missing
from addon_framework.kube import Client, NotFound
from addons.cache_runtime.agent.names import DATASETS
from addons.cache_runtime.hub import payload

BY = "fleetadm"
BY_LABEL = {"data.boundaryless.io/by": BY}  # so that `delete` takes what `create` made, and no more


async def absent(client: Client, part: Json, otherwise: str) -> None:
    """What somebody else has made is not taken over, or it would go with the Dataset."""
    kind, name, namespace = part["kind"], part["metadata"]["name"], part["metadata"]["namespace"]
    try:
        await client.get(await client.resource_for(part["apiVersion"], kind), name, namespace)
    except NotFound as error:
        if is_kind_missing(error):
            raise no_kind() from None
        return
    raise Failure(f"{kind} {namespace}/{name} exists: {otherwise}")


async def check_secret(
    client: Client, name: str, namespace: str, keys: Iterable[str] = payload.CREDENTIAL_KEYS
) -> None:
    """It is there, and has credentials."""
    secret = await there(client, SECRETS, name, namespace)
    missing = [key for key in keys if key not in (secret.get("data") or {})]
    if missing:
        raise Failure(f"Secret {namespace}/{name} has no {' and no '.join(missing)}")


async def there(client: Client, resource: Resource, name: str, namespace: str | None = None) -> Json:
    """An object. Raises NotThere."""
    try:
        return await client.get(resource, name, namespace)
    except NotFound:
        where = f" in namespace {namespace}" if namespace else ""
        raise NotThere(f"there is no {resource.kind} {name}{where}") from None


async def dataset_there(client: Client, namespace: str, name: str) -> Json:
    """A Dataset. Raises NotThere, or Failure on a hub without the kind."""
    try:
        return await client.get(DATASETS, name, namespace)
    except NotFound as error:
        if is_kind_missing(error):
            raise no_kind() from None
        raise NotThere(f"there is no Dataset {name} in namespace {namespace}") from None


def no_kind() -> Failure:
    """What to say of such a hub."""
    return Failure("the hub does not know Datasets yet: is fleetadm hub run running with the cache-runtime?")


def is_complete(operation: Json) -> bool:
    """Raises Failure when it failed anywhere."""
    status = operation.get("status") or {}
    if status.get("phase") == "Failed":
        why = (status.get("infos") or {}).get("message") or "see its status"
        raise Failure(f"{operation['metadata']['name']} failed: {why}")
    return bool(status.get("phase") == "Complete")


def message(dataset: Json) -> str:
    """How it fares."""
    return str((get_condition(dataset, "Ready") or {}).get("message") or "waiting for the hub manager")


def kept_by(dataset: Json) -> str:
    """What one that is to go waits for: what its clusters say, else what the hub does."""
    entries = (dataset.get("status") or {}).get("clusters") or []
    said = [f"{entry['name']}: {entry['message']}" for entry in entries if entry.get("message")]
    return "; ".join(said) or message(dataset)
