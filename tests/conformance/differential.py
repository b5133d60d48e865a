"""Objects broken in every way a program can think of, and what to compare of two servers' answers."""

from __future__ import annotations

import base64
import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from addon_framework.api.meta import Json
from tests.conformance.api import Answer

# How many answers still differ, by specimen: to go down only.
LEFT: dict[str, int] = {
    "Service-specimen-lb": 1,
    "Service-specimen-name": 1,
    "Node-specimen-node": 1,
    "LimitRange-specimen": 15,
    "DaemonSet-specimen": 4,
    "ControllerRevision-specimen": 1,
    "Job-specimen": 3,
    "ClusterRole-specimen:role": 2,
    "CustomResourceDefinition-specimens.s.example.com": 37,
    "NetworkPolicy-specimen": 5,
    "Ingress-specimen": 4,
    "HorizontalPodAutoscaler-specimen": 12,
    "LocalRuntime-corpus": 4,
    "InferenceDeployment-llama": 4,
    "ManifestWorkReplicaSet-hello": 18,
}
LEFT_UPDATES: dict[str, int] = {
    "Pod-specimen": 58,
    "Service-specimen-lb": 3,
    "Service-specimen-name": 1,
    "PersistentVolume-specimen-volume": 8,
    "PersistentVolumeClaim-specimen": 19,
    "Node-specimen-node": 9,
    "ResourceQuota-specimen": 1,
    "LimitRange-specimen": 12,
    "DaemonSet-specimen": 4,
    "StatefulSet-specimen": 3,
    "ControllerRevision-specimen": 3,
    "Job-specimen": 40,
    "ClusterRole-specimen:role": 2,
    "PriorityClass-specimen-priority": 5,
    "NetworkPolicy-specimen": 5,
    "Ingress-specimen": 4,
    "IngressClass-specimen-class": 6,
    "HorizontalPodAutoscaler-specimen": 12,
}
Step = str | int
SPECIMENS = Path(__file__).parent / "specimens.yaml"
_DROP = object()
_RANDOM = re.compile(r"(kube-api-access-)\w{5}")
_SERVER_SET = ("uid", "creationTimestamp", "resourceVersion", "managedFields")


def specimens(namespace: str) -> list[Json]:
    """The valid objects."""
    text = SPECIMENS.read_text().replace("NAMESPACE", namespace).replace("REQUEST", _request())
    return list(yaml.safe_load_all(text))


def _request() -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "jane")])
    key = ec.generate_private_key(ec.SECP256R1())
    signed = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return base64.b64encode(signed.public_bytes(serialization.Encoding.PEM)).decode()


@dataclass(frozen=True)
class Mutant:
    """An object of which one place is not as it was."""

    what: str
    body: Json


def mutants(obj: Json) -> Iterator[Mutant]:
    """Every place of the object, changed in every way."""
    for path, value in _places(obj, ()):
        if path[:1] in (("apiVersion",), ("kind",)) or path == ("metadata",):
            continue
        for how, new in _instead(value):
            yield Mutant(f"{_text(path)}: {how}", _with(obj, path, new))


def _places(value: Any, path: tuple[Step, ...]) -> Iterator[tuple[tuple[Step, ...], Any]]:
    if path:
        yield path, value
    if isinstance(value, dict):
        for key, below in value.items():
            yield from _places(below, (*path, key))
    elif isinstance(value, list):
        for index, below in enumerate(value):
            yield from _places(below, (*path, index))


def _instead(value: Any) -> Iterator[tuple[str, Any]]:
    yield "gone", _DROP
    yield "null", None
    match value:
        case bool():
            yield "a text", "x"
            yield "the other", not value
        case int():
            for each in ("x", -1, 0, 70_000, 2**40):
                yield repr(each), each
        case str():
            for each in (7, "", "A_b!", "abc", "x" * 254, "1"):
                yield repr(each)[:12], each
        case dict():
            yield "a text", "x"
            yield "empty", {}
            yield "with a field more", {**value, "zz": 1}
        case list():
            yield "an object", {}
            yield "empty", []
            yield "twice", [*value, *value]
            yield "with an empty one", [*value, {} if value and isinstance(value[0], dict) else ""]


def _with(obj: Json, path: tuple[Step, ...], new: Any) -> Json:
    changed = copy.deepcopy(obj)
    at: Any = changed
    for step in path[:-1]:
        at = at[step]
    if new is _DROP:
        del at[path[-1]]
    else:
        at[path[-1]] = new
    return changed


def _text(path: tuple[Step, ...]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")


def verdict(answer: Answer) -> tuple[Any, ...]:
    """What both servers must agree on: code, reason, and the causes' fields and reasons."""
    if answer.code < 400:
        return (answer.code,)
    body = answer.body
    causes = {
        (c.get("field", ""), c.get("reason", "")) for c in (body.get("details") or {}).get("causes", ())
    }
    return answer.code, body.get("reason", ""), *sorted(causes)


def shown(answer: Answer) -> Json:
    """An object as a server completes it, without what differs by nature."""
    obj: Json = copy.deepcopy(answer.body)
    for name in _SERVER_SET:
        obj["metadata"].pop(name, None)
    return _plain(obj)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        hidden = {"clusterIP", "clusterIPs", "nodePort", "healthCheckNodePort", "lastTransitionTime"}
        return {
            key: "..." if key in hidden and below != "None" else _plain(below) for key, below in value.items()
        }
    if isinstance(value, list):
        return [_plain(below) for below in value]
    return _RANDOM.sub(r"\1...", value) if isinstance(value, str) else value
