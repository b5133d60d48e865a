"""Schemas of the built-in kinds, from the Kubernetes OpenAPI documents that kubernetes-validate ships."""

from __future__ import annotations

from dataclasses import fields
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import orjson

from addon_framework.api.meta import Json
from addon_framework.local.apiserver.schemas.node import SchemaNode

# Go defaults that decide the identity of list elements; the shipped documents drop `default`.
_KEY_DEFAULTS: dict[tuple[str, str], dict[str, Any]] = {
    ("core.v1.Container", "ports"): {"protocol": "TCP"},
    ("core.v1.EphemeralContainer", "ports"): {"protocol": "TCP"},
    ("core.v1.ServiceSpec", "ports"): {"protocol": "TCP"},
}
# Marked as required, yet the server takes objects without them: their Go zero value is meaningful.
_NOT_REALLY_REQUIRED: dict[str, frozenset[str]] = {
    "core.v1.Event": frozenset({"metadata", "involvedObject"}),
    "events.v1.Event": frozenset({"eventTime"}),
    "core.v1.ContainerStatus": frozenset({"image", "imageID", "ready", "restartCount"}),
    "discovery.v1.EndpointSlice": frozenset({"endpoints"}),
    "networking.v1.NetworkPolicySpec": frozenset({"podSelector"}),
    "storage.v1.CSINodeSpec": frozenset({"drivers"}),
    "core.v1.PersistentVolumeClaimCondition": frozenset({"status", "type"}),
    "apps.v1.ControllerRevision": frozenset({"data"}),
    "authorization.v1.SelfSubjectRulesReview": frozenset({"spec"}),
}
SCHEMA_OR_ELSE = frozenset(
    {"apiextensions.v1.JSONSchemaPropsOrArray", "apiextensions.v1.JSONSchemaPropsOrBool"}
)
_INT_OR_STRING = "util.intstr.IntOrString"
_QUANTITY = "api.resource.Quantity"
_RAW = frozenset(
    {
        "pkg.runtime.RawExtension",
        "meta.v1.FieldsV1",
        "meta.v1.Patch",
    }
)
_FIELDS = "$defs"


def definitions_source() -> Path:
    """The newest document in the package: every definition with its description."""
    package = find_spec("kubernetes_validate")  # not imported: its code needs 50 modules, and we its files
    assert package is not None
    assert package.origin is not None
    versions = Path(package.origin).with_name("kubernetes-json-schema").glob("*-local")
    newest = max(versions, key=lambda each: [int(n) for n in each.name[1:].split("-")[0].split(".")])
    return newest / "_definitions.json"


def load_definitions() -> Json:
    """The definitions as they are in the package, by name such as io.k8s.api.core.v1.Pod."""
    loaded: Json = orjson.loads(definitions_source().read_bytes())
    definitions: Json = loaded[_FIELDS]
    return definitions


def short_name(name: str) -> str:
    """Of a definition: io.k8s.api.core.v1.Pod is core.v1.Pod."""
    return ".".join(name.split(".")[-3:])


def _kind_types(raw: Json) -> tuple[str, bool]:
    """JSON Schema's ["string", "null"] as a type and whether null is allowed."""
    found = raw.get("type", "")
    if isinstance(found, list):
        return next(each for each in found if each != "null"), True
    return str(found), False


class Catalogue:
    """All built-in types, compiled together since they refer to each other."""

    def __init__(self, definitions: Json) -> None:
        self._nodes: dict[str, SchemaNode] = {name: SchemaNode() for name in definitions}
        self._late: list[tuple[SchemaNode, SchemaNode, Json]] = []
        self.kinds: dict[tuple[str, str, str], SchemaNode] = {}
        self.names: dict[tuple[str, str, str], str] = {}
        for name, raw in definitions.items():
            node = self._nodes[name]
            node.name = short_name(name)
            self._fill(node, raw)
            gvks = raw.get("x-kubernetes-group-version-kind", ())
            if len(gvks) == 1:
                gvk = gvks[0]["group"], gvks[0]["version"], gvks[0]["kind"]
                self.kinds[gvk] = node
                self.names[gvk] = name
        self.types = {node.name: node for node in self._nodes.values()}
        schema = self.types["apiextensions.v1.JSONSchemaProps"]
        for name in SCHEMA_OR_ELSE:  # the documents say nothing of them
            node = self.types[name]
            node.type, node.properties, node.map_atomic = "object", schema.properties, True
            node.preserve = node.atomic_children = node.open = False
        for twin, target, raw in self._late:
            for slot in fields(SchemaNode):
                setattr(twin, slot.name, getattr(target, slot.name))
            self._extend(twin, raw)

    def _fill(self, node: SchemaNode, raw: Json) -> None:
        node.builtin = True
        node.type, node.nullable = _kind_types(raw)
        node.nullable = True  # Go reads null as the zero value everywhere
        if node.name == _INT_OR_STRING:
            node.int_or_string = True
        elif node.name == _QUANTITY:
            node.quantity = True
        elif node.name in _RAW:
            node.type, node.open, node.preserve, node.atomic_children = "object", True, True, True
        elif not node.type:
            node.preserve = node.atomic_children = node.open = True
        node.format = raw.get("format", "")
        optional = _NOT_REALLY_REQUIRED.get(node.name, frozenset())
        node.required = tuple(each for each in raw.get("required", ()) if each not in optional)
        node.properties = {}
        for key, value in raw.get("properties", {}).items():
            child = self._child(value)
            node.properties[key] = child
            defaults = _KEY_DEFAULTS.get((node.name, key))
            if defaults:
                child.key_defaults = defaults
        if "items" in raw:
            node.items = self._child(raw["items"])
        if isinstance(raw.get("additionalProperties"), dict):
            node.additional = self._child(raw["additionalProperties"])
            node.open = True
        elif node.type == "object" and not node.properties and not node.name:
            node.open = node.preserve = True
        self._extend(node, raw)

    @staticmethod
    def _extend(node: SchemaNode, raw: Json) -> None:
        if "x-kubernetes-list-type" in raw:
            node.list_type = raw["x-kubernetes-list-type"]
            node.list_map_keys = tuple(raw.get("x-kubernetes-list-map-keys", ()))
        if "x-kubernetes-map-type" in raw:
            node.map_atomic = raw["x-kubernetes-map-type"] == "atomic"
        if "x-kubernetes-patch-strategy" in raw:
            node.patch_strategies = frozenset(raw["x-kubernetes-patch-strategy"].split(","))
        if "x-kubernetes-patch-merge-key" in raw:
            node.merge_key = raw["x-kubernetes-patch-merge-key"]

    def _child(self, raw: Json) -> SchemaNode:
        reference = raw.get("$ref")
        if reference is None:
            node = SchemaNode()
            self._fill(node, raw)
            return node
        target = self._nodes[reference.rpartition("/")[2]]
        if any(key.startswith("x-kubernetes-") for key in raw):
            twin = SchemaNode()
            self._late.append((twin, target, raw))
            return twin
        return target


@cache
def catalogue() -> Catalogue:
    """Compiled on first use (about 30 ms) and kept: it only describes Kubernetes."""
    return Catalogue(load_definitions())


def builtin_type(name: str) -> SchemaNode:
    """A type by the end of its name in the documents, such as meta.v1.LabelSelector."""
    return catalogue().types[name]


def builtin_schema(group: str, version: str, kind: str) -> SchemaNode | None:
    """The schema of a built-in kind; None for any other."""
    return catalogue().kinds.get((group, version, kind))
