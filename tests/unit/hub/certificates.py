"""Certificate requests for tests, as an agent would make them."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from addon_framework.api import subjects

SIGNER = "kubernetes.io/kube-apiserver-client"


def request_pem(key: ec.EllipticCurvePrivateKey, common_name: str, organizations: Sequence[str]) -> bytes:
    """A PEM certificate request, signed with the key."""
    names = [
        *((NameOID.ORGANIZATION_NAME, each) for each in organizations),
        (NameOID.COMMON_NAME, common_name),
    ]
    builder = x509.CertificateSigningRequestBuilder().subject_name(subjects.name(names))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def csr(
    name: str,
    labels: dict[str, str],
    common_name: str,
    organizations: Sequence[str],
    *,
    username: str = "",
    signer: str = SIGNER,
    key: ec.EllipticCurvePrivateKey | None = None,
) -> dict[str, Any]:
    """A CertificateSigningRequest object."""
    pem = request_pem(key or ec.generate_private_key(ec.SECP256R1()), common_name, organizations)
    return {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "request": base64.b64encode(pem).decode(),
            "signerName": signer,
            "usages": ["digital signature", "key encipherment", "client auth"],
            "username": username,
        },
    }


def csr_to_create(
    key: ec.EllipticCurvePrivateKey,
    prefix: str,
    labels: dict[str, str],
    common_name: str,
    organizations: Sequence[str],
) -> dict[str, Any]:
    """A request to send: the server makes the name and says who asks."""
    request = csr("", labels, common_name, organizations, key=key)
    request["metadata"] = {"generateName": prefix, "labels": labels}
    del request["spec"]["username"]
    return request
