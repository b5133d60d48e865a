"""What fields lead to in a cluster: warnings, conditions, owners, metadata."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import kubernetes
import pytest

from addon_framework.api.conditions import get_condition
from addon_framework.api.core import PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, PODS
from addon_framework.api.meta import Json
from addon_framework.testing.servers import free_port
from addons.cache_runtime.admission.names import CONFIGURATION, VALIDATING
from addons.cache_runtime.admission.server import Address
from tests.integration.cache_runtime.fleet import DATALOADS, DATASETS, RUNTIMES, Fleet

USER: Json = {"uid": 4321, "gid": 8765, "user": "reader", "group": "readers"}


@pytest.fixture
def webhooks() -> Address:
    return Address("127.0.0.1", "127.0.0.1", port=free_port())


async def test_what_has_no_effect_is_warned_of_and_stays_in_a_condition(
    fleet: Fleet, kubeconfig: Path, model: dict[str, bytes]
) -> None:
    await fleet.until(VALIDATING, CONFIGURATION, lambda configuration: True)
    await fleet.secret()
    await fleet.create(fleet.runtime("thin", "llama", runAs=USER))
    warnings = await asyncio.to_thread(_warnings, kubeconfig, fleet.dataset("llama"))
    said = f"ThinRuntime {fleet.namespace}/llama: spec.runAs: has no effect: a client mounts as root"
    assert said in warnings

    dataset = await fleet.until(
        DATASETS, "llama", lambda d: get_condition(d, "FieldsWithoutEffect") is not None
    )
    condition = get_condition(dataset, "FieldsWithoutEffect")
    assert condition is not None
    assert (condition["status"], condition["message"]) == ("True", said)
    await fleet.client.patch(RUNTIMES["thin"], "llama", {"spec": {"runAs": None}}, fleet.namespace)
    await fleet.until(
        DATASETS, "llama", lambda d: (get_condition(d, "FieldsWithoutEffect") or {}).get("status") == "False"
    )


def _warnings(kubeconfig: Path, obj: Json) -> str:
    """Creates an object as kubectl does; what the server says besides."""
    client = kubernetes.config.new_client_from_config(str(kubeconfig))
    objects = kubernetes.client.CustomObjectsApi(client)
    where = ("data.fluid.io", "v1alpha1", obj["metadata"]["namespace"], "datasets")
    _, status, headers = objects.create_namespaced_custom_object_with_http_info(*where, obj)
    assert status == 201
    return str(headers.get("Warning", ""))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
async def test_a_copy_is_its_owners_and_its_volume_has_the_metadata_that_is_asked_for(
    fleet: Fleet, model: dict[str, bytes]
) -> None:
    await fleet.secret()
    dataset, runtime = fleet.dataset("llama"), fleet.runtime("local", "llama")
    dataset["spec"]["owner"] = USER
    listed = '[{"selector": {"kind": "PersistentVolume"}, "labels": {"team": "a"}}]'
    runtime["metadata"]["annotations"] = {"data.fluid.io/metadataList": listed}
    await fleet.create(dataset, runtime, fleet.load("llama"))
    await fleet.phase(DATALOADS, "llama", "Complete")
    await fleet.phase(DATASETS, "llama", "Bound")

    await fleet.create(fleet.reader("llama", "cd /models && find . ! -path './.*' -exec stat -c %u:%g {} +"))
    owners = (await fleet.output("reader-llama")).split()
    assert len(owners) >= len(model)
    assert set(owners) == {"4321:8765"}
    await fleet.delete(PODS, "reader-llama")

    volume = await fleet.client.get(PERSISTENTVOLUMES, f"{fleet.namespace}-llama")
    assert volume["metadata"]["labels"]["team"] == "a"
    claim = await fleet.client.get(PERSISTENTVOLUMECLAIMS, "llama", fleet.namespace)
    assert "team" not in claim["metadata"]["labels"]
