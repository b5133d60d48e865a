"""What a request carries: a body in one of four forms, and the options of a write."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import orjson
import yaml
from aiohttp import web

from addon_framework.api.meta import Json
from addon_framework.local.apiserver import protobuf, status
from addon_framework.local.apiserver.call import Call, Target
from addon_framework.local.apiserver.patches import APPLY, JSON_PATCH, MERGE, STRATEGIC
from addon_framework.local.apiserver.schemas import Cause, builtin_schema, cause, decode_error
from addon_framework.local.apiserver.status import StatusError
from addon_framework.local.apiserver.write import Write

MAX_BODY = 3 * 1024 * 1024
_TYPES = ("application/json", "application/yaml", protobuf.MEDIA_TYPE)
_VALIDATIONS = ("Ignore", "Strict", "Warn")
_PATCH_TYPES = (JSON_PATCH, MERGE, STRATEGIC, APPLY)
_OPTIONS = {"create": "CreateOptions", "update": "UpdateOptions", "patch": "PatchOptions"}


async def read_body(call: Call) -> bytes:
    """The bytes; 413 when they are too many."""
    try:
        return await call.request.read()
    except web.HTTPRequestEntityTooLarge:
        raise StatusError(
            413, "RequestEntityTooLarge", f"Request entity too large: limit is {MAX_BODY}"
        ) from None


def check_media_type(verb: str, target: Target, media: str) -> None:
    """415 for forms that this endpoint does not read."""
    accepted: Sequence[str] = _PATCH_TYPES if verb == "patch" else _TYPES
    if target.kind.custom:
        accepted = [each for each in accepted if each not in (STRATEGIC, protobuf.MEDIA_TYPE)]
    if media not in accepted:
        raise status.unsupported_media_type(media, accepted)


def decode(body: bytes, media: str) -> Any:
    """The value that the bytes mean; 400 when they mean none."""
    try:
        if media == protobuf.MEDIA_TYPE:
            return protobuf.decode(body)
        # JSON is YAML, the common case, and much faster to read as what it is.
        if media.endswith("yaml") and body.lstrip()[:1] != b"{":
            return yaml.load(body, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        return orjson.loads(body)
    except protobuf.UnknownKindError as error:
        raise StatusError(415, "UnsupportedMediaType", str(error)) from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise status.bad_request(f"the body cannot be read as {media}: {error}") from None


def decode_object(body: bytes, media: str) -> Json:
    """The same, and it must be an object."""
    sent = decode(body, media)
    if not isinstance(sent, dict):
        raise status.bad_request("the body must be an object")
    return sent


def check_decoded(sent: Any, group: str, version: str, kind: str) -> None:
    """400 for what could not even be read as that kind."""
    schema = builtin_schema(group, version, kind)
    if not isinstance(sent, dict):
        raise status.bad_request("the body must be an object")
    if schema is not None and (error := decode_error(sent, schema)):
        raise status.bad_request(f'{kind} in version "{version}" cannot be handled as a {kind}: {error}')


class _Twice(dict[str, Any]):
    """A JSON object in which names are given more than once."""

    names: tuple[str, ...] = ()


def duplicate_fields(body: bytes) -> list[str]:
    """Paths of the fields that a JSON body gives twice, of which readers silently take one."""

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(found) == len(result := dict(found)):
            return result
        names = [name for name, _ in found]
        twice = _Twice(result)
        twice.names = tuple(dict.fromkeys(name for name in names if names.count(name) > 1))
        return twice

    def walk(value: Any, path: str) -> Iterator[str]:
        if isinstance(value, dict):
            for name in getattr(value, "names", ()):
                yield f"{path}.{name}".lstrip(".")
            for name, below in value.items():
                yield from walk(below, f"{path}.{name}")
        elif isinstance(value, list):
            for index, below in enumerate(value):
                yield from walk(below, f"{path}[{index}]")

    return list(walk(json.loads(body, object_pairs_hook=pairs), ""))


def write_of(call: Call, target: Target, verb: str, media: str = "") -> Write:
    """The write that the parameters describe; 422 when they make no sense."""
    query, options = call.query, _OPTIONS.get(verb, "DeleteOptions")
    manager = query.get("fieldManager") or (call.header("User-Agent") or "unknown").split("/")[0]
    applies = media == APPLY
    validation = query.get("fieldValidation") or ("Strict" if applies else "Warn")
    causes: list[Cause] = []
    if len(manager) > 128:
        causes.append(cause.too_long("fieldManager", 128))
    if query.get("dryRun", "") not in ("", "All"):
        causes.append(cause.not_supported("dryRun", query["dryRun"], ["All"]))
    if validation not in _VALIDATIONS:
        causes.append(cause.not_supported("fieldValidation", validation, _VALIDATIONS))
    if applies and "fieldManager" not in query:
        causes.append(cause.required("fieldManager", "is required for apply patch"))
    if query.get("force") and not applies:
        causes.append(cause.forbidden("force", "may not be specified for non-apply patch"))
    if causes:
        raise status.invalid_options(options, causes)
    return Write(
        call.user,
        target.kind,
        target.version,
        target.namespace,
        target.name,
        target.subresource,
        manager=manager,
        force=call.flag("force"),
        dry_run=query.get("dryRun") == "All",
        field_validation=validation,
    )


def delete_options(call: Call, body: bytes) -> Json:
    """DeleteOptions, from the body or else from parameters."""
    media = call.media
    if body.strip() and media not in _TYPES:
        raise status.unsupported_media_type(media, _TYPES)
    if body.strip():
        options = decode_object(body, media)
        if options.get("kind", "DeleteOptions") != "DeleteOptions":
            raise status.bad_request(f"a deletion takes DeleteOptions, not {options['kind']}")
    else:  # parameters do not count beside a body
        options = {
            name: _option(name, call.query[name])
            for name in ("propagationPolicy", "gracePeriodSeconds", "orphanDependents", "dryRun")
            if name in call.query
        }
    grace = options.get("gracePeriodSeconds")
    if grace is not None and not isinstance(grace, int):
        raise status.bad_request(f"gracePeriodSeconds: {grace!r} is not an integer")
    if not isinstance(options.get("preconditions") or {}, dict):
        raise status.bad_request("preconditions must be an object")
    return options


def _option(name: str, text: str) -> Any:
    if name == "orphanDependents":
        return text == "true"
    if name == "dryRun":
        return [text]
    if name == "gracePeriodSeconds":
        return int(text) if text.lstrip("-").isdigit() else text
    return text
