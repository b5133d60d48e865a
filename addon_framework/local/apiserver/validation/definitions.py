"""CustomResourceDefinitions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from addon_framework.api.meta import Json, at
from addon_framework.local.apiserver.schemas import Cause, cause, names, structural_errors
from addon_framework.local.apiserver.schemas.structural import field_at
from addon_framework.local.apiserver.validation.metadata import immutable
from addon_framework.local.apiserver.validation.webhooks import client_config

_VERSION = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
_COLUMN_TYPES = ("integer", "number", "string", "boolean", "date")
_SCALE = (("specReplicasPath", ".spec."), ("statusReplicasPath", ".status."), ("labelSelectorPath", "."))


def _definition(obj: Json, path: str) -> Iterator[Cause]:
    spec = obj.get("spec") or {}
    said, group = spec.get("names") or {}, spec.get("group") or ""
    name = (obj.get("metadata") or {}).get("name")
    if name and name != f"{said.get('plural') or ''}.{group}":
        yield cause.invalid("metadata.name", name, 'must be spec.names.plural+"."+spec.group')
    if group:
        yield from cause.broken("spec.group", group, names.subdomain(group))
        if "." not in group:
            yield cause.invalid("spec.group", group, "should be a domain with at least one dot")
    if spec.get("preserveUnknownFields"):
        why = (
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema"
        )
        yield cause.invalid("spec.preserveUnknownFields", True, f"{why} instead")
    yield from _versions(spec.get("versions") or [])
    yield from _conversion(spec.get("conversion") or {})


def _names(said: Json, path: str) -> Iterator[Cause]:
    for key in ("kind", "listKind"):
        if text := said.get(key):
            whys = names.dns1035(text.lower())
            mixed = (f"may have mixed case, but should otherwise match: {why}" for why in whys)
            yield from cause.broken(path + key, text, mixed)
    if said.get("kind") and said["kind"] == said.get("listKind"):
        yield cause.invalid(f"{path}listKind", said["listKind"], "kind and listKind may not be the same")


def _versions(versions: list[Json]) -> Iterator[Cause]:
    said = [str(each.get("name")) for each in versions]
    schemas: list[Any] = [(each.get("schema") or {}).get("openAPIV3Schema") for each in versions]
    # Versions that share one schema are judged once, under the path of the old top-level field.
    shared = bool(schemas) and all(each == schemas[0] for each in schemas)
    for index, version in enumerate(versions):
        where, name = f"spec.versions[{index}]", version.get("name") or ""
        if not _VERSION.fullmatch(name):
            for at in (f"{where}.name", "spec.version") if index == 0 and name else (f"{where}.name",):
                yield from cause.broken(at, name, names.dns1035(name))
        if schemas[index] is None:
            yield cause.required(f"{where}.schema.openAPIV3Schema", "schemas are required")
        elif not shared:
            yield from structural_errors(schemas[index], path=f"{where}.schema.openAPIV3Schema")
        for field, judge in _JUDGES.items():
            differ = any(each.get(field) != version.get(field) for each in versions)
            if differ or index == 0:
                yield from judge(version.get(field), f"{where if differ else 'spec'}.{field}", schemas[index])
    if shared and schemas[0] is not None:
        yield from structural_errors(schemas[0])
    if len(set(said)) < len(said):
        yield cause.invalid("spec.versions", said, "must contain unique version names")
    if sum(bool(each.get("storage")) for each in versions) != 1:
        why = "must have exactly one version marked as storage version"
        yield cause.invalid("spec.versions", said, why)
        yield cause.invalid("status.storedVersions", [], "must have the storage version")


def _columns(columns: Any, path: str, schema: Any) -> Iterator[Cause]:
    for index, column in enumerate(columns or ()):
        where, kind, text = f"{path}[{index}]", column.get("type"), column.get("jsonPath")
        for key, shown in (("name", "name"), ("type", "type"), ("jsonPath", "JSONPath")):
            if not column.get(key):
                yield cause.required(f"{where}.{shown}")
        if kind and kind not in _COLUMN_TYPES:
            yield cause.invalid(f"{where}.type", kind, f"must be one of {','.join(_COLUMN_TYPES)}")
        if text and not text.startswith("."):
            yield cause.invalid(f"{where}.JSONPath", text, "is an invalid path: must start with .")


def _subresources(said: Any, path: str, schema: Any) -> Iterator[Cause]:
    scale = (said or {}).get("scale")
    if scale is None:
        return
    for key, root in _SCALE:
        text, where = scale.get(key), f"{path}.scale.{key}"
        if not text and key != "labelSelectorPath":
            yield cause.required(where)
        if text and not text.startswith(root):
            yield cause.invalid(where, text, f"should be a json path under {root.rstrip('.') or '.spec'}")


def _selectable(fields: Any, path: str, schema: Any) -> Iterator[Cause]:
    seen: list[str] = []
    for index, field in enumerate(fields or ()):
        text, where = field.get("jsonPath") or "", f"{path}[{index}].jsonPath"
        if not text:
            yield cause.required(where)
        elif not text.startswith("."):
            yield cause.invalid(where, text, "is an invalid path: must start with .")
        elif (field_at(schema, text) or {}).get("type") not in ("string", "integer", "boolean"):
            yield cause.invalid(where, text, "is an invalid path: does not refer to a valid field")
        elif text in seen:
            yield cause.duplicate(where, text)
        seen.append(text)


# What versions have in common is judged once, at the place of the old top-level field.
_JUDGES = {
    "additionalPrinterColumns": _columns,
    "subresources": _subresources,
    "selectableFields": _selectable,
}


def _conversion(said: Json) -> Iterator[Cause]:
    strategy, webhook = said.get("strategy"), said.get("webhook") or {}
    if strategy and strategy not in ("None", "Webhook"):
        yield cause.not_supported("spec.conversion.strategy", strategy, ["None", "Webhook"])
    if strategy == "Webhook":
        where = "spec.conversion.webhookClientConfig"
        if not webhook.get("clientConfig"):
            yield cause.required(where, "required when strategy is set to Webhook")
        else:
            yield from client_config(webhook["clientConfig"], where)
        if not webhook.get("conversionReviewVersions"):
            yield cause.required("spec.conversion.conversionReviewVersions")


def _definition_changed(obj: Json, old: Json) -> Iterator[Cause]:
    yield from immutable(obj, old, "spec.group")
    past = old.get("status") or {}
    conditions = past.get("conditions") or ()
    if any(each.get("type") == "Established" and each.get("status") == "True" for each in conditions):
        for path in ("spec.scope", "spec.names.kind", "spec.names.plural"):
            yield from immutable(obj, old, path)
    kept = {each.get("name") for each in (obj.get("spec") or {}).get("versions") or ()}
    for index, name in enumerate(past.get("storedVersions") or ()):
        if name not in kept:
            why = "missing from spec.versions, where stored versions remain until status has them no more"
            yield cause.invalid(f"status.storedVersions[{index}]", name, why)


def scale_errors(obj: Json, scale: Json) -> Iterator[Cause]:
    """Of a custom resource: replicas are counted, whatever its schema says of them."""
    for path in filter(None, (scale.get("specReplicasPath"), scale.get("statusReplicasPath"))):
        value = at(obj, path)
        if value is not None and (type(value) is not int or not 0 <= value < 2**31):
            yield cause.invalid(path, value, "should be a non-negative integer")


_GROUP = "apiextensions.v1"
CHECKS: dict[str, Any] = {
    f"{_GROUP}.CustomResourceDefinition": _definition,
    f"{_GROUP}.CustomResourceDefinitionNames": _names,
}
CHANGES: dict[str, Any] = {f"{_GROUP}.CustomResourceDefinition": _definition_changed}
