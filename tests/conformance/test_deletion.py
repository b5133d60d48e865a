"""Deletion: finalizers, preconditions, collections, garbage collection, namespaces."""

from __future__ import annotations

import secrets
import uuid

import pytest

from addon_framework.api.meta import Json
from addon_framework.testing import eventually
from tests.conformance.api import Api
from tests.conformance.objects import config_map, config_maps

HOLD = "conformance.example.com/hold"


async def gone(api: Api, path: str) -> None:
    async def check() -> bool:
        return (await api.get(path)).code == 404

    await eventually(check)


def owner(obj: Json, *, block: bool = False) -> Json:
    metadata = obj["metadata"]
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": metadata["name"], "uid": metadata["uid"]}
    return reference | ({"blockOwnerDeletion": True} if block else {})


async def test_17_what_is_held_only_gets_a_mark(api: Api, namespace: str) -> None:
    path = config_maps(namespace, "a")
    await api.post(config_maps(namespace), config_map("a", finalizers=[HOLD]))
    marked = (await api.delete(path)).ok()
    assert marked["metadata"]["deletionTimestamp"]
    assert marked["metadata"]["finalizers"] == [HOLD]
    again = (await api.delete(path)).ok()
    assert again["metadata"]["deletionTimestamp"] == marked["metadata"]["deletionTimestamp"]
    more = await api.patch(path, {"metadata": {"finalizers": [HOLD, f"{HOLD}2"]}})
    more.is_status(422, "Invalid")
    assert more.causes == {"metadata.finalizers": "FieldValueForbidden"}
    (await api.patch(path, {"data": {"still": "writable"}})).ok()
    (await api.patch(path, {"metadata": {"finalizers": None}})).ok()
    (await api.get(path)).is_status(404, "NotFound")


async def test_17_what_nothing_holds_goes_at_once(api: Api, namespace: str) -> None:
    made = (await api.post(config_maps(namespace), config_map("a"))).ok(201)
    body = (await api.delete(config_maps(namespace, "a"))).ok()
    assert (body["kind"], body["status"]) == ("Status", "Success")
    assert body["details"] == {"name": "a", "kind": "configmaps", "uid": made["metadata"]["uid"]}
    (await api.delete(config_maps(namespace, "a"))).is_status(404, "NotFound")


async def test_17_a_client_cannot_set_the_mark(api: Api, namespace: str) -> None:
    made = await api.post(config_maps(namespace), config_map("a", deletionTimestamp="2026-01-01T00:00:00Z"))
    assert "deletionTimestamp" not in made.ok(201)["metadata"]


async def test_18_background(api: Api, namespace: str, controllers: None) -> None:
    made = (await api.post(config_maps(namespace), config_map("owner"))).ok(201)
    await api.post(config_maps(namespace), config_map("owned", ownerReferences=[owner(made)]))
    await api.delete(config_maps(namespace, "owner"), {"propagationPolicy": "Background"})
    (await api.get(config_maps(namespace, "owner"))).is_status(404, "NotFound")
    await gone(api, config_maps(namespace, "owned"))


async def test_18_foreground(api: Api, namespace: str, controllers: None) -> None:
    made = (await api.post(config_maps(namespace), config_map("owner"))).ok(201)
    held = config_map("owned", ownerReferences=[owner(made, block=True)], finalizers=[HOLD])
    (await api.post(config_maps(namespace), held)).ok(201)
    marked = (await api.delete(config_maps(namespace, "owner"), {"propagationPolicy": "Foreground"})).ok()
    assert marked["metadata"]["finalizers"] == ["foregroundDeletion"]

    async def dependent_marked() -> bool:
        found = (await api.get(config_maps(namespace, "owned"))).ok()
        return "deletionTimestamp" in found["metadata"]

    await eventually(dependent_marked)
    (await api.get(config_maps(namespace, "owner"))).ok()
    await api.patch(config_maps(namespace, "owned"), {"metadata": {"finalizers": None}})
    await gone(api, config_maps(namespace, "owned"))
    await gone(api, config_maps(namespace, "owner"))


async def test_18_orphan(api: Api, namespace: str, controllers: None) -> None:
    made = (await api.post(config_maps(namespace), config_map("owner"))).ok(201)
    await api.post(config_maps(namespace), config_map("owned", ownerReferences=[owner(made)]))
    await api.delete(config_maps(namespace, "owner"), {"propagationPolicy": "Orphan"})
    await gone(api, config_maps(namespace, "owner"))

    async def free() -> bool:
        found = (await api.get(config_maps(namespace, "owned"))).ok()
        return not found["metadata"].get("ownerReferences")

    await eventually(free)


