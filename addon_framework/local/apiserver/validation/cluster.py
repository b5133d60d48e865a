"""Leases, certificate requests, events, nodes: what clusters coordinate with."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from cryptography import x509

from addon_framework.api.meta import Json
from addon_framework.local.apiserver.schemas import Cause, cause, names
from addon_framework.local.apiserver.validation.metadata import immutable

_USAGES = frozenset(
    (
        "signing",
        "digital signature",
        "content commitment",
        "key encipherment",
        "key agreement",
        "data encipherment",
        "cert sign",
        "crl sign",
        "encipher only",
        "decipher only",
        "any",
        "server auth",
        "client auth",
        "code signing",
        "email protection",
        "s/mime",
        "ipsec end system",
        "ipsec tunnel",
        "ipsec user",
        "timestamping",
        "ocsp signing",
        "microsoft sgc",
        "netscape sgc",
    )
)
_SIGNER = 'must be a fully qualified domain and path of the form "example.com/signer-name"'


def validate_lease(obj: Json, old: Json | None) -> list[Cause]:
    """coordination.k8s.io/v1 Lease."""
    causes: list[Cause] = []
    spec = obj.get("spec") or {}
    duration = spec.get("leaseDurationSeconds")
    if duration is not None and duration <= 0:
        causes.append(cause.invalid("spec.leaseDurationSeconds", duration, "must be greater than 0"))
    transitions = spec.get("leaseTransitions")
    if transitions is not None and transitions < 0:
        causes.append(
            cause.invalid("spec.leaseTransitions", transitions, "must be greater than or equal to 0")
        )
    return causes


def validate_certificate_request(obj: Json, old: Json | None) -> list[Cause]:
    """certificates.k8s.io/v1 CertificateSigningRequest."""
    causes: list[Cause] = []
    spec = obj.get("spec") or {}
    if old is not None:
        immutable(spec, old.get("spec") or {}, "spec", causes)
    else:
        _request(spec, causes)
    seen: set[str] = set()
    for index, condition in enumerate((obj.get("status") or {}).get("conditions") or ()):
        where = f"status.conditions[{index}]"
        kind, status = condition.get("type") or "", condition.get("status") or ""
        if not kind:
            causes.append(cause.required(f"{where}.type"))
        elif kind in seen:
            causes.append(cause.duplicate(f"{where}.type", kind))
        seen.add(kind)
        if kind in ("Approved", "Denied", "Failed") and status != "True":
            causes.append(cause.not_supported(f"{where}.status", status, ["True"]))
    if {"Approved", "Denied"} <= seen:
        causes.append(
            cause.invalid(
                "status.conditions", "Denied", "Approved and Denied conditions are mutually exclusive"
            )
        )
    certificate = (obj.get("status") or {}).get("certificate")
    if certificate and certificate != ((old or {}).get("status") or {}).get("certificate"):
        try:
            x509.load_pem_x509_certificates(base64.b64decode(certificate))
        except ValueError:
            why = "must contain one or more PEM blocks"
            causes.append(cause.invalid("status.certificate", "<certificate data>", why))
    return causes


def _request(spec: Json, causes: list[Cause]) -> None:
    text = spec.get("request") or ""
    if wrong := _pem_error(text):
        causes.append(cause.invalid("spec.request", text, wrong))
    usages = spec.get("usages") or []
    if not usages:
        causes.append(cause.required("spec.usages"))
    for index, usage in enumerate(usages):
        if usage not in _USAGES:
            causes.append(cause.not_supported(f"spec.usages[{index}]", usage, sorted(_USAGES)))
        if usage in usages[:index]:
            causes.append(cause.duplicate(f"spec.usages[{index}]", usage))
    signer = spec.get("signerName")
    if signer:
        domain, slash, path = signer.partition("/")
        if not slash or not path or "." not in domain or names.subdomain(domain):
            causes.append(cause.invalid("spec.signerName", signer, _SIGNER))
        elif signer == "kubernetes.io/legacy-unknown":
            causes.append(
                cause.invalid(
                    "spec.signerName", signer, "the legacy signerName is not allowed via this API version"
                )
            )
    seconds = spec.get("expirationSeconds")
    if seconds is not None and seconds < 600:
        causes.append(
            cause.invalid(
                "spec.expirationSeconds",
                seconds,
                "may not specify a duration less than 600 seconds (10 minutes)",
            )
        )


def _pem_error(text: str) -> str | None:
    try:
        pem = base64.b64decode(text, validate=True)
        request = x509.load_pem_x509_csr(pem)
    except (binascii.Error, ValueError):
        return "PEM block type must be CERTIFICATE REQUEST"
    return None if request.is_signature_valid else "CSR signature is invalid"


def validate_event(obj: Json, old: Json | None) -> list[Cause]:
    """v1 Event."""
    causes: list[Cause] = []
    about: Json = obj.get("involvedObject") or obj.get("regarding") or {}
    namespace = (obj.get("metadata") or {}).get("namespace") or ""
    if about and (about.get("namespace") or "default") != namespace and namespace:
        causes.append(
            cause.invalid(
                "involvedObject.namespace", about.get("namespace") or "", "does not match event.namespace"
            )
        )
    kind = obj.get("type")
    if obj.get("eventTime") and kind not in ("Normal", "Warning"):
        causes.append(cause.invalid("type", kind or "", "has invalid value: " + str(kind or "")))
    return causes


def validate_namespace(obj: Json, old: Json | None) -> list[Cause]:
    """v1 Namespace."""
    causes: list[Cause] = []
    for each in (obj.get("spec") or {}).get("finalizers") or ():
        causes += [cause.invalid("spec.finalizers", each, why) for why in names.qualified(each)]
        if "/" not in each and each not in ("kubernetes", "orphan", "foregroundDeletion"):
            why = "name is neither a standard finalizer name nor is it fully qualified"
            causes.append(cause.invalid("spec.finalizers", each, why))
    return causes


def validate_node(obj: Json, old: Json | None) -> list[Cause]:
    """v1 Node."""
    causes: list[Cause] = []
    seen: set[tuple[Any, Any]] = set()
    for index, taint in enumerate((obj.get("spec") or {}).get("taints") or ()):
        where = f"metadata.taints[{index}]"
        key, effect = taint.get("key") or "", taint.get("effect") or ""
        causes += [cause.invalid(f"{where}.key", key, why) for why in names.qualified(key)]
        if not effect:
            causes.append(cause.required(f"{where}.effect"))
        elif effect not in ("NoSchedule", "PreferNoSchedule", "NoExecute"):
            causes.append(
                cause.not_supported(
                    f"{where}.effect", effect, ["NoSchedule", "PreferNoSchedule", "NoExecute"]
                )
            )
        for why in names.label_value(taint.get("value") or ""):
            causes.append(cause.invalid(f"{where}.value", taint["value"], why))
        if (key, effect) in seen:
            causes.append(cause.duplicate(f"metadata.taints[{index}]", taint))
        seen.add((key, effect))
    if old is not None:
        before = (old.get("spec") or {}).get("providerID")
        if before and (obj.get("spec") or {}).get("providerID") != before:
            causes.append(
                cause.forbidden(
                    "spec.providerID", 'node updates may not change providerID except from "" to valid'
                )
            )
    return causes
