"""Roles and their bindings."""

from __future__ import annotations

from typing import Any

from addon_framework.api.meta import Json
from addon_framework.local.apiserver.schemas import Cause, cause, names

_GROUP = "rbac.authorization.k8s.io"


def _rules(rules: Any, namespaced: bool, causes: list[Cause]) -> None:
    for index, rule in enumerate(rules or ()):
        where = f"rules[{index}]"
        if not rule.get("verbs"):
            causes.append(cause.required(f"{where}.verbs", "verbs must contain at least one value"))
        if rule.get("nonResourceURLs"):
            if namespaced:
                causes.append(
                    cause.invalid(
                        f"{where}.nonResourceURLs",
                        rule["nonResourceURLs"],
                        "namespaced rules cannot apply to non-resource URLs",
                    )
                )
            if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
                causes.append(
                    cause.invalid(
                        f"{where}.nonResourceURLs",
                        rule["nonResourceURLs"],
                        "rules cannot apply to both regular resources and non-resource URLs",
                    )
                )
            continue
        if not rule.get("apiGroups"):
            causes.append(
                cause.required(f"{where}.apiGroups", "resource rules must supply at least one api group")
            )
        if not rule.get("resources"):
            causes.append(
                cause.required(f"{where}.resources", "resource rules must supply at least one resource")
            )


def validate_role(obj: Json, old: Json | None) -> list[Cause]:
    """Role."""
    causes: list[Cause] = []
    _rules(obj.get("rules"), True, causes)
    return causes


def validate_cluster_role(obj: Json, old: Json | None) -> list[Cause]:
    """ClusterRole."""
    causes: list[Cause] = []
    _rules(obj.get("rules"), False, causes)
    aggregation = obj.get("aggregationRule")
    if aggregation is not None and not aggregation.get("clusterRoleSelectors"):
        causes.append(
            cause.required(
                "aggregationRule.clusterRoleSelectors",
                "at least one clusterRoleSelector required if aggregationRule is non-nil",
            )
        )
    return causes


def _binding(obj: Json, old: Json | None, kinds: tuple[str, ...], namespaced: bool) -> list[Cause]:
    causes: list[Cause] = []
    reference = obj.get("roleRef") or {}
    if reference:
        if reference.get("apiGroup") != _GROUP:
            causes.append(cause.not_supported("roleRef.apiGroup", reference.get("apiGroup") or "", [_GROUP]))
        if reference.get("kind") not in kinds:
            causes.append(cause.not_supported("roleRef.kind", reference.get("kind") or "", kinds))
        if reference.get("name"):
            causes += [
                cause.invalid("roleRef.name", reference["name"], why)
                for why in names.path_segment(reference["name"])
            ]
    for index, subject in enumerate(obj.get("subjects") or ()):
        _subject(subject, f"subjects[{index}]", namespaced, causes)
    if old is not None and reference != (old.get("roleRef") or {}):
        causes.append(cause.invalid("roleRef", reference, "cannot change roleRef"))
    return causes


def _subject(subject: Json, where: str, namespaced: bool, causes: list[Cause]) -> None:
    kind, name, group = subject.get("kind"), subject.get("name"), subject.get("apiGroup") or ""
    if kind == "ServiceAccount":
        if name:
            causes += [cause.invalid(f"{where}.name", name, why) for why in names.subdomain(name)]
        if group:
            causes.append(cause.not_supported(f"{where}.apiGroup", group, [""]))
        if not namespaced and not subject.get("namespace"):
            causes.append(cause.required(f"{where}.namespace"))
    elif kind in ("User", "Group"):
        if group != _GROUP:
            causes.append(cause.not_supported(f"{where}.apiGroup", group, [_GROUP]))
    else:
        allowed = ["ServiceAccount", "User", "Group"]
        causes.append(cause.not_supported(f"{where}.kind", kind or "", allowed))


def validate_role_binding(obj: Json, old: Json | None) -> list[Cause]:
    """RoleBinding."""
    return _binding(obj, old, ("Role", "ClusterRole"), True)


def validate_cluster_role_binding(obj: Json, old: Json | None) -> list[Cause]:
    """ClusterRoleBinding."""
    return _binding(obj, old, ("ClusterRole",), False)