async def test_18_an_owner_that_never_was(api: Api, namespace: str, controllers: None) -> None:
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "never", "uid": str(uuid.uuid4())}
    (await api.post(config_maps(namespace), config_map("a", ownerReferences=[reference]))).ok(201)
    await gone(api, config_maps(namespace, "a"))


async def test_18_an_owner_is_of_the_same_namespace(api: Api, namespace: str, controllers: None) -> None:
    """Elsewhere it is as if it were not there, though its uid is known."""
    made = (await api.post(config_maps("default"), config_map(namespace))).ok(201)
    await api.post(config_maps(namespace), config_map("owned", ownerReferences=[owner(made)]))
    await gone(api, config_maps(namespace, "owned"))
    (await api.delete(config_maps("default", namespace))).ok()


async def test_18_one_of_two_owners_is_enough(api: Api, namespace: str, controllers: None) -> None:
    one = (await api.post(config_maps(namespace), config_map("one"))).ok(201)
    two = (await api.post(config_maps(namespace), config_map("two"))).ok(201)
    await api.post(config_maps(namespace), config_map("a", ownerReferences=[owner(one), owner(two)]))
    await api.delete(config_maps(namespace, "one"), {"propagationPolicy": "Background"})

    async def only_two() -> bool:
        found = (await api.get(config_maps(namespace, "a"))).ok()
        return [r["name"] for r in found["metadata"]["ownerReferences"]] == ["two"]

    await eventually(only_two)


async def test_18_two_controllers_are_refused(api: Api, namespace: str) -> None:
    references = [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": n, "uid": str(uuid.uuid4()), "controller": True}
        for n in ("a", "b")
    ]
    answer = await api.post(config_maps(namespace), config_map("x", ownerReferences=references))
    answer.is_status(422, "Invalid")
    assert answer.causes == {"metadata.ownerReferences": "FieldValueInvalid"}


@pytest.mark.parametrize("wanted", [{"uid": str(uuid.UUID(int=1))}, {"resourceVersion": "1"}])
async def test_19_preconditions(api: Api, namespace: str, wanted: dict[str, str]) -> None:
    made = (await api.post(config_maps(namespace), config_map("a"))).ok(201)
    path = config_maps(namespace, "a")
    (await api.delete(path, {"preconditions": wanted})).is_status(409, "Conflict")
    right = {key: made["metadata"][key] for key in wanted}
    (await api.delete(path, {"preconditions": right})).ok()


async def test_19_collections_by_selector(api: Api, namespace: str) -> None:
    for name, label in (("a", "x"), ("b", "x"), ("c", "y")):
        await api.post(config_maps(namespace), config_map(name, labels={"l": label}))
    deleted = (await api.delete(config_maps(namespace), labelSelector="l=x")).ok()
    assert deleted["kind"] in ("ConfigMapList", "Status")
    left = (await api.get(config_maps(namespace), labelSelector="l")).ok()["items"]
    assert [each["metadata"]["name"] for each in left] == ["c"]


async def test_20_no_content_without_namespace(api: Api) -> None:
    answer = await api.post(config_maps("not-there"), config_map("a"))
    assert answer.is_status(404, "NotFound")["message"] == 'namespaces "not-there" not found'


async def test_20_the_end_of_a_namespace(api: Api, controllers: None) -> None:
    name = f"end-{secrets.token_hex(4)}"
    path = f"/api/v1/namespaces/{name}"
    made = (await api.post("/api/v1/namespaces", {"metadata": {"name": name}})).ok(201)
    assert made["spec"]["finalizers"] == ["kubernetes"]
    assert made["metadata"]["labels"]["kubernetes.io/metadata.name"] == name
    (await api.post(config_maps(name), config_map("held", finalizers=[HOLD]))).ok(201)
    (await api.post(config_maps(name), config_map("free"))).ok(201)
    marked = (await api.delete(path)).ok()
    assert marked["status"]["phase"] == "Terminating"
    refused = await api.post(config_maps(name), config_map("late"))
    refused.is_status(403, "Forbidden")
    assert "NamespaceTerminating" in refused.causes.values()
    await gone(api, config_maps(name, "free"))

    async def says_why() -> bool:
        status = (await api.get(path)).ok()["status"]
        types = {c["type"]: c["status"] for c in status.get("conditions") or ()}
        return types.get("NamespaceFinalizersRemaining", types.get("NamespaceContentRemaining")) == "True"

    await eventually(says_why)
    await api.patch(config_maps(name, "held"), {"metadata": {"finalizers": None}})
    await gone(api, path)
