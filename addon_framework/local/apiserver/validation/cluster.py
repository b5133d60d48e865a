"""Certificate requests, events, namespaces, nodes: what clusters coordinate with."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from typing import Any

from cryptography import x509

from addon_framework.api.meta import Json
from addon_framework.local.apiserver.schemas import Cause, cause, names
from addon_framework.local.apiserver.validation.metadata import immutable, unqualified_finalizer
from addon_framework.local.apiserver.validation.words import FORMATS

_USAGES = (
    "any", "cert sign", "client auth", "code signing", "content commitment", "crl sign", "data encipherment",
    "decipher only", "digital signature", "email protection", "encipher only", "ipsec end system",
    "ipsec tunnel", "ipsec user", "key agreement", "key encipherment", "microsoft sgc", "netscape sgc",
    "ocsp signing", "s/mime", "server auth", "signing", "timestamping",
)  # fmt: skip
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


def _request(spec: Json, path: str) -> Iterator[Cause]:
    text, signer = spec.get("request") or "", spec.get("signerName") or ""
    if wrong := _pem_error(text):
        yield cause.invalid(f"{path}request", text, wrong)
    for index, usage in enumerate(spec.get("usages") or ()):
        if usage not in _USAGES:
            yield cause.not_supported(f"{path}usages[{index}]", usage, _USAGES)
    domain, _, rest = signer.partition("/")
    if signer and (not rest or "." not in domain or names.subdomain(domain)):
        why = 'must be a fully qualified domain and path of the form "example.com/signer-name"'
        yield cause.invalid(f"{path}signerName", signer, why)
    elif signer == "kubernetes.io/legacy-unknown":
        why = "the legacy signerName is not allowed via this API version"
        yield cause.invalid(f"{path}signerName", signer, why)


def _pem_error(text: str) -> str | None:
    try:
        request = x509.load_pem_x509_csr(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        return "PEM block type must be CERTIFICATE REQUEST"
    return None if request.is_signature_valid else "CSR signature is invalid"


def _request_changed(obj: Json, old: Json) -> Iterator[Cause]:
    yield from immutable(obj, old, "spec")
    status, seen = obj.get("status") or {}, set()
    for index, condition in enumerate(status.get("conditions") or ()):
        where = f"status.conditions[{index}]"
        kind, said = condition.get("type") or "", condition.get("status") or ""
        if not kind:
            yield cause.required(f"{where}.type")
        elif kind in seen:
            yield cause.duplicate(f"{where}.type", kind)
        seen.add(kind)
        if kind in ("Approved", "Denied", "Failed") and said != "True":
            yield cause.not_supported(f"{where}.status", said, ["True"])
    if {"Approved", "Denied"} <= seen:
        why = "Approved and Denied conditions are mutually exclusive"
        yield cause.invalid("status.conditions", "Denied", why)
    certificate = status.get("certificate")
    if certificate and certificate != (old.get("status") or {}).get("certificate"):
        try:
            x509.load_pem_x509_certificates(base64.b64decode(certificate))
        except ValueError:
            why = "must contain one or more PEM blocks"
            yield cause.invalid("status.certificate", "<certificate data>", why)


def _event(obj: Json, path: str) -> Iterator[Cause]:
    about: Json = obj.get("involvedObject") or obj.get("regarding") or {}
    namespace = (obj.get("metadata") or {}).get("namespace") or ""
    if namespace and (about.get("namespace") or "default") != namespace:
        why = "does not match event.namespace"
        yield cause.invalid("involvedObject.namespace", about.get("namespace") or "", why)
    kind = obj.get("type") or ""
    if obj.get("eventTime") and kind not in ("Normal", "Warning"):
        yield cause.invalid("type", kind, f"has invalid value: {kind}")


def _new_event(obj: Json, path: str) -> Iterator[Cause]:
    about = obj.get("regarding") or {}
    if not about.get("namespace") and (obj.get("metadata") or {}).get("namespace") != "default":
        yield cause.invalid("involvedObject.namespace", "", "does not match event.namespace")


def _series(series: Json, path: str) -> Iterator[Cause]:
    if series.get("count", 0) < 2:
        yield cause.invalid(f"{path}count", "", "should be at least 2")


def _new_event_changed(obj: Json, old: Json) -> Iterator[Cause]:
    """Fields are told by the names that they have within the server."""
    for field, told in (("regarding", "involvedObject"), ("note", "message")):
        yield from immutable({told: obj.get(field)}, {told: old.get(field)}, told)


def _namespace(obj: Json, path: str) -> Iterator[Cause]:
    for each in (obj.get("spec") or {}).get("finalizers") or ():
        yield from cause.broken("spec.finalizers", each, names.qualified(each))
        yield from unqualified_finalizer(each, "spec.finalizers")


def _node(obj: Json, path: str) -> Iterator[Cause]:
    spec = obj.get("spec") or {}
    ranges = list(spec.get("podCIDRs") or ())
    if spec.get("podCIDR"):
        ranges[:1] = [spec["podCIDR"]]
    for index, each in enumerate(ranges):
        yield from FORMATS["cidr"](each, f"spec.podCIDRs[{index}]")
    families = [":" in each for each in ranges]
    if len(set(families)) < len(families):
        why = "may specify no more than one CIDR for each IP family"
        yield cause.invalid("spec.podCIDRs", ranges, why)
    seen: set[tuple[str, str]] = set()
    for index, taint in enumerate((obj.get("spec") or {}).get("taints") or ()):
        where = f"metadata.taints[{index}]"
        key, effect, value = (taint.get(each) or "" for each in ("key", "effect", "value"))
        yield from cause.broken(f"{where}.key", key, names.qualified(key))
        yield from cause.broken(f"{where}.value", value, names.label_value(value))
        if not effect:
            yield cause.required(f"{where}.effect")
        elif effect not in _EFFECTS:
            yield cause.not_supported(f"{where}.effect", effect, _EFFECTS)
        if (key, effect) in seen:
            yield cause.duplicate(where, taint)
        seen.add((key, effect))


def _node_changed(obj: Json, old: Json) -> Iterator[Cause]:
    before = (old.get("spec") or {}).get("providerID")
    if before and (obj.get("spec") or {}).get("providerID") != before:
        why = 'node updates may not change providerID except from "" to valid'
        yield cause.forbidden("spec.providerID", why)


def _priority_changed(obj: Json, old: Json) -> Iterator[Cause]:
    if obj.get("value") != old.get("value"):
        yield cause.forbidden("value", "may not be changed in an update.")


CHECKS: dict[str, Any] = {
    "certificates.v1.CertificateSigningRequestSpec": _request,
    "core.v1.Event": _event,
    "events.v1.Event": _new_event,
    "events.v1.EventSeries": _series,
    "core.v1.Namespace": _namespace,
    "core.v1.Node": _node,
}
CHANGES: dict[str, Any] = {
    "certificates.v1.CertificateSigningRequest": _request_changed,
    "core.v1.Node": _node_changed,
    "events.v1.Event": _new_event_changed,
    "scheduling.v1.PriorityClass": _priority_changed,
}
