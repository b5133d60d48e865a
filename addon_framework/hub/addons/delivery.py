"""An add-on's manifests become ManifestWorks in one cluster's namespace, and stay what they should be."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from addon_framework.api.meta import Json
from addon_framework.api.work import ManifestWork
from addon_framework.hub.addons import works as shipping
from addon_framework.hub.addons.configs import hash_annotation
from addon_framework.hub.addons.health import Verdict, applied
from addon_framework.hub.addons.places import Place, place_of
from addon_framework.hub.addons.removal import MANAGER
from addon_framework.kube import Client
from addon_framework.kube.ensure import remove
from addon_framework.plugins import AddonDescription

log = structlog.get_logger(__name__)


async def deliver(
    client: Client,
    addon: Json,
    place: Place,
    manifests: Sequence[Json],
    description: AddonDescription,
    references: Sequence[Json],
    present: Sequence[Json],
) -> Verdict | None:
    """Make the works of one place say `manifests`; whether the cluster has applied them, None: not known yet.

    `present` are the add-on's deploy works, those in other places too.
    """
    live = {work["metadata"]["name"]: work for work in present if place_of(work) == place}
    works = shipping.build(
        addon,
        manifests,
        health=description.prober,
        manifest_configs=description.manifest_configs,
        config_hashes=hash_annotation(references),
        present=live.values(),
        place=place,
    )
    written = set()
    for work in works:
        name = work["metadata"]["name"]
        found = live.get(name)
        if found is not None and found["metadata"].get("deletionTimestamp"):
            written.add(name)  # of an earlier life of this add-on; once it is gone we are called again
        elif found is None or not shipping.same_work(found, work):
            await client.apply(work, field_manager=MANAGER, resource=ManifestWork.RESOURCE)
            written.add(name)
            log.info("work shipped", cluster=place.cluster, work=name)
    names = {work["metadata"]["name"] for work in works}
    await discard(client, [work for name, work in live.items() if name not in names])
    return applied([live.get(work["metadata"]["name"], work) for work in works], written)


async def discard(client: Client, works: Sequence[Json]) -> None:
    """Delete works; the clusters they are for take their objects away."""
    await asyncio.gather(*(remove(client, ManifestWork.RESOURCE, work) for work in works))
