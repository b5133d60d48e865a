"""OpenAPI v2 as JSON, for clients that do not read version 3: the same documents, all in one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from addon_framework.api.meta import Json
from addon_framework.local.apiserver.openapi import openapi_v3
from addon_framework.local.apiserver.registry import Kind

_OLD, _NEW = "#/definitions/", "#/components/schemas/"


def openapi_v2(kinds: Iterable[Kind]) -> Json:
    """All groups and versions in one document."""
    kinds = list(kinds)
    served = {(kind.group, version.name) for kind in kinds for version in kind.versions if version.served}
    definitions: Json = {}
    paths: Json = {}
    for group, version in sorted(served):
        document = openapi_v3(kinds, group, version)
        for name, schema in document["components"]["schemas"].items():
            if name not in definitions:
                definitions[name] = _schema(schema)
        for path, item in document["paths"].items():
            paths[path] = {key: _item(key, value) for key, value in item.items()}
    info = {"title": "Kubernetes", "version": "v1"}
    return {"swagger": "2.0", "info": info, "paths": paths, "definitions": definitions}


def _schema(schema: Json) -> Json:
    """References may be described, and there are no alternatives."""
    if schema.get("format") == "int-or-string":
        return {"description": schema.get("description", ""), "type": "string", "format": "int-or-string"}
    out: Json = {}
    for key, value in schema.items():
        if key == "properties":
            out[key] = {name: _schema(each) for name, each in value.items()}
        elif key in ("items", "additionalProperties") and isinstance(value, dict):
            out[key] = _schema(value)
        elif key == "$ref":
            out[key] = value.replace(_NEW, _OLD)
        elif key == "allOf" and len(value) == 1:
            out |= _schema(value[0])
        elif key not in ("allOf", "anyOf", "oneOf", "not", "nullable") and not (
            key == "default" and "allOf" in schema
        ):
            out[key] = value
    return out


def _item(key: str, value: Any) -> Any:
    """Of a path: an operation, or the parameters of all of them."""
    if key == "parameters":
        return [_parameter(each) for each in value]
    out = {name: each for name, each in value.items() if name != "requestBody"}
    out["parameters"] = [_parameter(each) for each in value["parameters"]]
    if body := value.get("requestBody"):
        out["consumes"] = list(body["content"])
        out["parameters"].append({"name": "body", "in": "body", "required": True, **_typed(body)})
    answer = value["responses"]["200"]
    out["produces"] = list(answer["content"])
    out["responses"] = {"200": {"description": answer["description"], **_typed(answer)}}
    return out


def _parameter(parameter: Json) -> Json:
    return {**{key: each for key, each in parameter.items() if key != "schema"}, **parameter["schema"]}


def _typed(said: Json) -> Json:
    (content, *_) = said["content"].values()
    return {"schema": _schema(content["schema"])}
