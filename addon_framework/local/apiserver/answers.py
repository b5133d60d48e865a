"""Answers in the form a client asked for: objects, lists, tables, metadata alone, or a Status."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

import orjson
import yaml
from aiohttp import web

from addon_framework.api.meta import Json
from addon_framework.local.apiserver import status
from addon_framework.local.apiserver.call import Call, Target
from addon_framework.local.apiserver.conversion import all_in_version, in_version
from addon_framework.local.apiserver.schemas import cause
from addon_framework.local.apiserver.status import StatusError
from addon_framework.local.apiserver.tables import partial_metadata, to_table

_ACCEPTED = ("application/json", "*/*", "application/yaml")
_PARTIAL = "PartialObjectMetadata"
_FORMS = ("", "Table", _PARTIAL, f"{_PARTIAL}List")
_META = (("meta.k8s.io", "v1"), ("meta.k8s.io", "v1beta1"))
_TYPE = ("apiVersion", "kind")
_COMPRESS_FROM = 128 * 1024


def json_answer(call: Call, body: Json, code: int = 200) -> web.Response:
    """Any JSON, compressed where it is long and the client can read that."""
    data, headers = orjson.dumps(body), {"Content-Type": "application/json"}
    if call.header("Accept").startswith("application/yaml"):
        data, headers = yaml.safe_dump(body).encode(), {"Content-Type": "application/yaml"}
    if len(data) > _COMPRESS_FROM and "gzip" in call.header("Accept-Encoding"):
        data = gzip.compress(data, 1)
        headers["Content-Encoding"] = "gzip"
    return _warned(web.Response(body=data, status=code, headers=headers), call.warnings)


def _warned(response: web.Response, warnings: Iterable[str]) -> web.Response:
    for warning in dict.fromkeys(warnings):
        text = "".join(each if each.isprintable() else "?" for each in warning)  # it is in a header
        text = text.replace("\\", "\\\\").replace('"', '\\"')
        response.headers.add("Warning", f'299 - "{text}"')
    return response


def failure(error: StatusError, warnings: Iterable[str] = ()) -> web.Response:
    """A Status."""
    if not error.reason and error.code == 404:
        return web.Response(text=error.message, status=404)
    body = orjson.dumps(error.body())
    response = web.Response(body=body, status=error.code, headers={"Content-Type": "application/json"})
    if error.code in (429, 503, 504):
        response.headers["Retry-After"] = str((error.details or {}).get("retryAfterSeconds", 1))
    return _warned(response, warnings)


def object_answer(call: Call, target: Target, obj: Json, code: int = 200) -> web.Response:
    """One object, or what else an endpoint of it answers."""
    is_object = obj.get("kind") == target.kind.kind and obj.get("apiVersion") != "autoscaling/v1"
    return json_answer(call, presenter(call, target)(obj) if is_object else obj, code)


def list_answer(call: Call, target: Target, objects: list[Json], metadata: Json) -> web.Response:
    """Some objects."""
    form = _form(call, many=True)
    if form == "Table":
        return json_answer(call, {**_table(call, target, objects), "metadata": metadata})
    kind, version = target.kind.list_kind, target.api_version
    if form:
        kind, version = form, "meta.k8s.io/v1"
    if form == "":
        items = all_in_version(target.kind, objects, target.api_version)
        if not target.kind.custom:  # in a list of one type none says it again
            items = [{key: obj[key] for key in obj if key not in _TYPE} for obj in items]
    else:
        items = [partial_metadata(obj) for obj in objects]
    return json_answer(call, {"kind": kind, "apiVersion": version, "metadata": metadata, "items": items})


def presenter(call: Call, target: Target) -> Callable[[Json], Json]:
    """How one object is shown; 406 when the client wants only what we do not write."""
    form = _form(call)
    if form == "Table":
        return lambda obj: _table(call, target, [obj])
    if form == _PARTIAL:
        return partial_metadata
    return lambda obj: in_version(target.kind, obj, target.api_version)


def _form(call: Call, *, many: bool = False) -> str:
    for choice in (call.header("Accept") or "*/*").split(","):
        media, *parameters = (part.strip() for part in choice.split(";"))
        settings = dict(p.split("=", 1) for p in parameters if "=" in p)
        form = settings.get("as", "")
        known = not form or (settings.get("g"), settings.get("v")) in _META
        if media in _ACCEPTED and form in _FORMS and known:
            if form.startswith(_PARTIAL) and form.endswith("List") != many:
                what = "is a list" if many else "is not a list"
                raise status.not_acceptable(f"you requested {form}, but the requested object {what}")
            return form
    raise status.not_acceptable()


def _table(call: Call, target: Target, objects: list[Json]) -> Json:
    columns = list(target.version.columns) if target.version.columns else None
    include = call.query.get("includeObject") or "Metadata"
    if include not in ("Metadata", "Object", "None"):
        why = "must be 'Metadata', 'Object', 'None', or empty"
        wrong = cause.invalid("includeObject", include, why)
        raise status.bad_request(f"Unable to convert to Table as requested: {wrong}")
    shown = all_in_version(target.kind, objects, target.api_version)
    return to_table(status.named(target.kind), shown, columns, include, datetime.now(UTC))
