"""Bodies in Protobuf become the JSON that they would have been."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addon_framework.local.apiserver import protobuf


def field(number: int, value: int | bytes | str) -> bytes:
    """One field on the wire; lengths and numbers below 16,384 only."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def varint(number: int) -> bytes:
    return bytes([number]) if number < 128 else bytes([number & 127 | 128, number >> 7])


def body(api_version: str, kind: str, message: bytes) -> bytes:
    return b"k8s\x00" + field(1, field(1, api_version) + field(2, kind)) + field(2, message)


def entry(key: str, value: str | bytes) -> bytes:
    return field(1, key) + field(2, value)


def test_strings_maps_bytes_and_times() -> None:
    metadata = field(1, "s") + field(11, entry("app", "x")) + field(2, "") + field(7, 0)
    created = field(8, field(1, 60))
    secret = field(1, metadata + created) + field(2, entry("p", b"w")) + field(3, "Opaque")
    assert protobuf.decode(body("v1", "Secret", secret)) == {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s", "labels": {"app": "x"}, "creationTimestamp": "1970-01-01T00:01:00Z"},
        "data": {"p": "dw=="},
        "type": "Opaque",
    }


def test_schemas_of_kinds_and_what_may_stand_in_their_place() -> None:
    def wraps(*parts: bytes) -> bytes:
        schema = field(4, field(1, b"".join(parts)))
        return field(2, field(7, field(1, "v1") + schema))

    text, closed, open_ = field(5, "string"), field(30, field(1, 0)), field(30, field(2, b""))
    items = field(24, field(1, text))
    most = varint(9 << 3 | 1) + struct.pack("<d", 5)
    half = varint(11 << 3 | 1) + struct.pack("<d", 0.5)
    names = field(32, field(1, "a") + field(2, field(2, "b") + field(2, "c")))
    default = field(8, field(1, b'{"a":[1]}'))
    inner = field(29, field(1, "x") + field(2, closed + items + half))
    decoded = protobuf.decode(
        body(
            "apiextensions.k8s.io/v1",
            "CustomResourceDefinition",
            wraps(inner, open_, most, names, default, field(40, 1)),
        )
    )
    [version] = decoded["spec"]["versions"]
    assert version["schema"]["openAPIV3Schema"] == {
        "properties": {
            "x": {"additionalProperties": False, "items": {"type": "string"}, "minimum": 0.5},
        },
        "additionalProperties": {},
        "maximum": 5,
        "dependencies": {"a": ["b", "c"]},
        "default": {"a": [1]},
        "x-kubernetes-int-or-string": True,
    }


def test_zero_counts_where_the_type_is_a_pointer() -> None:
    spec = field(1, 0) + field(5, 0)  # replicas is a pointer, minReadySeconds is not
    assert protobuf.decode(body("apps/v1", "Deployment", field(2, spec)))["spec"] == {"replicas": 0}


def test_embedded_structs_and_numbers_or_strings() -> None:
    named = field(1, "v") + field(2, field(2, b""))  # an emptyDir inside the embedded VolumeSource
    port = field(4, field(2, 80)) + field(3, 80)
    text = field(4, field(1, 1) + field(3, "web"))
    pod = protobuf.decode(body("v1", "Pod", field(2, field(1, named))))
    assert pod["spec"] == {"volumes": [{"name": "v", "emptyDir": {}}]}
    service = protobuf.decode(body("v1", "Service", field(2, field(1, port) + field(1, text))))
    assert service["spec"]["ports"] == [{"port": 80, "targetPort": 80}, {"targetPort": "web"}]


def test_negative_numbers() -> None:
    minus_one = b"\x08" + b"\xff" * 9 + b"\x01"
    assert protobuf.decode(body("apps/v1", "Deployment", field(2, minus_one)))["spec"] == {"replicas": -1}


def test_options_go_by_the_group_of_what_they_delete() -> None:
    options = protobuf.decode(body("apps/v1", "DeleteOptions", field(4, "Orphan")))
    assert options["propagationPolicy"] == "Orphan"


def test_kinds_without_numbers() -> None:
    with pytest.raises(protobuf.UnknownKindError, match="send JSON"):
        protobuf.decode(body("example.com/v1", "Widget", b""))


@given(st.binary(max_size=60))
def test_any_other_bytes_are_a_value_error(noise: bytes) -> None:
    for data in (noise, b"k8s\x00" + noise, body("v1", "Pod", noise), body("v1", "Pod", field(2, noise))):
        try:
            assert isinstance(protobuf.decode(data), dict)
        except ValueError:
            pass
