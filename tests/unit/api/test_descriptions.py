"""What `kubectl explain` has to say of every field that users write."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from addon_framework.api import data
from addon_framework.api.crd import generate
from addon_framework.api.descriptions import field_texts
from addon_framework.api.inference import InferenceDeployment
from addon_framework.api.meta import Json, Struct

KINDS: tuple[Any, ...] = (*data.KINDS, InferenceDeployment)
NOT_WRITTEN = ("apiVersion", "kind", "metadata", "status")
OF_OCM = "spec.placement."  # a Placement's spec, as OCM has it


class Base(Struct, frozen=True):
    """One that others are made from."""

    size: int = 0
    """How many bytes."""
    name: str = ""


class Derived(Base, frozen=True):
    """Of the base."""

    name: str = ""
    """Told here,
    on two lines."""
    plain: str = ""


def undescribed(schema: Json, at: str = "") -> Iterator[str]:
    """Fields below it; an object that is forwarded, such as a PodSpec, has none that we know."""
    for name, field in schema.get("properties", {}).items():
        path = f"{at}{name}"
        if not at and name in NOT_WRITTEN:
            continue
        if not field.get("description"):
            yield path
        inner = [field, field.get("items"), field.get("additionalProperties")]
        for each in inner:
            if isinstance(each, dict):
                yield from undescribed(each, f"{path}.")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.RESOURCE.kind)
def test_every_field_that_users_write_is_described(kind: Any) -> None:
    schema = generate(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    assert [path for path in undescribed(schema) if not path.startswith(OF_OCM)] == []


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.RESOURCE.kind)
def test_descriptions_are_sentences(kind: Any) -> None:
    found = list(texts(generate(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]))
    assert [text for text in found if not text.endswith((".", ". "))] == []
    assert max(map(len, found)) < 400


def texts(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(schema.get("description"), str):
            yield schema["description"]
        for value in schema.values():
            yield from texts(value)


def test_a_string_below_a_field_describes_it() -> None:
    assert field_texts(Derived) == {"size": "How many bytes.", "name": "Told here, on two lines."}


def test_a_field_has_its_own_words_else_those_of_its_type() -> None:
    schema = generate(data.AlluxioRuntime)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    spec = schema["properties"]["spec"]["properties"]
    assert spec["master"]["description"].startswith("The masters")
    assert spec["podMetadata"]["properties"]["labels"]["description"] == "Labels."
    assert spec["fuse"]["properties"]["image"]["description"].startswith("Image, without its tag.")
    assert "enum" in spec["fuse"]["properties"]["networkMode"], "a description takes nothing away"
