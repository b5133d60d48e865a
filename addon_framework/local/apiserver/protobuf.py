"""Reads bodies in Kubernetes' Protobuf, which typed Go clients write built-in kinds in. Answers stay JSON.

https://kubernetes.io/docs/reference/using-api/api-concepts/#protobuf-encoding
"""

from __future__ import annotations

import base64
import functools
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from addon_framework.api.meta import Json

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"
_FIELDS = Path(__file__).with_name("protobuf.fields")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class UnknownKindError(ValueError):
    """There are no field numbers for this kind."""


@dataclass(frozen=True)
class _Field:
    """`code` names a scalar or a message; see the head of protobuf.fields."""

    name: str
    code: str
    repeated: bool
    mapped: bool
    pointer: bool
    inline: bool


def decode(body: bytes) -> Json:
    """The object. Raises ValueError for what is none, UnknownKindError for kinds without field numbers."""
    if not body.startswith(_MAGIC):
        raise ValueError("the body does not begin as Kubernetes' Protobuf does")
    envelope = dict(_wire(body[len(_MAGIC) :]))
    meta = {number: _text(value) for number, value in _wire(_bytes(envelope.get(1, b"")))}
    api_version, kind = meta.get(1, ""), meta.get(2, "")
    group, _, version = api_version.rpartition("/")
    messages = _messages()
    wanted = f"{group.partition('.')[0] or 'core'}/{version}.{kind}"
    if wanted not in messages:
        wanted = f"meta/v1.{kind}"  # DeleteOptions go by the group of what they delete
    if wanted not in messages:
        raise UnknownKindError(f"{kind} of {api_version} cannot be read in Protobuf; send JSON")
    return {"apiVersion": api_version, "kind": kind, **_message(wanted, _bytes(envelope.get(2, b"")))}


@functools.cache
def _messages() -> dict[str, dict[int, _Field]]:
    """Every message's fields by number."""
    messages: dict[str, dict[int, _Field]] = {}
    for line in _FIELDS.read_text().splitlines():
        if line.startswith("#"):
            continue
        message, *fields = line.split(" ")
        messages[message] = {}
        for field in fields:
            name, _, rest = field.partition("=")
            number, _, code = rest.partition(":")
            bare = code.lstrip("[]{}*.")
            marks = code.removesuffix(bare)
            messages[message][int(number)] = _Field(
                name, bare, "[]" in marks, "{}" in marks, "*" in marks, "." in marks
            )
    return messages


def _message(name: str, data: bytes) -> Json:
    """Zero values of fields that are no pointers mean absent, as Go's `omitempty` has it."""
    fields, result = _messages()[name], Json()
    for number, raw in _wire(data):
        field = fields.get(number)
        if field is None:
            continue
        if field.mapped:
            entry = dict(_wire(_bytes(raw)))
            key = _text(entry.get(1, b""))
            result.setdefault(field.name, {})[key] = _value(field.code, entry.get(2, b""))
            continue
        value = _value(field.code, raw)
        if field.repeated:
            result.setdefault(field.name, []).append(value)
        elif field.inline:
            result.update(value)
        elif value or (field.pointer and value is not None):
            result[field.name] = value
    return result


def _value(code: str, raw: int | bytes) -> Any:
    match code:
        case "b":
            return bool(raw)
        case "i":
            return raw - (1 << 64) if isinstance(raw, int) and raw >> 63 else raw
        case "s":
            return _text(raw)
        case "y":
            return base64.b64encode(_bytes(raw)).decode()
        case "f":
            (number,) = struct.unpack("<d", _bytes(raw))
            return int(number) if number.is_integer() else number  # as Go writes it in JSON
        case "A" | "B" | "N":
            return _schemas(code, list(_wire(_bytes(raw))))
    parts = dict(_wire(_bytes(raw)))
    match code:
        case "Q":
            return _text(parts.get(1, b""))
        case "I":
            return _text(parts.get(3, b"")) if parts.get(1) else _value("i", parts.get(2, 0))
        case "T":
            return _time(_value("i", parts.get(1, 0)), _value("i", parts.get(2, 0))) if parts else None
        case "D":
            return f"{_value('i', parts.get(1, 0)) / 1e9:g}s"
        case "F" | "R" | "J":
            return orjson.loads(_bytes(parts[1])) if parts.get(1) else None
        case "S":
            return [_text(value) for number, value in _wire(_bytes(raw)) if number == 1]
    return _message(code, _bytes(raw))


def _schemas(code: str, parts: list[tuple[int, int | bytes]]) -> Any:
    """A schema, or what may stand in its place: a bool, several, or names of properties."""
    schema = "apiextensions/v1.JSONSchemaProps"
    if code == "B":
        allows, found = dict(parts).get(1, 0), dict(parts).get(2)
        return bool(allows) if found is None else _message(schema, _bytes(found))
    several = [_text(raw) if code == "N" else _message(schema, _bytes(raw)) for n, raw in parts if n == 2]
    one = dict(parts).get(1)
    return several if one is None else _message(schema, _bytes(one))


def _time(seconds: int, nanos: int) -> str:
    try:
        moment = _EPOCH + timedelta(seconds=seconds, microseconds=nanos // 1000)
    except OverflowError:
        raise ValueError(f"{seconds} is no time") from None
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ" if nanos else "%Y-%m-%dT%H:%M:%SZ")


def _wire(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Field numbers and raw values, in order. Raises ValueError when the bytes end too early."""
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            value, position = _varint(data, position)
            yield number, value
            continue
        if kind == _BYTES:
            length, position = _varint(data, position)
        elif kind in (_FIXED64, _FIXED32):
            length = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {kind} is unknown")
        if position + length > len(data):
            raise ValueError("the Protobuf body ends too early")
        yield number, data[position : position + length]
        position += length


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            raise ValueError("the Protobuf body ends too early")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value & ((1 << 64) - 1), position
    raise ValueError("a number in the Protobuf body is too long")


def _bytes(raw: int | bytes) -> bytes:
    if isinstance(raw, int):
        raise ValueError("a number where bytes should be")
    return raw


def _text(raw: int | bytes) -> str:
    return _bytes(raw).decode()
