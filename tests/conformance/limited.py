"""What limits and quotas are tried on, and how they refuse it."""

from __future__ import annotations

from typing import Any

from addon_framework.api.meta import Json
from addon_framework.testing import eventually
from tests.conformance.api import Answer, Api


def at(namespace: str, plural: str, name: str = "") -> str:
    """The path of core objects of a namespace, or of one."""
    return f"/api/v1/namespaces/{namespace}/{plural}" + (f"/{name}" if name else "")


def container(name: str = "c", **resources: Json) -> Json:
    """One with requests or limits."""
    return {"name": name, "image": "i", "resources": resources}


def pod(name: str = "p", *containers: Json, **spec: Any) -> Json:
    """A Pod."""
    return {"metadata": {"name": name}, "spec": {"containers": list(containers) or [container()], **spec}}


def claim(name: str, size: str, storage_class: str = "") -> Json:
    """A PersistentVolumeClaim."""
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
    return {"metadata": {"name": name}, "spec": {**spec, "storageClassName": storage_class}}


async def noticed(api: Api, path: str, body: Json) -> None:
    """An object like that is refused."""

    async def known() -> bool:
        return (await api.post(path, body, dryRun="All")).code == 403

    await eventually(known)


def refusal(answer: Answer, plural: str, name: str) -> str:
    """Why, without what every refusal begins with."""
    body = answer.is_status(403, "Forbidden")
    assert body["details"] == {"name": name, "kind": plural}
    start = f'{plural} "{name}" is forbidden: '
    assert body["message"].startswith(start), body
    return str(body["message"].removeprefix(start))


async def limit(api: Api, namespace: str, *items: Json) -> None:
    """A LimitRange that the server has taken notice of."""
    marker = {"type": "PersistentVolumeClaim", "max": {"storage": "5Ei"}}
    body = {"metadata": {"name": "limits"}, "spec": {"limits": [marker, *items]}}
    (await api.post(at(namespace, "limitranges"), body)).ok(201)
    await noticed(api, at(namespace, "persistentvolumeclaims"), claim("m", "7.5Ei"))
