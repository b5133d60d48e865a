"""Whom certificates, and requests for them, speak for.

OCM's user names are longer than the 64 characters that X.509 has for a common name. Neither Go nor Kubernetes
minds; `cryptography` warns whenever such a name is read, so that all of ours are read here.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterable, Iterator

from cryptography import x509


def subject(of: x509.Certificate | x509.CertificateSigningRequest) -> x509.Name:
    """The subject, however long."""
    with _long_names():
        return of.subject


def name(parts: Iterable[tuple[x509.ObjectIdentifier, str]]) -> x509.Name:
    """A subject of these attributes, in this order, however long."""
    with _long_names():
        return x509.Name([x509.NameAttribute(oid, value, _validate=False) for oid, value in parts])


def values(of: x509.Name, kind: x509.ObjectIdentifier) -> list[str]:
    """The attributes of a kind."""
    return [str(attribute.value) for attribute in of.get_attributes_for_oid(kind)]


@contextlib.contextmanager
def _long_names() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Attribute's length must be")
        yield
