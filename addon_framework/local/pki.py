"""The certificates of one embedded cluster: its own authority, and what that signs."""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from addon_framework.api import subjects
from addon_framework.local.private import write_private

_EKU = {"client auth": ExtendedKeyUsageOID.CLIENT_AUTH, "server auth": ExtendedKeyUsageOID.SERVER_AUTH}
YEAR = timedelta(days=365)


@dataclass(frozen=True)
class KeyPair:
    """PEM of a certificate and its key."""

    cert: bytes
    key: bytes


@dataclass
class Authority:
    """Signs certificates in the name of a cluster."""

    cert_pem: bytes
    key: ec.EllipticCurvePrivateKey

    def __post_init__(self) -> None:
        self._cert = x509.load_pem_x509_certificate(self.cert_pem)

    @classmethod
    def create(cls, name: str, now: datetime | None = None) -> Authority:
        """A new, self-signed authority, valid for ten years."""
        now = now or datetime.now(UTC)
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        cert = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(now + 10 * YEAR)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(_key_usage(sign_certificates=True), critical=True)
            .sign(key, hashes.SHA256())
        )
        return cls(cert.public_bytes(serialization.Encoding.PEM), key)

    @classmethod
    def load(cls, directory: Path) -> Authority:
        """From `ca.crt` and `ca.key`."""
        key = serialization.load_pem_private_key((directory / "ca.key").read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return cls((directory / "ca.crt").read_bytes(), key)

    def save(self, directory: Path) -> None:
        """To `ca.crt` and `ca.key`, the latter for us alone."""
        write_private(directory / "ca.key", private_pem(self.key))
        (directory / "ca.crt").write_bytes(self.cert_pem)

    def issue(
        self,
        common_name: str,
        organizations: Sequence[str] = (),
        *,
        usage: str = "client auth",
        addresses: Sequence[str] = (),
        lifetime: timedelta = YEAR,
    ) -> KeyPair:
        """A new key and a certificate for it."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, each) for each in organizations]
        subject = x509.Name([*names, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        request = x509.CertificateSigningRequestBuilder().subject_name(subject)
        if addresses:
            request = request.add_extension(
                x509.SubjectAlternativeName(_alt_names(addresses)), critical=False
            )
        signed = self.sign(request.sign(key, hashes.SHA256()), [usage], lifetime)
        return KeyPair(signed, private_pem(key))

    def sign(
        self,
        request: x509.CertificateSigningRequest,
        usages: Sequence[str],
        lifetime: timedelta = YEAR,
        now: datetime | None = None,
    ) -> bytes:
        """PEM of a certificate for `request`; subject and alternative names are the request's."""
        now = now or datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subjects.subject(request))
            .issuer_name(self._cert.subject)
            .public_key(request.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(min(now + lifetime, self._cert.not_valid_after_utc))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(sign_certificates=False), critical=True)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False
            )
        )
        if extended := [_EKU[usage] for usage in usages if usage in _EKU]:
            builder = builder.add_extension(x509.ExtendedKeyUsage(extended), critical=False)
        try:
            names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName)
            builder = builder.add_extension(names.value, critical=False)
        except x509.ExtensionNotFound:
            pass
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def private_pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    """PKCS#8, not encrypted."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def kubeconfig(server: str, ca: bytes, pair: KeyPair, *, name: str = "default", user: str = "admin") -> bytes:
    """A kubeconfig with everything inside it."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [{"name": name, "cluster": {"server": server, "certificate-authority-data": _b64(ca)}}],
        "users": [
            {
                "name": f"{name}-{user}",
                "user": {"client-certificate-data": _b64(pair.cert), "client-key-data": _b64(pair.key)},
            }
        ],
        "contexts": [{"name": name, "context": {"cluster": name, "user": f"{name}-{user}"}}],
    }
    return yaml.safe_dump(config, sort_keys=False).encode()


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _alt_names(addresses: Sequence[str]) -> list[x509.GeneralName]:
    names: list[x509.GeneralName] = []
    for address in dict.fromkeys(addresses):
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(address)))
        except ValueError:
            names.append(x509.DNSName(address))
    return names


def _key_usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=not sign_certificates,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        encipher_only=False,
        decipher_only=False,
    )
