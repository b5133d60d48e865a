"""OpenAPI documents of what is served, version 3, one for each group and version.

kubectl explain reads descriptions from them, kubectl apply the merge keys, and the parameters of an operation
tell whether the server validates fields itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import orjson

from addon_framework.api.meta import Json
from addon_framework.local.apiserver.registry import Kind, Version
from addon_framework.local.apiserver.schemas.builtin import catalogue, load_definitions

_META = "io.k8s.apimachinery.pkg.apis.meta.v1"
_OBJECT_META = f"{_META}.ObjectMeta"
_LIST_META = f"{_META}.ListMeta"
_STATUS = f"{_META}.Status"
_DELETE_OPTIONS = f"{_META}.DeleteOptions"
_REF = "#/components/schemas/"
_PATCHES = ("application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml")
_STRATEGIC = "application/strategic-merge-patch+json"


def openapi_v3_index(kinds: Iterable[Kind]) -> Json:
    """/openapi/v3: where the document of each group and version is, with a hash for caches."""
    found: dict[str, list[Any]] = {}
    for kind in kinds:
        for version in kind.versions:
            if version.served:
                shape = [kind.plural, kind.kind, kind.subresources, version.openapi]
                found.setdefault(_root(kind.group, version.name)[1:], []).append(shape)
    paths = {}
    for path, shapes in sorted(found.items()):
        digest = hashlib.sha256(orjson.dumps(shapes)).hexdigest()[:32].upper()
        paths[path] = {"serverRelativeURL": f"/openapi/v3/{path}?hash={digest}"}
    return {"paths": paths}


def openapi_v3(kinds: Iterable[Kind], group: str, version: str) -> Json:
    """The document of one group and version."""
    source = load_definitions()
    paths: Json = {}
    schemas = _Schemas(source)
    for kind in kinds:
        served = kind.version(version)
        if kind.group == group and served is not None:
            name = schemas.add_kind(kind, served)
            paths.update(_paths(kind, served, name))
    schemas.close()
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "v1"},
        "paths": paths,
        "components": {"schemas": schemas.out},
    }


def patch_parameters() -> tuple[tuple[str, str], ...]:
    """Names and types of what a patch takes in its query."""
    return _QUERY["patch"]


def _root(group: str, version: str) -> str:
    return f"/apis/{group}/{version}" if group else f"/api/{version}"


def collection(kind: Kind, version: Version) -> str:
    """The path of a kind's objects, in a namespace where they have one."""
    scope = "/namespaces/{namespace}" if kind.namespaced else ""
    return f"{_root(kind.group, version.name)}{scope}/{kind.plural}"


class _Schemas:
    """Collects the definitions that are asked for, and what they refer to."""

    def __init__(self, source: Json) -> None:
        self.out: Json = {}
        self._source = source
        self._wanted: list[str] = [_OBJECT_META, _LIST_META, _STATUS, _DELETE_OPTIONS, f"{_META}.Patch"]

    def add_kind(self, kind: Kind, version: Version) -> str:
        """Add a kind and its list. Returns the name of the kind's definition."""
        gvk = (kind.group, version.name, kind.kind)
        name = catalogue().names.get(gvk)
        if name is not None and not kind.custom:
            self._wanted.append(name)
            if f"{name}List" in self._source:
                self._wanted.append(f"{name}List")
            return name
        name = ".".join([*reversed(kind.group.split(".")), version.name, kind.kind])
        self.out[name] = self._custom(kind, version)
        self.out[f"{name}List"] = self._list(kind, version, name)
        return name

    def close(self) -> None:
        """Add everything that is referred to."""
        while self._wanted:
            name = self._wanted.pop()
            if name not in self.out and name in self._source:
                self.out[name] = self._convert(self._source[name], name)

    def _reference(self, name: str) -> Json:
        self._wanted.append(name)
        return {"$ref": _REF + name}

    def _described(self, name: str, extra: Json) -> Json:
        """A reference that says more. What stands beside $ref is ignored, hence allOf."""
        return {**extra, "allOf": [self._reference(name)], "default": {}}

    def _convert(self, raw: Json, name: str = "") -> Json:
        """JSON Schema as shipped, with null among the types, to OpenAPI."""
        out: Json = {}
        for key, value in raw.items():
            if key == "type" and isinstance(value, list):
                out["type"] = next(each for each in value if each != "null")
            elif key == "properties":
                out[key] = {each: self._convert(item) for each, item in value.items()}
            elif key in ("items", "additionalProperties") and isinstance(value, dict):
                out[key] = self._convert(value)
            elif key == "$ref":
                continue
            elif key == "oneOf":
                out[key] = [self._convert(each) for each in value]
            elif not (key == "enum" and raw.get("type") == ["string", "null"]):
                out[key] = value
        if name.endswith(".IntOrString"):
            choices = [{"type": "integer"}, {"type": "string"}]
            return {"description": out.get("description", ""), "format": "int-or-string", "oneOf": choices}
        target = raw.get("$ref")
        if target is None:
            return out
        found = target.rpartition("/")[2]
        return self._described(found, out) if out else self._reference(found)

    def _custom(self, kind: Kind, version: Version) -> Json:
        schema = dict(version.openapi or {"type": "object", "x-kubernetes-preserve-unknown-fields": True})
        texts = {
            key: field["description"]
            for key, field in self._source["io.k8s.api.core.v1.ConfigMap"]["properties"].items()
        }
        schema["properties"] = {
            "apiVersion": {"type": "string", "description": texts["apiVersion"]},
            "kind": {"type": "string", "description": texts["kind"]},
            **(schema.get("properties") or {}),
            "metadata": self._described(_OBJECT_META, {"description": texts["metadata"]}),
        }
        schema["x-kubernetes-group-version-kind"] = [_gvk(kind, version)]
        return schema

    def _list(self, kind: Kind, version: Version, name: str) -> Json:
        gvk = {**_gvk(kind, version), "kind": kind.list_kind or f"{kind.kind}List"}
        return {
            "description": f"{gvk['kind']} is a list of {kind.kind}",
            "type": "object",
            "required": ["items"],
            "properties": {
                "apiVersion": {"type": "string"},
                "kind": {"type": "string"},
                "metadata": self._described(_LIST_META, {"description": "Standard list metadata."}),
                "items": {
                    "description": f"List of {kind.plural}.",
                    "type": "array",
                    "items": {"$ref": _REF + name},
                },
            },
            "x-kubernetes-group-version-kind": [gvk],
        }


