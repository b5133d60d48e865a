"""Roles and their bindings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from addon_framework.api.meta import Json
from addon_framework.local.apiserver.schemas import Cause, cause, names

_GROUP = "rbac.authorization.k8s.io"


def _rule(rule: Json, path: str) -> Iterator[Cause]:
    if not rule.get("verbs"):
        yield cause.required(f"{path}verbs", "verbs must contain at least one value")
    if rule.get("nonResourceURLs"):
        if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
            why = "rules cannot apply to both regular resources and non-resource URLs"
            yield cause.invalid(f"{path}nonResourceURLs", rule["nonResourceURLs"], why)
        return
    for field, said in (("apiGroups", "api group"), ("resources", "resource")):
        if not rule.get(field):
            yield cause.required(f"{path}{field}", f"resource rules must supply at least one {said}")


def _role(role: Json, path: str) -> Iterator[Cause]:
    for index, rule in enumerate(role.get("rules") or ()):
        if rule.get("nonResourceURLs"):
            why = "namespaced rules cannot apply to non-resource URLs"
            yield cause.invalid(f"rules[{index}].nonResourceURLs", rule["nonResourceURLs"], why)


def _cluster_role(role: Json, path: str) -> Iterator[Cause]:
    aggregation = role.get("aggregationRule")
    if aggregation is not None and not aggregation.get("clusterRoleSelectors"):
        why = "at least one clusterRoleSelector required if aggregationRule is non-nil"
        yield cause.required("aggregationRule.clusterRoleSelectors", why)


def _binding(binding: Json, path: str) -> Iterator[Cause]:
    namespaced = binding.get("kind") == "RoleBinding"
    reference, kinds = (
        binding.get("roleRef") or {},
        ["Role", "ClusterRole"] if namespaced else ["ClusterRole"],
    )
    if reference:
        group, kind, name = (reference.get(each) or "" for each in ("apiGroup", "kind", "name"))
        if group != _GROUP:
            yield cause.not_supported("roleRef.apiGroup", group, [_GROUP])
        if kind not in kinds:
            yield cause.not_supported("roleRef.kind", kind, kinds)
        yield from cause.broken("roleRef.name", name, names.path_segment(name))
    for index, subject in enumerate(binding.get("subjects") or ()):
        yield from _subject(subject, f"subjects[{index}].", namespaced)


def _subject(subject: Json, path: str, namespaced: bool) -> Iterator[Cause]:
    kind, name, group = (subject.get(each) or "" for each in ("kind", "name", "apiGroup"))
    if kind not in ("ServiceAccount", "User", "Group"):
        yield cause.not_supported(f"{path}kind", kind, ["ServiceAccount", "User", "Group"])
        return
    wanted = "" if kind == "ServiceAccount" else _GROUP
    if group != wanted:
        yield cause.not_supported(f"{path}apiGroup", group, [wanted])
    if kind == "ServiceAccount":
        if name:
            yield from cause.broken(f"{path}name", name, names.subdomain(name))
        if not namespaced and not subject.get("namespace"):
            yield cause.required(f"{path}namespace")


def _binding_changed(binding: Json, old: Json) -> Iterator[Cause]:
    if binding.get("roleRef") != old.get("roleRef"):
        yield cause.invalid("roleRef", binding.get("roleRef") or {}, "cannot change roleRef")


CHECKS: dict[str, Any] = {
    "rbac.v1.PolicyRule": _rule,
    "rbac.v1.Role": _role,
    "rbac.v1.ClusterRole": _cluster_role,
    "rbac.v1.RoleBinding": _binding,
    "rbac.v1.ClusterRoleBinding": _binding,
}
CHANGES: dict[str, Any] = {
    "rbac.v1.RoleBinding": _binding_changed,
    "rbac.v1.ClusterRoleBinding": _binding_changed,
}
