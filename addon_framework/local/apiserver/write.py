"""One request to change something."""

from __future__ import annotations

import functools
import uuid
from dataclasses import dataclass, field
from typing import Any

from addon_framework.local.apiserver.authn import User
from addon_framework.local.apiserver.registry import Kind, Version
from addon_framework.local.apiserver.schemas import SchemaNode, builtin_schema
from addon_framework.local.apiserver.store import ObjectKey


@dataclass
class Memory:
    """What stays the same when a write begins again because a webhook had to be asked."""

    now: str = ""
    answers: dict[bytes, Any] = field(default_factory=dict)

    @functools.cached_property
    def uid(self) -> str:
        """Of what is created, if anything is."""
        return str(uuid.uuid4())


@dataclass
class Write:
    """One request to change something, and the warnings it earns."""

    user: User
    kind: Kind
    version: Version
    namespace: str
    name: str = ""
    subresource: str = ""
    manager: str = "unknown"
    force: bool = False
    dry_run: bool = False
    field_validation: str = "Warn"
    patch: Any = None  # what a patch said
    twice: list[str] = field(default_factory=list)  # fields that the body gives more than once
    warnings: list[str] = field(default_factory=list)
    memory: Memory = field(default_factory=Memory)

    @property
    def key(self) -> ObjectKey:
        """Where storage has it."""
        return (self.namespace if self.kind.namespaced else "", self.name)

    @property
    def api_version(self) -> str:
        """As the request spells it."""
        return self.kind.api_version(self.version.name)

    @property
    def schema(self) -> SchemaNode | None:
        """The type of the kind in this version."""
        if self.kind.custom:
            return self.version.schema
        return builtin_schema(self.kind.group, self.version.name, self.kind.kind)

    @property
    def keeps_status(self) -> bool:
        """Whether the main endpoint leaves status alone."""
        return self.kind.has_status and (not self.kind.custom or self.version.status)

    @property
    def counts(self) -> bool:
        """Whether metadata.generation is kept."""
        return self.kind.custom or self.kind.has_generation
