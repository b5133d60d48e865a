"""Claims and volumes that are deleted while they are used stay until they are not."""

from __future__ import annotations

import secrets
from typing import Any

import pytest

from addon_framework.api.meta import Json
from addon_framework.testing import eventually
from tests.conformance.api import Api

pytestmark = pytest.mark.usefixtures("controllers")
SIZE = {"storage": "1Gi"}
VOLUMES = "/api/v1/persistentvolumes"


def claims(namespace: str, name: str = "") -> str:
    return f"/api/v1/namespaces/{namespace}/persistentvolumeclaims" + (f"/{name}" if name else "")


def pods(namespace: str, name: str = "") -> str:
    return f"/api/v1/namespaces/{namespace}/pods" + (f"/{name}" if name else "")


def claim(name: str) -> Json:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": SIZE}, "storageClassName": ""}
    return {"metadata": {"name": name}, "spec": spec}


def user_of(name: str, **spec: Any) -> Json:
    """A pod with a claim."""
    volume = {"name": "v", "persistentVolumeClaim": {"claimName": name}}
    containers = [{"name": "c", "image": "i"}]
    metadata = {"name": f"of-{name}"}
    return {"metadata": metadata, "spec": {"containers": containers, "volumes": [volume], **spec}}


def volume(name: str) -> Json:
    source = {"hostPath": {"path": "/tmp/none"}}
    return {
        "metadata": {"name": name},
        "spec": {"accessModes": ["ReadWriteOnce"], "capacity": SIZE, **source},
    }


async def gone(api: Api, path: str) -> None:
    async def check() -> bool:
        return (await api.get(path)).code == 404

    await eventually(check)


async def looked_at(api: Api, namespace: str) -> None:
    """The controller has seen everything that was done before."""
    (await api.post(claims(namespace), claim("marker"))).ok(201)
    (await api.delete(claims(namespace, "marker"))).ok()
    await gone(api, claims(namespace, "marker"))


async def test_17_a_claim_stays_while_a_pod_on_a_node_has_it(api: Api, namespace: str) -> None:
    made = (await api.post(claims(namespace), claim("used"))).ok(201)
    assert made["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]
    (await api.post(pods(namespace), user_of("used", nodeName="nowhere"))).ok(201)
    marked = (await api.delete(claims(namespace, "used"))).ok()
    assert marked["metadata"]["deletionTimestamp"]
    await looked_at(api, namespace)
    (await api.get(claims(namespace, "used"))).ok()
    # A pod that has ended has its volumes still.
    ended = {"status": {"phase": "Succeeded"}}
    (await api.patch(pods(namespace, "of-used") + "/status", ended)).ok()
    await looked_at(api, namespace)
    (await api.get(claims(namespace, "used"))).ok()
    (await api.delete(pods(namespace, "of-used"), gracePeriodSeconds=0)).ok()
    await gone(api, claims(namespace, "used"))


async def test_17_a_pod_without_a_node_holds_no_claim(api: Api, namespace: str) -> None:
    (await api.post(claims(namespace), claim("wanted"))).ok(201)
    (await api.post(pods(namespace), user_of("wanted"))).ok(201)
    (await api.delete(claims(namespace, "wanted"))).ok()
    await gone(api, claims(namespace, "wanted"))


async def test_17_a_volume_stays_while_it_is_bound(api: Api) -> None:
    bound, free = (f"{each}-{secrets.token_hex(4)}" for each in ("bound", "free"))
    for name in (bound, free):
        made = (await api.post(VOLUMES, volume(name))).ok(201)
        assert made["metadata"]["finalizers"] == ["kubernetes.io/pv-protection"]
    (await api.patch(f"{VOLUMES}/{bound}/status", {"status": {"phase": "Bound"}})).ok()
    for name in (bound, free):
        (await api.delete(f"{VOLUMES}/{name}")).ok()
    await gone(api, f"{VOLUMES}/{free}")
    (await api.get(f"{VOLUMES}/{bound}")).ok()
    (await api.patch(f"{VOLUMES}/{bound}/status", {"status": {"phase": "Released"}})).ok()
    await gone(api, f"{VOLUMES}/{bound}")


async def test_17_protection_that_is_taken_off_comes_back(api: Api, namespace: str) -> None:
    (await api.post(claims(namespace), claim("bare"))).ok(201)
    (await api.patch(claims(namespace, "bare"), {"metadata": {"finalizers": None}})).ok()

    async def protected() -> bool:
        found = (await api.get(claims(namespace, "bare"))).ok()
        return bool(found["metadata"].get("finalizers") == ["kubernetes.io/pvc-protection"])

    await eventually(protected)


async def test_20_a_namespace_goes_with_claims_that_its_pods_have(api: Api, namespace: str) -> None:
    name = f"{namespace}-full"
    (await api.post("/api/v1/namespaces", {"metadata": {"name": name}})).ok(201)

    async def furnished() -> bool:
        return (await api.get(f"/api/v1/namespaces/{name}/serviceaccounts/default")).code == 200

    await eventually(furnished)
    (await api.post(claims(name), claim("data"))).ok(201)
    (await api.post(pods(name), user_of("data", nodeName="nowhere", terminationGracePeriodSeconds=0))).ok(201)
    (await api.delete(f"/api/v1/namespaces/{name}")).ok()
    await gone(api, f"/api/v1/namespaces/{name}")
