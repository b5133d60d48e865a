"""Who asks: client certificates, service-account tokens, bootstrap tokens, impersonation.

https://kubernetes.io/docs/reference/access-authn-authz/authentication/
"""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import re
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import orjson
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from addon_framework.api import subjects
from addon_framework.api.meta import Json
from addon_framework.api.time import now_rfc3339, parse_time
from addon_framework.local.apiserver.store import Store

ISSUER = "https://kubernetes.default.svc.cluster.local"
AUDIENCES = (ISSUER,)
_HASH = hashes.SHA256()
_NEWCOMERS = re.compile("system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]")


@dataclass(frozen=True)
class User:
    """An authenticated identity."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def is_admin(self) -> bool:
        """system:masters is above RBAC."""
        return "system:masters" in self.groups

    def info(self) -> Json:
        """As reviews and CSRs spell it."""
        info: Json = {"username": self.name, "groups": list(self.groups)}
        if self.uid:
            info["uid"] = self.uid
        if self.extra:
            info["extra"] = {key: list(values) for key, values in self.extra.items()}
        return info


ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))
_AUTHENTICATED = "system:authenticated"


@functools.lru_cache(20_000)  # each cluster of a hub has one for itself and one for every add-on
def user_from_certificate(der: bytes) -> User:
    """CN is the name, each O a group; the TLS layer has verified the chain."""
    subject = subjects.subject(x509.load_der_x509_certificate(der))
    names = subjects.values(subject, NameOID.COMMON_NAME)
    groups = subjects.values(subject, NameOID.ORGANIZATION_NAME)
    return User(names[0] if names else "", (*groups, _AUTHENTICATED))


class Tokens:
    """Issues and checks bearer tokens: RS256 JWTs of service accounts, and bootstrap tokens from Secrets."""

    def __init__(self, key: rsa.RSAPrivateKey, store: Store, clock: Callable[[], float] = time.time) -> None:
        self._key, self._store, self._clock = key, store, clock
        der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self._key_id = _b64(hashlib.sha256(der).digest())
        self._verified: dict[str, Json] = {}

    def issue(
        self, account: Json, seconds: int, audiences: Sequence[str] = (), bound: Json | None = None
    ) -> tuple[str, str]:
        """A token for a ServiceAccount, and when it expires. `bound` is the object it lives with."""
        now = int(self._clock())
        metadata = account["metadata"]
        private: Json = {
            "namespace": metadata["namespace"],
            "serviceaccount": {"name": metadata["name"], "uid": metadata["uid"]},
        }
        if bound:
            private[bound["kind"].lower()] = {"name": bound["name"], "uid": bound["uid"]}
        claims = {
            "iss": ISSUER,
            "sub": f"system:serviceaccount:{metadata['namespace']}:{metadata['name']}",
            "aud": list(audiences or AUDIENCES),
            "iat": now,
            "jti": str(uuid.uuid4()),
            "nbf": now,
            "exp": now + seconds,
            "kubernetes.io": private,
        }
        head = _b64(orjson.dumps({"alg": "RS256", "kid": self._key_id}))
        signed = f"{head}.{_b64(orjson.dumps(claims))}"
        signature = self._key.sign(signed.encode(), padding.PKCS1v15(), _HASH)
        expires = now_rfc3339(datetime.fromtimestamp(now + seconds, UTC))
        return f"{signed}.{_b64(signature)}", expires

    def key_set(self) -> Json:
        """What others check tokens with: https://datatracker.ietf.org/doc/html/rfc7517"""
        public = self._key.public_key().public_numbers()
        n, e = (_b64(each.to_bytes((each.bit_length() + 7) // 8)) for each in (public.n, public.e))
        key = {"use": "sig", "kty": "RSA", "kid": self._key_id, "alg": "RS256", "n": n, "e": e}
        return {"keys": [key]}

    def user(self, token: str, audiences: Sequence[str] = AUDIENCES) -> User | None:
        """Whose token it is; None when it is not valid (any more)."""
        if token.count(".") == 1:
            return self._bootstrap(token)
        claims = self._claims(token)
        if claims is None or not set(audiences) & set(claims.get("aud") or ()):
            return None
        private = claims.get("kubernetes.io") or {}
        namespace, account = private.get("namespace", ""), private.get("serviceaccount") or {}
        stored = self._store.get("serviceaccounts", (namespace, account.get("name", "")))
        if stored is None or stored["metadata"]["uid"] != account.get("uid"):
            return None
        extra: dict[str, list[str]] = {}
        for kind, resource in (("pod", "pods"), ("secret", "secrets"), ("node", "nodes")):
            bound = private.get(kind)
            if bound is None:
                continue
            found = self._store.get(resource, ("" if kind == "node" else namespace, bound["name"]))
            if found is None or found["metadata"]["uid"] != bound["uid"]:
                return None
            if kind == "pod":
                extra = {
                    "authentication.kubernetes.io/pod-name": [bound["name"]],
                    "authentication.kubernetes.io/pod-uid": [bound["uid"]],
                }
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", _AUTHENTICATED)
        return User(str(claims["sub"]), groups, str(account["uid"]), extra)

    def _claims(self, token: str) -> Json | None:
        """The claims of a token whose signature and times are right. Signatures are checked once."""
        claims = self._verified.get(token)
        if claims is None:
            try:
                head, body, signature = token.split(".")
                if orjson.loads(_unb64(head)).get("alg") != "RS256":
                    return None
                self._key.public_key().verify(
                    _unb64(signature), f"{head}.{body}".encode(), padding.PKCS1v15(), _HASH
                )
                claims = orjson.loads(_unb64(body))
            except (ValueError, InvalidSignature, AttributeError):
                return None
            if not isinstance(claims, dict) or claims.get("iss") != ISSUER:
                return None
            if len(self._verified) > 10_000:
                self._verified.clear()
            self._verified[token] = claims
        now = self._clock()
        if not claims["nbf"] - 60 <= now < claims["exp"]:
            self._verified.pop(token, None)
            return None
        return claims

    def _bootstrap(self, token: str) -> User | None:
        """https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/"""
        identity, secret = token.split(".")
        stored = self._store.get("secrets", ("kube-system", f"bootstrap-token-{identity}"))
        if stored is None or stored.get("type") != "bootstrap.kubernetes.io/token":
            return None
        data = {
            name: base64.b64decode(value).decode(errors="replace")
            for name, value in (stored.get("data") or {}).items()
        }
        right = hmac.compare_digest(data.get("token-secret", "").encode(), secret.encode())
        if stored["metadata"].get("deletionTimestamp") or data.get("token-id") != identity:
            return None
        if not right or data.get("usage-bootstrap-authentication") != "true":
            return None
        if expiration := data.get("expiration"):
            try:
                if parse_time(expiration).timestamp() <= self._clock():
                    return None
            except ValueError:
                return None
        extra = [group for group in data.get("auth-extra-groups", "").split(",") if group]
        if not all(map(_NEWCOMERS.fullmatch, extra)):
            return None
        return User(f"system:bootstrap:{identity}", ("system:bootstrappers", *extra, _AUTHENTICATED))


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
