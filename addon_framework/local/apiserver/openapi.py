"""OpenAPI documents of what is served: v3 per group and version, v2 for old clients.

kubectl explain reads descriptions from them, kubectl apply the merge keys, and the parameters of an operation
tell whether the server validates fields itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
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
_V3, _V2 = "#/components/schemas/", "#/definitions/"
_JSON = "application/json"
_PATCHES = ("application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml")
_STRATEGIC = "application/strategic-merge-patch+json"
_UNTYPED = ("anyOf", "oneOf", "allOf", "not")


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
    schemas = _Schemas(source, _V3)
    for kind in kinds:
        served = kind.version(version)
        if kind.group == group and served is not None:
            name = schemas.add_kind(kind, served)
            paths.update(_paths(kind, served, name, _operation_v3))
    schemas.close()
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "v1"},
        "paths": paths,
        "components": {"schemas": schemas.out},
    }


def openapi_v2(kinds: Iterable[Kind]) -> Json:
    """The one document of everything, as Swagger 2.0."""
    source = load_definitions()
    paths: Json = {}
    schemas = _Schemas(source, _V2)
    for kind in kinds:
        for served in kind.versions:
            if served.served:
                name = schemas.add_kind(kind, served)
                paths.update(_paths(kind, served, name, _operation_v2))
    schemas.close()
    return {
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": "v1"},
        "paths": paths,
        "definitions": schemas.out,
    }


def patch_parameters() -> tuple[tuple[str, str], ...]:
    """Names and types of what a patch takes in its query."""
    return _QUERY["patch"]


def _root(group: str, version: str) -> str:
    return f"/apis/{group}/{version}" if group else f"/api/{version}"


class _Schemas:
    """Collects the definitions that are asked for, and what they refer to, in one dialect."""

    def __init__(self, source: Json, prefix: str) -> None:
        self.out: Json = {}
        self._source = source
        self._prefix = prefix
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
        return {"$ref": self._prefix + name}

    def _described(self, name: str, extra: Json) -> Json:
        """A reference that says more. Version 3 ignores what stands beside $ref, hence allOf."""
        if self._prefix == _V2:
            return {**extra, **self._reference(name)}
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
            return self._scalar(out, "int-or-string")
        if name.endswith(".Quantity") and self._prefix == _V2:
            return {"description": out.get("description", ""), "type": "string"}
        target = raw.get("$ref")
        if target is None:
            return out
        found = target.rpartition("/")[2]
        return self._described(found, out) if out else self._reference(found)

    def _scalar(self, out: Json, form: str) -> Json:
        if self._prefix == _V2:
            return {"description": out.get("description", ""), "type": "string", "format": form}
        choices = [{"type": "integer"}, {"type": "string"}]
        return {"description": out.get("description", ""), "format": form, "oneOf": choices}

    def _custom(self, kind: Kind, version: Version) -> Json:
        schema = dict(version.openapi or {"type": "object", "x-kubernetes-preserve-unknown-fields": True})
        config_map = self._source["io.k8s.api.core.v1.ConfigMap"]["properties"]
        schema["properties"] = {
            **{
                key: {"type": "string", "description": config_map[key]["description"]}
                for key in ("apiVersion", "kind")
            },
            **{key: self._portable(value) for key, value in (schema.get("properties") or {}).items()},
            "metadata": self._described(_OBJECT_META, {"description": config_map["metadata"]["description"]}),
        }
        schema["x-kubernetes-group-version-kind"] = [_gvk(kind, version)]
        return self._portable(schema)

    def _portable(self, raw: Json) -> Json:
        """Version 2 knows neither nullable nor choices; clients of version 2 choke on them."""
        if self._prefix == _V3:
            return raw
        out: Json = {
            key: value for key, value in raw.items() if key not in (*_UNTYPED, "nullable", "default")
        }
        if raw.get("x-kubernetes-int-or-string") or raw.get("nullable"):
            out.pop("type", None)
        for key in ("items", "additionalProperties"):
            if isinstance(out.get(key), dict):
                out[key] = self._portable(out[key])
        if isinstance(out.get("properties"), dict):
            out["properties"] = {key: self._portable(item) for key, item in out["properties"].items()}
        if raw.get("x-kubernetes-preserve-unknown-fields"):
            out.pop("properties", None)
            out.pop("items", None)
        return out

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
                    "items": {"$ref": self._prefix + name},
                },
            },
            "x-kubernetes-group-version-kind": [gvk],
        }


def _gvk(kind: Kind, version: Version) -> Json:
    return {"group": kind.group, "version": version.name, "kind": kind.kind}


_QUERY: dict[str, tuple[tuple[str, str], ...]] = {
    "list": (
        ("labelSelector", "string"),
        ("fieldSelector", "string"),
        ("limit", "integer"),
        ("continue", "string"),
        ("resourceVersion", "string"),
        ("watch", "boolean"),
    ),
    "post": (("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string")),
    "put": (("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string")),
    "patch": (
        ("dryRun", "string"),
        ("fieldManager", "string"),
        ("fieldValidation", "string"),
        ("force", "boolean"),
    ),
    "delete": (
        ("dryRun", "string"),
        ("gracePeriodSeconds", "integer"),
        ("propagationPolicy", "string"),
    ),
    "get": (),
}

Operation = Callable[[str, Kind, Version, str, bool], Json]


def _paths(kind: Kind, version: Version, name: str, operation: Operation) -> Json:
    """The collection, the object and its subresources."""
    root = _root(kind.group, version.name)
    verbs = kind.verbs
    base = f"{root}/namespaces/{{namespace}}/{kind.plural}" if kind.namespaced else f"{root}/{kind.plural}"
    out: Json = {}
    many: Json = {}
    if "list" in verbs:
        many["get"] = operation("list", kind, version, f"{name}List", False)
        if kind.namespaced:
            across = operation("list", kind, version, f"{name}List", False)
            out[f"{root}/{kind.plural}"] = {"get": across}
    if "create" in verbs:
        many["post"] = operation("post", kind, version, name, False)
    out[base] = {**many, "parameters": _path_parameters(kind, False, operation)}
    if "get" in verbs:
        one = {
            method: operation(method, kind, version, name, False)
            for method, verb in (("get", "get"), ("put", "update"), ("patch", "patch"), ("delete", "delete"))
            if verb in verbs
        }
        out[f"{base}/{{name}}"] = {**one, "parameters": _path_parameters(kind, True, operation)}
        if "status" in kind.subresources:
            part = {
                method: operation(method, kind, version, name, True) for method in ("get", "put", "patch")
            }
            out[f"{base}/{{name}}/status"] = {**part, "parameters": _path_parameters(kind, True, operation)}
    return out


def _parameter(name: str, kind: str, where: str, operation: Operation) -> Json:
    typed: Json = {"type": kind} if operation is _operation_v2 else {"schema": {"type": kind}}
    out: Json = {"name": name, "in": where, **typed}
    if where == "path":
        out["required"] = True
    return out


def _path_parameters(kind: Kind, named: bool, operation: Operation) -> list[Json]:
    names = [*(["name"] if named else []), *(["namespace"] if kind.namespaced else [])]
    return [_parameter(each, "string", "path", operation) for each in names]


def _common(method: str, kind: Kind, version: Version, part: bool, operation: Operation) -> Json:
    action = {"list": "list", "post": "post"}.get(method, method)
    title = "".join(each.capitalize() for each in kind.group.split(".")[0].split("-")) or "Core"
    scope = "Namespaced" if kind.namespaced else ""
    tail = "Status" if part else ""
    return {
        "description": f"{action} {kind.kind}",
        "operationId": f"{action}{title}{version.name.capitalize()}{scope}{kind.kind}{tail}",
        "parameters": [_parameter(name, kind_, "query", operation) for name, kind_ in _QUERY[method]],
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": _gvk(kind, version),
    }


def _operation_v3(method: str, kind: Kind, version: Version, name: str, part: bool) -> Json:
    out = _common(method, kind, version, part, _operation_v3)
    body: Json | None = None
    if method in ("post", "put"):
        body = {_JSON: {"schema": {"$ref": _V3 + name}}}
    elif method == "patch":
        patches = _PATCHES if kind.custom else (*_PATCHES, _STRATEGIC)
        body = {each: {"schema": {"$ref": f"{_V3}{_META}.Patch"}} for each in patches}
    elif method == "delete":
        body = {_JSON: {"schema": {"$ref": _V3 + _DELETE_OPTIONS}}}
    if body is not None:
        out["requestBody"] = {"content": body}
    answer = _STATUS if method == "delete" else name
    content = {_JSON: {"schema": {"$ref": _V3 + answer}}}
    out["responses"] = {"200": {"description": "OK", "content": content}}
    return out


def _operation_v2(method: str, kind: Kind, version: Version, name: str, part: bool) -> Json:
    out = _common(method, kind, version, part, _operation_v2)
    patches = _PATCHES if kind.custom else (*_PATCHES, _STRATEGIC)
    out["consumes"] = list(patches) if method == "patch" else ["*/*"]
    out["produces"] = [_JSON]
    if method in ("post", "put"):
        out["parameters"].append({"name": "body", "in": "body", "schema": {"$ref": _V2 + name}})
    elif method == "patch":
        out["parameters"].append({"name": "body", "in": "body", "schema": {"type": "object"}})
    answer = _STATUS if method == "delete" else name
    out["responses"] = {"200": {"description": "OK", "schema": {"$ref": _V2 + answer}}}
    return out