def _gvk(kind: Kind, version: Version) -> Json:
    return {"group": kind.group, "version": version.name, "kind": kind.kind}


_WRITE = (("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string"))
_QUERY: dict[str, tuple[tuple[str, str], ...]] = {
    "list": (
        ("labelSelector", "string"), ("fieldSelector", "string"), ("limit", "integer"),
        ("continue", "string"), ("resourceVersion", "string"), ("watch", "boolean"),
    ),
    "post": _WRITE,
    "put": _WRITE,
    "patch": (*_WRITE, ("force", "boolean")),
    "delete": (("dryRun", "string"), ("gracePeriodSeconds", "integer"), ("propagationPolicy", "string")),
    "get": (),
}  # fmt: skip


def _paths(kind: Kind, version: Version, name: str) -> Json:
    """The collection, the object and its status."""
    verbs, base = kind.verbs, collection(kind, version)
    in_namespace = ["namespace"] if kind.namespaced else []
    out: Json = {}
    many: Json = {}
    if "list" in verbs:
        many["get"] = _operation("list", kind, version, f"{name}List")
        if kind.namespaced:
            out[f"{_root(kind.group, version.name)}/{kind.plural}"] = {"get": many["get"]}
    if "create" in verbs:
        many["post"] = _operation("post", kind, version, name)
    out[base] = {**many, "parameters": [_in_path(each) for each in in_namespace]}
    if "get" not in verbs:
        return out
    named = {"parameters": [_in_path(each) for each in ("name", *in_namespace)]}
    methods = {"get": "get", "put": "update", "patch": "patch", "delete": "delete"}
    one = {each: _operation(each, kind, version, name) for each, verb in methods.items() if verb in verbs}
    out[f"{base}/{{name}}"] = {**one, **named}
    if "status" in kind.subresources:
        part = {each: _operation(each, kind, version, name, "Status") for each in ("get", "put", "patch")}
        out[f"{base}/{{name}}/status"] = {**part, **named}
    return out


def _in_path(name: str) -> Json:
    return {"name": name, "in": "path", "schema": {"type": "string"}, "required": True}


def _operation(method: str, kind: Kind, version: Version, name: str, part: str = "") -> Json:
    title = "".join(each.capitalize() for each in kind.group.split(".")[0].split("-")) or "Core"
    scope = "Namespaced" if kind.namespaced else ""
    answer = _STATUS if method == "delete" else name
    out: Json = {
        "description": f"{method} {kind.kind}",
        "operationId": f"{method}{title}{version.name.capitalize()}{scope}{kind.kind}{part}",
        "parameters": [
            {"name": each, "in": "query", "schema": {"type": type_}} for each, type_ in _QUERY[method]
        ],
        "x-kubernetes-action": method,
        "x-kubernetes-group-version-kind": _gvk(kind, version),
        "responses": {"200": {"description": "OK", "content": _content(answer)}},
    }
    if method in ("post", "put"):
        out["requestBody"] = {"content": _content(name)}
    elif method == "patch":
        patches = _PATCHES if kind.custom else (*_PATCHES, _STRATEGIC)
        out["requestBody"] = {"content": _content(f"{_META}.Patch", patches)}
    elif method == "delete":
        out["requestBody"] = {"content": _content(_DELETE_OPTIONS)}
    return out


def _content(name: str, forms: Iterable[str] = ("application/json",)) -> Json:
    return {form: {"schema": {"$ref": _REF + name}} for form in forms}
