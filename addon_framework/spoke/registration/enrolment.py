"""From a wish for a certificate to the certificate, one step at a time.

The key waits in a Secret of the agents while the hub decides, and the request is named after the key. So an
agent that is killed goes on with the request that somebody may be approving right now.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

import structlog

from addon_framework.api.conditions import get_condition
from addon_framework.api.core import CSRS
from addon_framework.api.meta import Json
from addon_framework.kube import AlreadyExists, Client, Conflict, NotFound, wait_for
from addon_framework.plugins.types import KUBE_CLIENT_SIGNER
from addon_framework.spoke.home import Home
from addon_framework.spoke.registration import secrets
from addon_framework.spoke.registration.credentials import (
    KEY,
    KeyPair,
    Subject,
    fingerprint,
    new_key,
    request_pem,
)

log = structlog.get_logger(__name__)
_REQUEST = "request"
_USAGES = ("digital signature", "key encipherment", "client auth")


class Declined(Exception):
    """The hub denied the request, or could not sign it; the next one gets a new key."""


@dataclass(frozen=True)
class Enrolment:
    """A wanted certificate. `pending` names the Secret that keeps its key meanwhile."""

    pending: str
    request_prefix: str
    labels: Mapping[str, str]
    subject: Subject
    signer: str = KUBE_CLIENT_SIGNER

    def digest(self, server: str) -> str:
        """What a waiting key is for: it must not end up in a request for something else."""
        text = repr(
            (server, self.signer, self.subject.user, list(self.subject.groups), list(self.subject.units))
        )
        return hashlib.sha256(text.encode()).hexdigest()


async def advance(hub: Client, home: Home, wanted: Enrolment, now: Callable[[], datetime]) -> KeyPair | None:
    """Ask if nobody asked yet, and look at the answer; None while there is none. Raises Declined.

    What time it is on the hub may be known by its answer only.
    """
    key = await _key(home, wanted, hub.server)
    name = wanted.request_prefix + fingerprint(key)
    try:
        csr = await hub.get(CSRS, name)
    except NotFound:
        csr = await _ask(hub, wanted, key, name)
    for verdict in ("Denied", "Failed"):
        if condition := get_condition(csr, verdict):
            await forget(home, wanted)
            reason = condition.get("message") or condition.get("reason") or "no reason given"
            raise Declined(f"certificate request {name}: {verdict.lower()}: {reason}")
    encoded = (csr.get("status") or {}).get("certificate")
    if not encoded:
        return None
    pair = KeyPair(key, base64.b64decode(encoded))
    if problem := pair.problem(wanted.subject, now()):
        await forget(home, wanted)
        raise Declined(f"certificate request {name}: {problem}")
    return pair


async def forget(home: Home, wanted: Enrolment) -> None:
    """The certificate is stored, or will never come: drop the waiting key."""
    await secrets.remove(home.client, wanted.pending, home.namespace)


async def answered(hub: Client, home: Home, wanted: Enrolment, timeout: float) -> None:
    """Returns when looking at the request again makes sense. Raises WaitTimeoutError."""
    name = wanted.request_prefix + fingerprint(await _key(home, wanted, hub.server))
    await wait_for(hub, CSRS, name, until=_is_answered, timeout=timeout, what="answered")


def _is_answered(csr: Json | None) -> bool:
    if csr is None or (csr.get("status") or {}).get("certificate"):
        return True
    return any(get_condition(csr, verdict) for verdict in ("Denied", "Failed"))


async def _key(home: Home, wanted: Enrolment, server: str) -> bytes:
    digest = wanted.digest(server).encode()
    data = secrets.contents(await secrets.read(home.client, wanted.pending, home.namespace))
    if data.get(_REQUEST) == digest and data.get(KEY):
        return data[KEY]
    fresh = {_REQUEST: digest, KEY: new_key()}
    await secrets.write(home.client, wanted.pending, home.namespace, fresh, wanted.labels)
    return fresh[KEY]


async def _ask(hub: Client, wanted: Enrolment, key: bytes, name: str) -> Json:
    csr = {
        "apiVersion": CSRS.api_version,
        "kind": CSRS.kind,
        "metadata": {"name": name, "labels": dict(wanted.labels)},
        "spec": {
            "request": base64.b64encode(request_pem(key, wanted.subject)).decode(),
            "signerName": wanted.signer,
            "usages": list(_USAGES),
        },
    }
    try:
        made = await hub.create(CSRS, csr)
    except AlreadyExists as error:
        raise Conflict(409, "Conflict", error.message) from error  # made since we looked: look again
    log.info("certificate requested", csr=name, user=wanted.subject.user)
    return made
