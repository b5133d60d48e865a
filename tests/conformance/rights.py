"""Rights that tests grant."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from addon_framework.api.meta import Json
from addon_framework.testing import eventually
from tests.conformance.api import Api

RBAC = "/apis/rbac.authorization.k8s.io/v1"


def rule(verbs: str, resources: str, group: str = "", names: list[str] | None = None) -> Json:
    """Of a role; verbs and resources are separated by spaces."""
    made: Json = {"apiGroups": [group], "resources": resources.split(), "verbs": verbs.split()}
    return made | ({"resourceNames": names} if names else {})


def acting_as(user: str, *groups: str) -> dict[str, str]:
    """Headers that impersonate."""
    return {"Impersonate-User": user} | ({"Impersonate-Group": groups[0]} if groups else {})


async def grant(api: Api, namespace: str, user: str, *rules: Json) -> None:
    """A role in a namespace, bound to the user."""
    await _bind(api, f"{RBAC}/namespaces/{namespace}/", "Role", user, rules)


async def grant_everywhere(api: Api, user: str, *rules: Json) -> str:
    """A cluster's role, bound to the user; the name of both."""
    return await _bind(api, f"{RBAC}/cluster", "ClusterRole", user, rules)


async def _bind(api: Api, path: str, kind: str, user: str, rules: Sequence[Json]) -> str:
    name = f"conformance-{secrets.token_hex(4)}"
    role = {"metadata": {"name": name}, "rules": list(rules)}
    (await api.post(f"{path}roles", role)).ok(201)
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name}
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}
    binding = {"metadata": {"name": name}, "roleRef": reference, "subjects": [subject]}
    (await api.post(f"{path}rolebindings", binding)).ok(201)
    return name


async def settled(api: Api, namespace: str, user: str, path: str, code: int = 200) -> None:
    """Until the authorizer knows of what was granted: it reads a cache."""

    async def check() -> bool:
        return (await api.get(path, headers=acting_as(user))).code == code

    await eventually(check)
