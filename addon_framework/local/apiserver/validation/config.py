"""Secrets and ConfigMaps."""

from __future__ import annotations

import base64
import binascii
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


def _keys(data: Any, path: str, causes: list[Cause]) -> int:
    size = 0
    for key, value in (data or {}).items():
        causes += [cause.invalid(f"{path}[{key}]", key, why) for why in names.config_key(key)]
        size += len(value or "")
    return size


def _frozen(obj: Json, old: Json | None, keys: tuple[str, ...], causes: list[Cause]) -> None:
    if old is None or not old.get("immutable"):
        return
    if not obj.get("immutable"):
        causes.append(cause.forbidden("immutable", _FROZEN))
    for key in keys:
        if (obj.get(key) or {}) != (old.get(key) or {}):
            causes.append(cause.forbidden(key, _FROZEN))


def validate_secret(obj: Json, old: Json | None) -> list[Cause]:
    """v1 Secret, after stringData was taken into data."""
    causes: list[Cause] = []
    data = obj.get("data") or {}
    size = _keys(data, "data", causes) * 3 // 4
    if size > _LIMIT:
        causes.append(cause.too_long("data", _LIMIT))
    kind = obj.get("type") or "Opaque"
    for key in _MANDATORY.get(kind, ()):
        if key not in data:
            causes.append(cause.required(f"data[{key}]"))
    if kind == "kubernetes.io/basic-auth" and not {"username", "password"} & data.keys():
        causes.append(cause.required("data[username]"))
        causes.append(cause.required("data[password]"))
    if kind == "kubernetes.io/service-account-token" and not (
        (obj.get("metadata") or {}).get("annotations") or {}
    ).get("kubernetes.io/service-account.name"):
        causes.append(cause.required("metadata.annotations[kubernetes.io/service-account.name]"))
    if kind == "kubernetes.io/dockerconfigjson" and ".dockerconfigjson" in data:
        try:
            orjson.loads(base64.b64decode(data[".dockerconfigjson"], validate=True))
        except (orjson.JSONDecodeError, binascii.Error):
            causes.append(
                cause.invalid("data[.dockerconfigjson]", "<secret contents redacted>", "invalid character")
            )
    if old is not None:
        immutable(kind, old.get("type") or "Opaque", "type", causes)
    _frozen(obj, old, ("data",), causes)
    return causes


def validate_config_map(obj: Json, old: Json | None) -> list[Cause]:
    """v1 ConfigMap."""
    causes: list[Cause] = []
    data, binary = obj.get("data") or {}, obj.get("binaryData") or {}
    size = _keys(data, "data", causes) + _keys(binary, "binaryData", causes) * 3 // 4
    for key in data.keys() & binary.keys():
        causes.append(cause.invalid(f"data[{key}]", key, "duplicate of key present in binaryData"))
    if size > _LIMIT:
        causes.append(cause.too_long("", _LIMIT))
    _frozen(obj, old, ("data", "binaryData"), causes)
    return causes
