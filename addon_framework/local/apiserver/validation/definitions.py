"""CustomResourceDefinitions."""

from __future__ import annotations

import re
from typing import Any

from addon_framework.api.meta import Json
from addon_framework.local.apiserver.schemas import Cause, cause, names, structural_errors
from addon_framework.local.apiserver.validation.metadata import immutable
from addon_framework.local.apiserver.validation.webhooks import validate_client_config

_VERSION = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_SCOPES = ("Cluster", "Namespaced")


def validate_definition(obj: Json, old: Json | None) -> list[Cause]:
    """apiextensions.k8s.io/v1 CustomResourceDefinition."""
    causes: list[Cause] = []
    spec = obj.get("spec") or {}
    said = spec.get("names") or {}
    group, plural = spec.get("group") or "", said.get("plural") or ""
    name = (obj.get("metadata") or {}).get("name")
    if name and name != f"{plural}.{group}":
        causes.append(cause.invalid("metadata.name", name, 'must be spec.names.plural+"."+spec.group'))
    if group:
        causes += [cause.invalid("spec.group", group, why) for why in names.subdomain(group)]
        if "." not in group:
            causes.append(cause.invalid("spec.group", group, "should be a domain with at least one dot"))
    if spec.get("scope") and spec["scope"] not in _SCOPES:
        causes.append(cause.not_supported("spec.scope", spec["scope"], _SCOPES))
    _names(said, causes)
    if spec.get("preserveUnknownFields"):
        causes.append(
            cause.invalid(
                "spec.preserveUnknownFields",
                True,
                "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in "
                "spec.versions[*].schema instead",
            )
        )
    _versions(spec.get("versions") or [], causes)
    _conversion(spec.get("conversion") or {}, causes)
    if old is not None:
        _unchanged(spec, old, causes)
    return causes


def _names(said: Json, causes: list[Cause]) -> None:
    for key in ("plural", "singular"):
        if said.get(key):
            causes += [cause.invalid(f"spec.names.{key}", said[key], why) for why in names.dns1035(said[key])]
    for key in ("kind", "listKind"):
        if said.get(key):
            causes += [
                cause.invalid(
                    f"spec.names.{key}", said[key], f"may have mixed case, but should otherwise match: {why}"
                )
                for why in names.dns1035(said[key].lower())
            ]
    for key in ("shortNames", "categories"):
        for index, each in enumerate(said.get(key) or ()):
            causes += [cause.invalid(f"spec.names.{key}[{index}]", each, why) for why in names.dns1035(each)]
    if said.get("kind") and said.get("kind") == said.get("listKind"):
        causes.append(
            cause.invalid("spec.names.listKind", said["listKind"], "kind and listKind may not be the same")
        )


def _versions(versions: list[Json], causes: list[Cause]) -> None:
    stored = 0
    schemas: list[Any] = [(each.get("schema") or {}).get("openAPIV3Schema") for each in versions]
    # Versions that share one schema are judged once, under the path of the old top-level field.
    shared = bool(schemas) and all(each == schemas[0] for each in schemas)
    for index, version in enumerate(versions):
        where = f"spec.versions[{index}]"
        name = version.get("name") or ""
        if not _VERSION.fullmatch(name) or len(name) > 63:
            causes += [cause.invalid(f"{where}.name", name, why) for why in names.dns1035(name)]
        stored += bool(version.get("storage"))
        if schemas[index] is None:
            causes.append(cause.required(f"{where}.schema.openAPIV3Schema", "schemas are required"))
        elif not shared:
            causes += structural_errors(schemas[index], path=f"{where}.schema.openAPIV3Schema")
        for field, judge in (("additionalPrinterColumns", _columns), ("subresources", _subresources)):
            said = version.get(field)
            if any(each.get(field) != said for each in versions):
                judge(said, f"{where}.{field}", causes)
            elif index == 0:
                judge(said, f"spec.{field}", causes)
    if shared and schemas[0] is not None:
        causes += structural_errors(schemas[0])
    said = [str(each.get("name")) for each in versions]
    if len(set(said)) < len(said):
        causes.append(cause.invalid("spec.versions", said, "must contain unique version names"))
    if stored != 1:
        causes.append(
            cause.invalid(
                "spec.versions",
                [each.get("name") for each in versions],
                "must have exactly one version marked as storage version",
            )
        )
        causes.append(cause.invalid("status.storedVersions", [], "must have the storage version"))


def _columns(columns: Any, path: str, causes: list[Cause]) -> None:
    allowed = ("integer", "number", "string", "boolean", "date")
    for index, column in enumerate(columns or ()):
        kind = column.get("type")
        for key, shown in (("name", "name"), ("type", "type"), ("jsonPath", "JSONPath")):
            if not column.get(key):
                causes.append(cause.required(f"{path}[{index}].{shown}"))
        if kind and kind not in allowed:
            causes.append(cause.invalid(f"{path}[{index}].type", kind, f"must be one of {','.join(allowed)}"))
        text = column.get("jsonPath")
        if text and not text.startswith("."):
            causes.append(
                cause.invalid(f"{path}[{index}].JSONPath", text, "is an invalid path: must start with .")
            )


def _subresources(said: Any, path: str, causes: list[Cause]) -> None:
    scale = (said or {}).get("scale")
    if scale is None:
        return
    for key, root in (
        ("specReplicasPath", ".spec."),
        ("statusReplicasPath", ".status."),
        ("labelSelectorPath", "."),
    ):
        text = scale.get(key)
        if not text and key != "labelSelectorPath":
            causes.append(cause.required(f"{path}.scale.{key}"))
        if text and not text.startswith(root):
            causes.append(
                cause.invalid(
                    f"{path}.scale.{key}", text, f"should be a json path under {root.rstrip('.') or '.spec'}"
                )
            )


def _conversion(said: Json, causes: list[Cause]) -> None:
    strategy = said.get("strategy")
    if strategy and strategy not in ("None", "Webhook"):
        causes.append(cause.not_supported("spec.conversion.strategy", strategy, ["None", "Webhook"]))
    webhook = said.get("webhook") or {}
    if strategy != "Webhook":
        return
    if not webhook.get("clientConfig"):
        causes.append(
            cause.required("spec.conversion.webhookClientConfig", "required when strategy is set to Webhook")
        )
    else:
        validate_client_config(webhook["clientConfig"], "spec.conversion.webhookClientConfig", causes)
    if not webhook.get("conversionReviewVersions"):
        causes.append(cause.required("spec.conversion.conversionReviewVersions"))


def _unchanged(spec: Json, old: Json, causes: list[Cause]) -> None:
    before = old.get("spec") or {}
    immutable(spec.get("group"), before.get("group"), "spec.group", causes)
    conditions = (old.get("status") or {}).get("conditions") or ()
    if any(each.get("type") == "Established" and each.get("status") == "True" for each in conditions):
        immutable(spec.get("scope"), before.get("scope"), "spec.scope", causes)
        for key in ("kind", "plural"):
            said, past = (spec.get("names") or {}).get(key), (before.get("names") or {}).get(key)
            immutable(said, past, f"spec.names.{key}", causes)
    stored = (old.get("status") or {}).get("storedVersions") or ()
    kept = {each.get("name") for each in spec.get("versions") or ()}
    for index, name in enumerate(stored):
        if name not in kept:
            causes.append(
                cause.invalid(
                    f"status.storedVersions[{index}]",
                    name,
                    "missing from spec.versions; stored versions must remain in spec.versions until they "
                    "have been removed from status.storedVersions",
                )
            )
