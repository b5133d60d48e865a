"""Defaults and validation of the built-in kinds: what their schemas cannot say."""

from __future__ import annotations

from functools import cache

from addon_framework.api.meta import Json
from addon_framework.local.apiserver.data import described
from addon_framework.local.apiserver.schemas import Cause, builtin_schema, names
from addon_framework.local.apiserver.validation import checks
from addon_framework.local.apiserver.validation.defaults import default_builtin
from addon_framework.local.apiserver.validation.definitions import scale_errors
from addon_framework.local.apiserver.validation.limits import judge
from addon_framework.local.apiserver.validation.metadata import NameCheck, immutable, metadata_errors

__all__ = ["default_builtin", "validate_builtin"]

_NAMES: dict[str, NameCheck] = {
    "core.v1.Namespace": names.label,
    "core.v1.Service": names.label,
    "core.v1.Event": names.path_segment,
    "policy.v1.PodDisruptionBudget": names.path_segment,
    "certificates.v1.CertificateSigningRequest": names.path_segment,
    "rbac.v1.Role": names.path_segment,
    "rbac.v1.ClusterRole": names.path_segment,
    "rbac.v1.RoleBinding": names.path_segment,
    "rbac.v1.ClusterRoleBinding": names.path_segment,
}


def validate_builtin(obj: Json, old: Json | None, scale: Json | None = None) -> list[Cause]:
    """Why the server would refuse this object; of a custom one, its metadata and what it is scaled by."""
    group, _, version = str(obj.get("apiVersion", "")).rpartition("/")
    schema = builtin_schema(group, version, str(obj.get("kind", "")))
    name = schema.name if schema is not None else ""
    name_check = _NAMES.get(name, names.subdomain)
    causes = list(metadata_errors(obj, old, name_check, builtin=schema is not None))
    causes += scale_errors(obj, scale or {})
    if schema is not None:
        judge(obj, schema, "", causes)
    if old is None and name in checks.CREATIONS:
        causes += checks.CREATIONS[name](obj, "")
    if old is not None:
        if name in checks.CHANGES:
            causes += checks.CHANGES[name](obj, old)
        for field in _frozen().get(name, "").split():
            causes += immutable(obj, old, field)
    return causes


@cache
def _frozen() -> dict[str, str]:
    fields: dict[str, str] = described(__package__, "frozen.yaml")
    return fields
