"""Fields of a status that a server with another's definition of the kind drops."""

from __future__ import annotations

from addon_framework.api.meta import Json, Resource
from addon_framework.kube import Client, NotFound, apply_crds, patch_status
from addon_framework.testing import eventually

KIND = Resource("tests.boundaryless.io", "v1", "caches", "Cache")
OURS = ("numbers",)


def definition(**fields: Json) -> Json:
    """As upstream might have it: with some of the fields."""
    status: Json = {"type": "object", "properties": {"phase": {"type": "string"}, **fields}}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"status": status}}},
        "subresources": {"status": {}},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "caches.tests.boundaryless.io"},
        "spec": {
            "group": KIND.group,
            "names": {"kind": "Cache", "plural": "caches", "singular": "cache", "listKind": "CacheList"},
            "scope": "Namespaced",
            "versions": [version],
        },
    }


async def test_what_a_server_drops_is_not_sent_again(client: Client, namespace: str) -> None:
    await apply_crds(client, [definition()], field_manager="tests")
    body = {"apiVersion": KIND.api_version, "kind": "Cache", "metadata": {"name": "c"}}
    obj = await eventually(lambda: client.create(KIND, body, namespace), swallow=NotFound)

    async def write(phase: str) -> bool:
        live = await client.get(KIND, "c", namespace)
        return await patch_status(
            client, KIND, live, {"phase": phase, "numbers": {"files": 1}}, optional=OURS
        )

    assert obj["metadata"]["name"] == "c"
    assert await write("Pending")
    assert (await client.get(KIND, "c", namespace))["status"] == {"phase": "Pending"}
    assert not await write("Pending")
    assert await write("Bound")
    numbers = {"type": "object", "properties": {"files": {"type": "integer"}}}
    await apply_crds(client, [definition(numbers=numbers)], field_manager="tests")

    async def kept() -> bool:
        await write("Pending")
        await write("Bound")
        return "numbers" in (await client.get(KIND, "c", namespace))["status"]

    await eventually(kept)
    assert not await write("Bound")
