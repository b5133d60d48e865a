"""Tokens of service accounts on the hub, in place of certificates, as identities of add-ons' agents."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import orjson

from addon_framework.api.conditions import get_condition
from addon_framework.api.core import SERVICEACCOUNTS
from addon_framework.api.meta import Json
from addon_framework.api.names import CONDITION_TOKENS
from addon_framework.kube import Client
from addon_framework.spoke.registration.credentials import renewal_time

LIFETIME = timedelta(hours=24)
REFRESHED = "TokenRefreshed"
_UID = re.compile(r"UID: ([^)]+)\)")


@dataclass(frozen=True)
class Token:
    """What a token says of itself; whether it is true the hub judges."""

    account_uid: str
    issued: datetime
    expires: datetime
    digest: int

    def renewal(self) -> datetime:
        """When to fetch the next one."""
        return renewal_time(self.issued, self.expires, self.digest)


def read(token: bytes) -> Token | None:
    """The claims of a token; None where it is none."""
    try:
        payload = token.split(b".")[1]
        claims = orjson.loads(base64.urlsafe_b64decode(payload + b"=" * (-len(payload) % 4)))
        account = claims["kubernetes.io"]["serviceaccount"]
        return Token(
            str(account["uid"]),
            datetime.fromtimestamp(claims["iat"], UTC),
            datetime.fromtimestamp(claims["exp"], UTC),
            int.from_bytes(hashlib.sha256(token).digest()[:4]),
        )
    except (IndexError, KeyError, TypeError, ValueError, binascii.Error):
        return None


def account_uid(addon: Json) -> str:
    """The uid of the account that the hub has made for the add-on, "" while there is none."""
    ready = get_condition(addon, CONDITION_TOKENS)
    if ready is None or ready["status"] != "True":
        return ""
    found = _UID.search(ready.get("message") or "")
    return found[1] if found else ""


def user(addon: Json) -> str:
    """Who the add-on's agent is on the hub, with such a token."""
    return f"system:serviceaccount:{addon['metadata']['namespace']}:{addon['metadata']['name']}-agent"


async def fetch(hub: Client, addon: Json) -> bytes:
    """A token of the add-on's account. Raises ApiError."""
    request = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": int(LIFETIME.total_seconds())},
    }
    name, cluster = addon["metadata"]["name"], addon["metadata"]["namespace"]
    path = SERVICEACCOUNTS.path(cluster, f"{name}-agent", "token")
    answer = await hub.request("POST", path, body=request)
    return str(answer["status"]["token"]).encode()
