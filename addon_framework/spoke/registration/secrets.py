"""Secrets on the spoke that hold identities: read and written whole, only when they change."""

from __future__ import annotations

import base64
from collections.abc import Mapping

from addon_framework.api.core import SECRETS
from addon_framework.api.meta import Json
from addon_framework.kube import Client, NotFound
from addon_framework.kube.ensure import ensure
from addon_framework.spoke.registration.credentials import CERTIFICATE, KEY, KeyPair

MANAGER = "boundaryless-registration-agent"


def contents(secret: Json | None) -> dict[str, bytes]:
    """The data of a secret, decoded; empty when there is none."""
    return {name: base64.b64decode(value) for name, value in ((secret or {}).get("data") or {}).items()}


def key_pair(data: Mapping[str, bytes]) -> KeyPair | None:
    """The key and certificate in a secret's data, if both are there."""
    if data.get(KEY) and data.get(CERTIFICATE):
        return KeyPair(data[KEY], data[CERTIFICATE])
    return None


async def read(client: Client, name: str, namespace: str) -> Json | None:
    """The secret, or None."""
    try:
        return await client.get(SECRETS, name, namespace)
    except NotFound:
        return None


async def write(
    client: Client,
    name: str,
    namespace: str,
    data: Mapping[str, bytes],
    labels: Mapping[str, str],
    live: Json | None = None,
) -> None:
    """Make the secret hold `data`, all of it in one write."""
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace, "labels": dict(labels)},
        "type": "Opaque",
        "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
    }
    await ensure(client, live, secret, field_manager=MANAGER, resource=SECRETS)


async def remove(client: Client, name: str, namespace: str) -> None:
    """Delete the secret, if it is there."""
    try:
        await client.delete(SECRETS, name, namespace)
    except NotFound:
        pass
