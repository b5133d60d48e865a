"""What a request carries: a body in one of four forms, and the options of a write."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import orjson
import yaml
from aiohttp import web

from addon_framework.api.meta import Json
from addon_framework.local.apiserver import deletion, protobuf, status
from addon_framework.local.apiserver.call import Call, Target
from addon_framework.local.apiserver.patches import APPLY, JSON_PATCH, MERGE, STRATEGIC
from addon_framework.local.apiserver.schemas import Cause, SchemaNode, builtin_type, cause, decode_error
from addon_framework.local.apiserver.status import StatusError
from addon_framework.local.apiserver.write import Write

MAX_BODY = 3 * 1024 * 1024
_TYPES = ("application/json", "application/yaml", protobuf.MEDIA_TYPE)
_VALIDATIONS = ("Ignore", "Strict", "Warn")
_PATCH_TYPES = (JSON_PATCH, MERGE, STRATEGIC, APPLY)
_OPTIONS = {"create": "CreateOptions", "update": "UpdateOptions", "patch": "PatchOptions"}


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML as the server's library reads it: a bare y or n is a boolean, too."""

    bool_values: ClassVar = {**yaml.SafeLoader.bool_values, "y": True, "n": False}


_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("[yYnN]$"), list("yYnN"))


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
            return yaml.load(body, Loader=_Loader)
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


def check_decoded(sent: Any, schema: SchemaNode, kind: str = "", version: str = "") -> None:
    """400 for what could not even be read as that type."""
    if not isinstance(sent, dict):
        raise status.bad_request("the body must be an object")
    if error := decode_error(sent, schema):
        named = f'{kind} in version "{version}" cannot be handled as a {kind}: ' if kind else ""
        raise status.bad_request(f"{named}{error}")


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

    try:
        return list(walk(json.loads(body, object_pairs_hook=pairs), ""))
    except (ValueError, RecursionError):
        return []  # whoever decodes it says so


def write_of(call: Call, target: Target, verb: str, media: str = "") -> Write:
    """The write that the parameters describe; 422 when they make no sense."""
    query, options = call.query, _OPTIONS.get(verb, "DeleteOptions")
    manager = query.get("fieldManager") or (call.header("User-Agent") or "unknown").split("/")[0]
    applies = media == APPLY
    validation = query.get("fieldValidation") or ("Strict" if applies else "Warn")
    causes: list[Cause] = []
    if len(manager) > 128:
        causes.append(cause.too_long("fieldManager", 128))
    elif bad := next((index for index, each in enumerate(manager) if not each.isprintable()), -1) + 1:
        why = f"invalid character U+{ord(manager[bad - 1]):04X} (at position {bad - 1})"
        causes.append(cause.invalid("fieldManager", manager, why))
    dry_run = call.request.query.getall("dryRun", [])
    if set(dry_run) - {"All"}:
        causes.append(cause.not_supported("dryRun", dry_run, ["All"]))
    if validation not in _VALIDATIONS:
        causes.append(cause.not_supported("fieldValidation", validation, _VALIDATIONS))
    if applies and not query.get("fieldManager"):
        causes.append(cause.required("fieldManager", "is required for apply patch"))
    if query.get("force") and verb == "patch" and not applies:
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
        dry_run=bool(dry_run),
        field_validation=validation,
        warnings=call.warnings,
    )


def delete_options(call: Call, body: bytes) -> Json:
    """DeleteOptions, from the body or else from parameters."""
    media = call.media
    if body and media not in _TYPES:
        raise status.unsupported_media_type(media, _TYPES)
    if body:
        options: Json = decode(body, media)
        if options is None:
            return {}
        check_decoded(options, builtin_type("meta.v1.DeleteOptions"))
        if options.get("kind", "DeleteOptions") != "DeleteOptions":
            raise status.bad_request(f"a deletion takes DeleteOptions, not {options['kind']}")
    else:  # parameters do not count beside a body
        options = {
            name: _option(name, call.query[name])
            for name in ("propagationPolicy", "gracePeriodSeconds", "orphanDependents")
            if name in call.query
        }
        options["dryRun"] = call.request.query.getall("dryRun", [])
        if not isinstance(grace := options.get("gracePeriodSeconds", 0), int):
            raise status.bad_request(f"gracePeriodSeconds: {grace!r} is not an integer")
    deletion.check_options(options)
    return options


def _option(name: str, text: str) -> Any:
    if name == "orphanDependents":
        return text == "true"
    if name == "gracePeriodSeconds":
        return int(text) if text.lstrip("-").isdigit() else text
    return text
