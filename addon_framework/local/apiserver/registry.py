"""The kinds a server has: the built-in ones and those that CustomResourceDefinitions add."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from addon_framework.api.meta import Json
from addon_framework.local.apiserver.data import described
from addon_framework.local.apiserver.schemas import SchemaNode

if TYPE_CHECKING:
    from addon_framework.local.apiserver.conversion import BuiltIn, Conversion

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
_WRITTEN = ("get", "patch", "update")
SUBRESOURCE_VERBS: dict[str, tuple[str, ...]] = {
    "status": _WRITTEN,
    "scale": _WRITTEN,
    "approval": _WRITTEN,
    "ephemeralcontainers": _WRITTEN,
    "finalize": ("update",),
    "log": ("get",),
    "exec": ("create", "get"),
    "attach": ("create", "get"),
    "portforward": ("create", "get"),
    "token": ("create",),
    "eviction": ("create",),
    "binding": ("create",),
    "proxy": ("create", "delete", "get", "patch", "update"),
}
# Those that have a kind of their own: its group, version and name.
SUBRESOURCE_KINDS: dict[str, tuple[str, str, str]] = {
    "scale": ("autoscaling", "v1", "Scale"),
    "token": ("authentication.k8s.io", "v1", "TokenRequest"),
    "eviction": ("policy", "v1", "Eviction"),
    "binding": ("", "v1", "Binding"),
    "exec": ("", "v1", "PodExecOptions"),
    "attach": ("", "v1", "PodAttachOptions"),
    "portforward": ("", "v1", "PodPortForwardOptions"),
}


@dataclass(frozen=True)
class Version:
    """One served version of a kind; `schema` is None until it is looked up for built-in kinds."""

    name: str
    served: bool = True
    schema: SchemaNode | None = None
    openapi: Json | None = None
    columns: tuple[Json, ...] | None = None
    selectable: tuple[str, ...] = ()
    scale: Json | None = None
    status: bool = True


@dataclass(frozen=True)
class Kind:
    """A resource as discovery and storage know it.

    `storage` is the version objects are kept in; `stored_as` is another group's kind that they are kept as.
    """

    group: str
    plural: str
    kind: str
    versions: tuple[Version, ...]
    storage: str
    namespaced: bool = True
    singular: str = ""
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ALL_VERBS
    custom: bool = False
    list_kind: str = ""
    has_generation: bool = True  # whether spec changes count in metadata.generation
    crd_uid: str = ""
    stored_as: str = ""
    unconditional: bool = True  # whether an update without resourceVersion is taken
    created_by_update: bool = False  # whether PUT makes what is not there
    conversion: Conversion | BuiltIn | None = None  # by webhook, of a custom kind

    @functools.cached_property
    def key(self) -> str:
        """How storage names the resource."""
        return self.stored_as or (f"{self.plural}.{self.group}" if self.group else self.plural)

    @property
    def storage_api_version(self) -> str:
        """What stored objects say of themselves."""
        return self.storage if self.stored_as else self.api_version(self.storage)

    @property
    def storage_version(self) -> Version:
        """The version objects are kept in."""
        return next(version for version in self.versions if version.name == self.storage)

    def version(self, name: str) -> Version | None:
        """A served version."""
        return next((v for v in self.versions if v.name == name and v.served), None)

    def api_version(self, version: str) -> str:
        """As objects spell it."""
        return f"{self.group}/{version}" if self.group else version

    def subresources_of(self, version: Version) -> list[str]:
        """What a version offers; of a custom kind each says for itself."""
        if not self.custom:
            return list(self.subresources)
        offered = {"status": version.status, "scale": version.scale is not None}
        return [name for name in self.subresources if offered[name]]

    @property
    def has_status(self) -> bool:
        """Whether /status is a subresource, so that the main endpoint ignores status."""
        return "status" in self.subresources


def _builtin() -> Iterator[Kind]:
    for group_version, kinds in described(__package__, "kinds.yaml").items():
        group, _, version = group_version.rpartition("/")
        for plural, said in kinds.items():
            yield Kind(
                group=group,
                plural=plural,
                kind=said["kind"],
                versions=(Version(version),),
                storage=version,
                namespaced=not said.get("cluster"),
                singular=said["kind"].lower(),
                short_names=tuple(said.get("short", "").split()),
                categories=tuple(said.get("categories", "").split()),
                subresources=tuple(said.get("sub", "").split()),
                verbs=tuple(said["verbs"].split()) if "verbs" in said else ALL_VERBS,
                list_kind=f"{said['kind']}List",
                has_generation=said.get("generation", False),
                unconditional=said.get("unconditional", True),
                created_by_update=said.get("put", False),
                stored_as=said.get("stored_as", ""),
            )


@dataclass
class Registry:
    """Kinds by group and plural; CRDs come and go."""

    kinds: dict[tuple[str, str], Kind] = field(default_factory=dict)

    @classmethod
    def builtin(cls) -> Registry:
        """What a server has before any CRD."""
        return cls({(kind.group, kind.plural): kind for kind in _builtin()})

    def __iter__(self) -> Iterator[Kind]:
        return iter(list(self.kinds.values()))

    def find(self, group: str, version: str, plural: str) -> tuple[Kind, Version] | None:
        """A kind that serves `version`."""
        kind = self.kinds.get((group, plural))
        found = kind.version(version) if kind else None
        return (kind, found) if kind and found else None

    def stored(self, key: str) -> Kind | None:
        """A kind by how storage names it."""
        plural, _, group = key.partition(".")
        return self.kinds.get((group, plural))

    def by_kind(self, group: str, name: str) -> Kind | None:
        """A kind by its name in objects."""
        return next((k for k in self.kinds.values() if k.group == group and k.kind == name), None)

    def groups(self) -> dict[str, list[str]]:
        """Groups and their versions, preferred first."""
        found: dict[str, list[str]] = {}
        for kind in self.kinds.values():
            versions = found.setdefault(kind.group, [])
            versions += [v.name for v in kind.versions if v.served and v.name not in versions]
        return {group: sorted(versions, key=version_rank) for group, versions in found.items()}


def version_rank(name: str) -> tuple[int, int, int, str]:
    """Sorts v2, v1, v1beta2, v1beta1, v1alpha1 in that order, then anything else.

    https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definition-versioning/#version-priority
    """
    match = re.fullmatch(r"v(\d+)(?:(alpha|beta)(\d+))?", name)
    if match is None:
        return (3, 0, 0, name)
    stage = {None: 0, "beta": 1, "alpha": 2}[match[2]]
    return (stage, -int(match[1]), -int(match[3] or 0), name)
