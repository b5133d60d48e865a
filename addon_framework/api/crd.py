"""CustomResourceDefinitions, generated from the typed kinds, and loaded where they are installed.

The structural schema's rules:
https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import msgspec
import yaml

from addon_framework.api import addon, addon_v1beta1, cluster, data, inference, placement, work
from addon_framework.api.descriptions import field_texts
from addon_framework.api.meta import Definition, Json, ObjectMeta, Resource

KINDS: tuple[type[msgspec.Struct], ...] = (
    *cluster.KINDS,
    *work.KINDS,
    *addon.KINDS,
    *data.KINDS,
    *inference.KINDS,
    *placement.KINDS,
)
NEWER: tuple[type[msgspec.Struct], ...] = addon_v1beta1.KINDS  # other versions of some, served beside them
_PLAIN = {"enum", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "pattern", "format"}
_NUMBER = r"(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))"
_QUANTITY = rf"^{_NUMBER}(([KMGTPE]i)|[numkMGTPE]|([eE]{_NUMBER}))?$"


def file_name(resource: Resource) -> str:
    """As the folder of CRDs has it."""
    return f"{resource.group}_{resource.plural}.yaml"


def generate(kind: type[msgspec.Struct]) -> Json:
    """The CRD of one typed kind."""
    resource: Resource = kind.RESOURCE  # type: ignore[attr-defined]
    definition: Definition = kind.DEFINITION  # type: ignore[attr-defined]
    names: Json = {
        "kind": resource.kind,
        "listKind": f"{resource.kind}List",
        "plural": resource.plural,
        "singular": resource.kind.lower(),
    }
    if definition.short_names:
        names["shortNames"] = list(definition.short_names)
    if definition.categories:
        names["categories"] = list(definition.categories)
    spec: Json = {
        "group": resource.group,
        "names": names,
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "versions": [_version(kind, storage=True), *(_version(other) for other in _others(resource))],
    }
    if resource.group == addon.GROUP and resource.kind in addon_v1beta1.CONVERTED:
        spec["conversion"] = addon_v1beta1.CONVERSION
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{resource.plural}.{resource.group}"},
        "spec": spec,
    }


def _others(resource: Resource) -> list[type[msgspec.Struct]]:
    wanted = (resource.group, resource.plural)
    return [k for k in NEWER if (k.RESOURCE.group, k.RESOURCE.plural) == wanted]  # type: ignore[attr-defined]


def _version(kind: type[msgspec.Struct], *, storage: bool = False) -> Json:
    definition: Definition = kind.DEFINITION  # type: ignore[attr-defined]
    version: Json = {
        "name": kind.RESOURCE.version,  # type: ignore[attr-defined]
        "served": True,
        "storage": storage,
        "schema": {"openAPIV3Schema": _root(kind)},
    }
    if definition.columns:
        version["additionalPrinterColumns"] = [_column(*column) for column in definition.columns]
    subresources: Json = {}
    if definition.status:
        subresources["status"] = {}
    if definition.scale:
        replicas, status, selector = definition.scale
        subresources["scale"] = {"specReplicasPath": replicas, "statusReplicasPath": status}
        if selector:
            subresources["scale"]["labelSelectorPath"] = selector
    if subresources:
        version["subresources"] = subresources
    return version


def load_crds(place: Literal["hub", "spoke", "all"] = "all") -> list[Json]:
    """The CRDs for a hub, a spoke, or both, as generated files have them."""
    folder = _folder()
    return [
        yaml.load((folder / file_name(kind.RESOURCE)).read_bytes(), Loader=_LOADER)  # type: ignore[attr-defined]
        for kind in KINDS
        if place == "all" or place in kind.DEFINITION.places  # type: ignore[attr-defined]
    ]


_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _folder() -> Path:
    """`manifests/crds` of a checkout; in a wheel they lie beside this module."""
    installed = Path(__file__).parent / "crds"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "manifests" / "crds"


def _column(name: str, type_: str, path: str, priority: int = 0) -> Json:
    column: Json = {"name": name, "type": type_, "jsonPath": path}
    if priority:
        column["priority"] = priority
    return column


def _root(kind: type[msgspec.Struct]) -> Json:
    root = _struct(msgspec.inspect.type_info(kind))  # type: ignore[arg-type]
    root["properties"] = {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
        **{name: value for name, value in root["properties"].items() if name != "metadata"},
    }
    definition: Definition = kind.DEFINITION  # type: ignore[attr-defined]
    if definition.rules:
        root["x-kubernetes-validations"] = _rules(definition.rules)
    return root


def _rules(rules: Iterable[tuple[str, str]]) -> list[Json]:
    return [{"rule": rule, "message": message} for rule, message in rules]


def _struct(info: msgspec.inspect.StructType) -> Json:
    properties: Json = {}
    required = []
    texts = field_texts(info.cls)
    for field in info.fields:
        properties[field.encode_name], said = _field(field.type)
        if said_of_it := texts.get(field.name):
            properties[field.encode_name]["description"] = said_of_it
        if said.get("required"):
            required.append(field.encode_name)
    node: Json = {"type": "object", "properties": properties}
    if text := inspect.getdoc(info.cls):
        node["description"] = " ".join(text.split())
    if required:
        node["required"] = sorted(required)
    return node


def _field(info: msgspec.inspect.Type) -> tuple[Json, Json]:
    """The schema of a field, and what its annotation said."""
    said: Json = {}
    text = ""
    while isinstance(info, msgspec.inspect.Metadata):
        said = (info.extra or {}).get("schema", {}) | said
        text = text or (info.extra_json_schema or {}).get("description", "")
        info = info.type
    node = _type(info, said)
    if text:
        node["description"] = text
    node |= {name: value for name, value in said.items() if name in _PLAIN}
    if "default" in said:
        node["default"] = said["default"]
    if said.get("nullable"):
        node["nullable"] = True
    if rules := said.get("rules"):
        node["x-kubernetes-validations"] = _rules(rules)
    if keys := said.get("list_map_keys"):
        node["x-kubernetes-list-type"] = "map"
        node["x-kubernetes-list-map-keys"] = keys
    return node, said


def _type(info: msgspec.inspect.Type, said: Json) -> Json:
    if said.get("int_or_string"):
        return {"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": True}
    if said.get("embedded"):
        return {
            "type": "object",
            "x-kubernetes-embedded-resource": True,
            "x-kubernetes-preserve-unknown-fields": True,
        }
    if said.get("preserve"):
        open_object: Json = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        listed = isinstance(info, msgspec.inspect.ListType)
        return {"type": "array", "items": open_object} if listed else open_object
    match info:
        case msgspec.inspect.UnionType():
            inner = next(t for t in info.types if not isinstance(t, msgspec.inspect.NoneType))
            return _field(inner)[0]
        case msgspec.inspect.StructType():
            return {"type": "object"} if info.cls is ObjectMeta else _struct(info)
        case msgspec.inspect.ListType():
            return {"type": "array", "items": _field(info.item_type)[0]}
        case msgspec.inspect.DictType():
            values = _field(info.value_type)[0]
            if said.get("quantities"):
                values = {
                    "anyOf": [{"type": "integer"}, {"type": "string"}],
                    "pattern": _QUANTITY,
                    "x-kubernetes-int-or-string": True,
                }
            return {"type": "object", "additionalProperties": values}
    scalars: list[tuple[Any, str]] = [
        (msgspec.inspect.StrType, "string"),
        (msgspec.inspect.IntType, "integer"),
        (msgspec.inspect.BoolType, "boolean"),
        (msgspec.inspect.FloatType, "number"),
    ]
    for type_, name in scalars:
        if isinstance(info, type_):
            return {"type": name}
    return {"x-kubernetes-preserve-unknown-fields": True}
