"""Keys, certificate requests and certificates: what they are for, and until when they are good. Pure."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from addon_framework.api import subjects
from addon_framework.api.meta import Json
from addon_framework.kube import ClientConfig, load_kubeconfig

CERTIFICATE, KEY, TOKEN, KUBECONFIG = "tls.crt", "tls.key", "token", "kubeconfig"
CLUSTER_NAME, AGENT_NAME = "cluster-name", "agent-name"

_LEAST_LEFT, _SPREAD = 0.20, 0.05  # of the lifetime: OCM renews when 20 to 25 % of it is left


@dataclass(frozen=True)
class Subject:
    """Whom a certificate speaks for."""

    user: str
    groups: Sequence[str] = ()
    units: Sequence[str] = ()

    def name(self) -> x509.Name:
        """As certificates spell it."""
        parts = [(NameOID.ORGANIZATION_NAME, group) for group in self.groups]
        parts += [(NameOID.ORGANIZATIONAL_UNIT_NAME, unit) for unit in self.units]
        return subjects.name([*parts, (NameOID.COMMON_NAME, self.user)])

    def is_of(self, certificate: x509.Certificate) -> bool:
        """Whether a certificate says the same, in whatever order."""
        return set(subjects.subject(certificate)) == set(self.name())


@dataclass(frozen=True)
class KeyPair:
    """PEM of a key and of its certificate."""

    key: bytes
    certificate: bytes

    def leaf(self) -> x509.Certificate:
        """The certificate itself. Raises ValueError."""
        return x509.load_pem_x509_certificate(self.certificate)

    def problem(self, subject: Subject, now: datetime) -> str:
        """Why it cannot be used, "" when it can."""
        try:
            leaf, key = self.leaf(), serialization.load_pem_private_key(self.key, None)
        except ValueError as error:
            return f"the certificate or its key cannot be read: {error}"
        if leaf.public_key() != key.public_key():
            return "the certificate is not that of the key"
        if not subject.is_of(leaf):
            other = subjects.subject(leaf).rfc4514_string()
            return f"the certificate is for {other}, not for {subject.user}"
        if now >= leaf.not_valid_after_utc:
            return f"the certificate expired at {leaf.not_valid_after_utc}"
        return ""

    def renewal(self) -> datetime:
        """When to ask for the next one."""
        leaf = self.leaf()
        return renewal_time(leaf.not_valid_before_utc, leaf.not_valid_after_utc, leaf.serial_number)


def renewal_time(since: datetime, until: datetime, number: int) -> datetime:
    """When to replace what is good for so long. The spread is by its number: a restart changes nothing."""
    left = _LEAST_LEFT + _SPREAD * (number % 997) / 997
    return until - (until - since) * left


def new_key() -> bytes:
    """PEM of a fresh key."""
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def request_pem(key: bytes, subject: Subject) -> bytes:
    """A certificate request, signed with the key."""
    loaded = serialization.load_pem_private_key(key, None)
    assert isinstance(loaded, ec.EllipticCurvePrivateKey)
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject.name())
    return builder.sign(loaded, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def fingerprint(key: bytes) -> str:
    """A short name of a key's public half."""
    public = serialization.load_pem_private_key(key, None).public_key()
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()[:10]


def kubeconfig(hub: ClientConfig, namespace: str, *, by_token: bool = False) -> bytes:
    """A kubeconfig that takes credentials from the files beside it, so that they can be renewed."""
    user = {"tokenFile": TOKEN} if by_token else {"client-certificate": CERTIFICATE, "client-key": KEY}
    cluster: Json = {"server": hub.server}
    if hub.ca:
        cluster["certificate-authority-data"] = base64.b64encode(hub.ca).decode()
    if not hub.verify:
        cluster["insecure-skip-tls-verify"] = True
    if hub.tls_server_name:
        cluster["tls-server-name"] = hub.tls_server_name
    context = {"cluster": "hub", "user": "agent", "namespace": namespace}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "hub", "cluster": cluster}],
        "users": [{"name": "agent", "user": user}],
        "contexts": [{"name": "agent", "context": context}],
        "current-context": "agent",
    }
    return yaml.safe_dump(config, sort_keys=False).encode()


def client_config(data: dict[str, bytes]) -> ClientConfig:
    """How to reach the hub by what a secret holds. Raises ConfigError, KeyError or ValueError."""
    config = yaml.safe_load(data[KUBECONFIG])
    for entry in config["users"]:
        user = entry["user"]
        for field, key in (("client-certificate", CERTIFICATE), ("client-key", KEY)):
            if user.pop(field, None):
                user[f"{field}-data"] = base64.b64encode(data[key]).decode()
        if user.pop("tokenFile", None):
            user["token"] = data[TOKEN].decode()
    return load_kubeconfig(config)


def same_hub(one: ClientConfig, other: ClientConfig) -> bool:
    """Whether two configurations lead to the same hub: its address, and who vouches for it."""

    def place(config: ClientConfig) -> tuple[object, ...]:
        return config.server, (config.ca or b"").strip(), config.verify, config.tls_server_name

    return place(one) == place(other)
