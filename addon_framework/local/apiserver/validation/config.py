"""Secrets and ConfigMaps."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from typing import Any

import orjson

from addon_framework.api.meta import Json
from addon_framework.local.apiserver.schemas import Cause, cause, names
from addon_framework.local.apiserver.validation.metadata import immutable

_LIMIT = 1024 * 1024
_FROZEN = "field is immutable when `immutable` is set"
_MANDATORY = {
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
}
_ACCOUNT = "kubernetes.io/service-account.name"


def _keys(data: Json, path: str) -> Iterator[Cause]:
    for key in data:
        yield from cause.broken(f"{path}[{key}]", key, names.config_key(key))


def _size(data: Json) -> int:
    return sum(len(value or "") for value in data.values())


def _secret(obj: Json, path: str) -> Iterator[Cause]:
    """After stringData was taken into data."""
    data, kind = obj.get("data") or {}, obj.get("type") or "Opaque"
    yield from _keys(data, "data")
    if _size(data) * 3 // 4 > _LIMIT:
        yield cause.too_long("data", _LIMIT)
    needed = [key for key in _MANDATORY.get(kind, ()) if key not in data]
    if kind == "kubernetes.io/basic-auth" and not {"username", "password"} & data.keys():
        needed = ["username", "password"]
    for key in needed:
        yield cause.required(f"data[{key}]")
    annotations = (obj.get("metadata") or {}).get("annotations") or {}
    if kind == "kubernetes.io/service-account-token" and not annotations.get(_ACCOUNT):
        yield cause.required(f"metadata.annotations[{_ACCOUNT}]")
    if kind == "kubernetes.io/dockerconfigjson" and ".dockerconfigjson" in data:
        try:
            orjson.loads(base64.b64decode(data[".dockerconfigjson"], validate=True))
        except (orjson.JSONDecodeError, binascii.Error):
            where = "data[.dockerconfigjson]"
            yield cause.invalid(where, "<secret contents redacted>", "invalid character")


def _config_map(obj: Json, path: str) -> Iterator[Cause]:
    data, binary = obj.get("data") or {}, obj.get("binaryData") or {}
    yield from _keys(data, "data")
    yield from _keys(binary, "binaryData")
    for key in data.keys() & binary.keys():
        yield cause.invalid(f"data[{key}]", key, "duplicate of key present in binaryData")
    if _size(data) + _size(binary) * 3 // 4 > _LIMIT:
        yield cause.too_long("", _LIMIT)


def _frozen(obj: Json, old: Json) -> Iterator[Cause]:
    if old.get("immutable"):
        if not obj.get("immutable"):
            yield cause.forbidden("immutable", _FROZEN)
        for key in ("data", "binaryData"):
            if (obj.get(key) or {}) != (old.get(key) or {}):
                yield cause.forbidden(key, _FROZEN)


def _secret_changed(obj: Json, old: Json) -> Iterator[Cause]:
    yield from immutable(obj, old, "type")
    yield from _frozen(obj, old)


CHECKS: dict[str, Any] = {"core.v1.Secret": _secret, "core.v1.ConfigMap": _config_map}
CHANGES: dict[str, Any] = {"core.v1.Secret": _secret_changed, "core.v1.ConfigMap": _frozen}
