"""OpenAPI v2 in Protobuf, the one form in which kubectl still reads version 2.

It asks for it where version 3 does not know a kind, to find out whether the server validates fields by
itself. So only what that question needs is here: the patch operation of each kind with its parameters.
"""

from __future__ import annotations

from collections.abc import Iterable

from addon_framework.local.apiserver.openapi import collection, patch_parameters
from addon_framework.local.apiserver.registry import Kind

MEDIA_TYPE = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
# Asked for with an @, answered with a dot: media types may not hold an @.
CONTENT_TYPE = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"

# Field numbers of gnostic's openapi.v2 messages.
_DOCUMENT = {"swagger": 1, "info": 2, "paths": 8}
_INFO = {"title": 1, "version": 2}
_PATCH, _OPERATION_ID, _PARAMETERS, _EXTENSION = 8, 5, 8, 13
_PATHS_PATH = 2
_QUERY_IN, _QUERY_NAME, _QUERY_TYPE = 2, 4, 6
_ANY_YAML = 2


def openapi_v2_protobuf(kinds: Iterable[Kind]) -> bytes:
    """The document as kubectl decodes it."""
    paths = b""
    for kind in kinds:
        for version in kind.versions:
            if version.served and "patch" in kind.verbs:
                item = _message(_PATCH, _operation(kind, version.name))
                path = _text(1, f"{collection(kind, version)}/{{name}}") + _message(2, item)
                paths += _message(_PATHS_PATH, path)
    info = _text(_INFO["title"], "Kubernetes") + _text(_INFO["version"], "v1")
    return (
        _text(_DOCUMENT["swagger"], "2.0")
        + _message(_DOCUMENT["info"], info)
        + _message(_DOCUMENT["paths"], paths)
    )


def _operation(kind: Kind, version: str) -> bytes:
    parameters = b""
    for name, type_ in patch_parameters():
        query = _text(_QUERY_IN, "query") + _text(_QUERY_NAME, name) + _text(_QUERY_TYPE, type_)
        # Parameter holds NonBodyParameter holds QueryParameterSubSchema.
        parameters += _message(_PARAMETERS, _message(1, _message(2, _message(3, query))))
    gvk = f"group: {kind.group!r}\nkind: {kind.kind!r}\nversion: {version!r}\n"
    extension = _text(1, "x-kubernetes-group-version-kind") + _message(2, _text(_ANY_YAML, gvk))
    return _text(_OPERATION_ID, f"patch{kind.kind}{version}") + parameters + _message(_EXTENSION, extension)


def _message(number: int, body: bytes) -> bytes:
    """A length-delimited field."""
    return _varint(number << 3 | 2) + _varint(len(body)) + body


def _text(number: int, text: str) -> bytes:
    return _message(number, text.encode())


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
