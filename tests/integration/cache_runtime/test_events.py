"""Operations of policy OnEvent: what they look at, and what they say while it cannot be looked at."""

from __future__ import annotations

from addon_framework.api.meta import Json
from tests.integration.cache_runtime.faultyproxy import Fault, faulty
from tests.integration.cache_runtime.fleet import DATALOADS, DATASETS, MIGRATES, Fleet
from tests.integration.cache_runtime.objectstore import BUCKET
from tests.integration.cache_runtime.test_operations import got, put


def message(op: Json) -> str:
    return str(op["status"]["infos"].get("message", ""))


async def test_a_source_that_cannot_be_listed_is_told_until_it_can(fleet: Fleet) -> None:
    prefix = f"events-{fleet.namespace}"
    put(fleet, prefix, a=b"first")
    await fleet.secret()
    with faulty(fleet.store.endpoint) as proxy:
        dataset = fleet.dataset("data", source=f"s3://{BUCKET}/{prefix}")
        dataset["spec"]["mounts"][0]["options"]["endpoint"] = proxy.endpoint
        await fleet.create(dataset, fleet.runtime("local", "data"), fleet.load("data", policy="OnEvent"))
        await fleet.phase(DATALOADS, "data", "Complete")
        proxy.rule = lambda asked: Fault(status=403, code="AccessDenied")
        blind = await fleet.until(DATALOADS, "data", message)
        assert "not known whether the source has changed" in message(blind)
        assert "AccessDenied" in message(blind)
        assert blind["status"]["phase"] == "Complete"
        proxy.rule = lambda asked: None
        await fleet.until(DATALOADS, "data", lambda op: not message(op))
        put(fleet, prefix, b=b"second")
        await fleet.until(DATALOADS, "data", lambda op: op["status"]["infos"].get("files") == "2")


async def test_new_data_outside_triggers_a_migration_into_a_dataset(fleet: Fleet) -> None:
    source, target = f"from-{fleet.namespace}", f"to-{fleet.namespace}"
    put(fleet, source, one=b"1")
    put(fleet, target, there=b"already")
    await fleet.secret()
    dataset = fleet.dataset("data", source=f"s3://{BUCKET}/{target}")
    dataset["spec"]["mounts"][0]["readOnly"] = False
    await fleet.create(dataset, fleet.runtime("local", "data"))
    await fleet.phase(DATASETS, "data", "Bound")
    spec: Json = {
        "from": fleet.external(f"s3://{BUCKET}/{source}"),
        "to": {"dataset": {"name": "data", "namespace": fleet.namespace}},
        "options": {"endpoint": fleet.store.endpoint},
        "policy": "OnEvent",
    }
    await fleet.create(fleet.object(MIGRATES, "in", spec))
    await fleet.phase(MIGRATES, "in", "Complete")
    put(fleet, source, two=b"22")
    await fleet.until(MIGRATES, "in", lambda op: op["status"]["infos"].get("files") == "2")
    await fleet.phase(MIGRATES, "in", "Complete")
    assert got(fleet, target) == {"there": b"already", "one": b"1", "two": b"22"}
