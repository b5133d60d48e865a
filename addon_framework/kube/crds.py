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
