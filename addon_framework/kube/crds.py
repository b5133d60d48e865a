"""Installing CustomResourceDefinitions, so that what comes next may use them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import structlog

from addon_framework.api.conditions import is_true
from addon_framework.api.core import CRDS, SERVICES
from addon_framework.api.meta import Json
from addon_framework.kube.client import Client
from addon_framework.kube.errors import NotFound
from addon_framework.kube.wait import wait_for

log = structlog.get_logger(__name__)
ESTABLISH_TIMEOUT = 30.0  # seconds
OUR_MANAGERS = "boundaryless-"
_EMBEDDED = "+boundaryless"


async def apply_crds(client: Client, crds: Iterable[Json], *, field_manager: str) -> None:
    """Applies them and returns when all are served. Raises WaitTimeoutError naming one that is not.

    One whose versions a webhook converts is served in its storage version only, until there is the webhook.
    """
    crds = list(crds)
    embedded = any(_service(crd) for crd in crds) and await is_embedded(client)
    await asyncio.gather(*(_apply(client, crd, field_manager, embedded) for crd in crds))


async def is_embedded(client: Client) -> bool:
    """Whether this is our own API server, which converts add-ons without a webhook."""
    version = await client.request("GET", "/version")
    return str(version.get("gitVersion", "")).endswith(_EMBEDDED)


async def install_crds(client: Client, crds: Iterable[Json], *, field_manager: str) -> list[str]:
    """`apply_crds` of those that are missing or ours; the names of the others, left as they are.

    A kind that somebody else has installed, OCM's operator say, is theirs to change.
    """
    found = {crd["metadata"]["name"]: crd for crd in (await client.list(CRDS))["items"]}
    mine, others = [], []
    for crd in crds:
        live = found.get(crd["metadata"]["name"])
        if live is None or is_ours(live):
            mine.append(crd)
        else:
            others.append(crd["metadata"]["name"])
    await apply_crds(client, mine, field_manager=field_manager)
    return others


def is_ours(obj: Json) -> bool:
    """Whether this project has applied an object: its field managers are all named so."""
    managers = obj["metadata"].get("managedFields") or []
    return any(entry["manager"].startswith(OUR_MANAGERS) for entry in managers)


async def _apply(client: Client, crd: Json, field_manager: str, embedded: bool) -> None:
    if (service := _service(crd)) and not embedded and not await _is_there(client, service):
        crd = await _without_webhook(client, crd)
    applied = await client.apply(crd, field_manager=field_manager, resource=CRDS)
    if not is_true(applied, "Established"):
        await wait_for(
            client,
            CRDS,
            crd["metadata"]["name"],
            until=lambda obj: obj is not None and is_true(obj, "Established"),
            timeout=ESTABLISH_TIMEOUT,
            what="established",
        )


def _service(crd: Json) -> Json:
    """The Service of the webhook that converts, {} for none."""
    webhook = (crd["spec"].get("conversion") or {}).get("webhook") or {}
    return (webhook.get("clientConfig") or {}).get("service") or {}


async def _is_there(client: Client, service: Json) -> bool:
    try:
        await client.get(SERVICES, service["name"], service["namespace"])
    except NotFound:
        return False
    return True


async def _without_webhook(client: Client, crd: Json) -> Json:
    """As it is now if another webhook converts it; otherwise served in one version."""
    try:
        live = (await client.get(CRDS, crd["metadata"]["name"]))["spec"].get("conversion") or {}
    except NotFound:
        live = {}
    if live.get("strategy") == "Webhook" and not _service({"spec": {"conversion": live}}):
        return {**crd, "spec": {**crd["spec"], "conversion": live}}
    versions = [{**each, "served": each["storage"]} for each in crd["spec"]["versions"]]
    log.info("served in one version: no webhook converts it", crd=crd["metadata"]["name"])
    return {**crd, "spec": {**crd["spec"], "versions": versions, "conversion": {"strategy": "None"}}}
