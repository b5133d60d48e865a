"""Installing CustomResourceDefinitions, so that what comes next may use them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from addon_framework.api.conditions import is_true
from addon_framework.api.core import CRDS
from addon_framework.api.meta import Json
from addon_framework.kube.client import Client
from addon_framework.kube.wait import wait_for

ESTABLISH_TIMEOUT = 30.0  # seconds


async def apply_crds(client: Client, crds: Iterable[Json], *, field_manager: str) -> None:
    """Applies them and returns when all are served. Raises WaitTimeoutError naming one that is not."""
    await asyncio.gather(*(_apply(client, crd, field_manager) for crd in crds))


async def _apply(client: Client, crd: Json, field_manager: str) -> None:
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
