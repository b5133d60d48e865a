"""Certificate requests for tests, as an agent would make them."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

SIGNER = "kubernetes.io/kube-apiserver-client"


def request_pem(common_name: str, organizations: Sequence[str]) -> bytes:
    """A PEM certificate request of a fresh key."""
    key = ec.generate_private_key(ec.SECP256R1())
    names = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, o) for o in organizations]
    names.append(x509.NameAttribute(NameOID.COMMON_NAME, common_name))
    request = (
        x509.CertificateSigningRequestBuilder().subject_name(x509.Name(names)).sign(key, hashes.SHA256())
    )
    return request.public_bytes(serialization.Encoding.PEM)


def csr(
    name: str,
    labels: dict[str, str],
    common_name: str,
    organizations: Sequence[str],
    *,
    username: str = "",
    signer: str = SIGNER,
) -> dict[str, Any]:
    """A CertificateSigningRequest object."""
    return {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "request": base64.b64encode(request_pem(common_name, organizations)).decode(),
            "signerName": signer,
            "usages": ["digital signature", "key encipherment", "client auth"],
            "username": username,
        },
    }
