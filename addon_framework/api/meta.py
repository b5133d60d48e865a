"""What every Kubernetes object has: metadata, and how a resource is named and addressed.

https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/object-meta/
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

Json = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True)
class Resource:
    """One resource of an API server. `group` is "" for the core group; `plural` is its name in paths."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """As objects spell it: "v1", "apps/v1"."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(
        self, namespace: str | None = None, name: str | None = None, subresource: str | None = None
    ) -> str:
        """The URL path of the collection, an object, or its subresource; no namespace means all of them."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        scope = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        tail = "".join(f"/{part}" for part in (name, subresource) if part)
        return f"{root}{scope}/{self.plural}{tail}"


class Struct(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """The base of typed objects: snake_case attributes, camelCase on the wire, unknown fields ignored."""


class OwnerReference(Struct):
    """An owner in the same namespace, or a cluster-scoped one."""

    api_version: str = ""
    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool | None = None
    block_owner_deletion: bool | None = None


class ObjectMeta(Struct):
    """`metadata`; managedFields is left out on purpose."""

    name: str = ""
    generate_name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: str = ""
    deletion_timestamp: str = ""
    deletion_grace_period_seconds: int | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    finalizers: list[str] = []
    owner_references: list[OwnerReference] = []


class Condition(Struct):
    """`metav1.Condition`: lastTransitionTime moves only when status does."""

    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""
    last_transition_time: str = ""
    observed_generation: int = 0


class LabelSelectorRequirement(Struct):
    """`operator` is In, NotIn, Exists or DoesNotExist."""

    key: str = ""
    operator: str = ""
    values: list[str] = []


class LabelSelector(Struct):
    """Both parts must match; an empty selector matches everything."""

    match_labels: dict[str, str] = {}
    match_expressions: list[LabelSelectorRequirement] = []


def from_dict(kind: type[T], obj: Any) -> T:
    """A typed object from a plain one. Raises msgspec.ValidationError naming the path."""
    return msgspec.convert(obj, kind, strict=False)


def to_dict(obj: Any) -> Json:
    """A plain object from a typed one, without the fields that have their default."""
    built = msgspec.to_builtins(obj)
    assert isinstance(built, dict)
    return built
