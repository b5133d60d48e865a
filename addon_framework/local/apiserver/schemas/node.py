"""The compiled type tree that validation, defaulting, pruning and merging share.

Nodes are compiled once per schema and then only read. A built-in kind and a custom resource give the same
tree, so that everything else needs to know one form of schema.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from re import Pattern
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from addon_framework.local.apiserver.schemas.rules import Rule


class _Missing:
    """Absent, as against null."""

    def __repr__(self) -> str:
        return "MISSING"

    def __bool__(self) -> bool:
        return False


MISSING: Final = _Missing()


@dataclass(slots=True, eq=False)
class SchemaNode:
    """What one place in an object may hold."""

    type: str = ""  # "" is any
    name: str = ""  # of a built-in type, such as core.v1.Pod
    builtin: bool = False
    properties: dict[str, SchemaNode] = field(default_factory=dict)
    additional: SchemaNode | None = None
    open: bool = False  # keys outside `properties` are allowed (a map, or additionalProperties: true)
    items: SchemaNode | None = None
    required: tuple[str, ...] = ()
    nullable: bool = False
    preserve: bool = False
    embedded: bool = False
    int_or_string: bool = False
    quantity: bool = False
    atomic_children: bool = False  # free-form JSON whose values are not looked into (RawExtension)
    list_type: str = ""
    list_map_keys: tuple[str, ...] = ()
    key_defaults: dict[str, Any] = field(default_factory=dict)
    map_atomic: bool = False
    merge_key: str = ""
    patch_strategies: frozenset[str] = frozenset()
    default: Any = MISSING
    rules: tuple[Rule, ...] = ()
    has_rules: bool = False  # here or below
    enum: list[Any] | None = None
    format: str = ""
    pattern: Pattern[str] | None = None
    min_length: int | None = None
    max_length: int | None = None
    minimum: float | None = None
    maximum: float | None = None
    exclusive_minimum: bool = False
    exclusive_maximum: bool = False
    multiple_of: float | None = None
    min_items: int | None = None
    max_items: int | None = None
    unique_items: bool = False
    min_properties: int | None = None
    max_properties: int | None = None
    all_of: tuple[SchemaNode, ...] = ()
    any_of: tuple[SchemaNode, ...] = ()
    one_of: tuple[SchemaNode, ...] = ()
    not_: SchemaNode | None = None
    raw: dict[str, Any] = field(default_factory=dict)

    def child(self, key: str) -> SchemaNode | None:
        """The node of a field or map entry; None where the schema says nothing about it."""
        found = self.properties.get(key)
        return found if found is not None else self.additional

    def __repr__(self) -> str:
        return f"<SchemaNode {self.name or self.type or 'any'}>"
