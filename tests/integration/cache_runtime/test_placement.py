"""Who may be beside whom: caches that want a node for themselves, and those that share."""

from __future__ import annotations

from addon_framework.api.core import PODS
from addon_framework.api.meta import Json
from tests.integration.cache_runtime.fleet import DATASETS, RUNTIMES, Fleet


def dataset(fleet: Fleet, name: str, placement: str) -> Json:
    made = fleet.dataset(name, source="file:///srv")
    made["spec"]["placement"] = placement
    return made


async def placed(fleet: Fleet, name: str) -> bool:
    """Whether a node has its worker."""
    pod = await fleet.client.get(PODS, f"{name}-worker-0", fleet.namespace)
    return bool(pod["spec"].get("nodeName"))


async def test_one_that_wants_its_node_for_itself_waits_and_says_so(fleet: Fleet) -> None:
    (fleet.host / "srv").mkdir(parents=True, exist_ok=True)
    for name in ("first", "second"):
        await fleet.create(dataset(fleet, name, "Exclusive"), fleet.runtime("local", name))
        if name == "first":
            await fleet.phase(DATASETS, name, "Bound")

    def waits(obj: Json) -> bool:
        return "anti-affinity" in str((obj.get("status") or {}).get("conditions"))

    await fleet.until(DATASETS, "second", waits)
    assert not await placed(fleet, "second")
    await fleet.delete(DATASETS, "first")
    await fleet.gone(RUNTIMES["local"], "first")
    await fleet.phase(DATASETS, "second", "Bound")

    # One that would share has to keep away from it, too; others share.
    await fleet.create(dataset(fleet, "third", "Shared"), fleet.runtime("local", "third"))
    await fleet.until(DATASETS, "third", waits)
    await fleet.delete(DATASETS, "second")
    await fleet.phase(DATASETS, "third", "Bound")
    await fleet.create(dataset(fleet, "fourth", "Shared"), fleet.runtime("local", "fourth"))
    await fleet.phase(DATASETS, "fourth", "Bound")
    assert await placed(fleet, "third")
