"""The compiled type tree that validation, defaulting, pruning and merging share.

Nodes are compiled once per schema and then only read. A built-in kind and a custom resource give the same
tree, so that everything else needs to know one form of schema.
"""

from __future__ import annotations

from re import Pattern
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from addon_framework.local.apiserver.schemas.rules import Rule
    from addon_framework.local.apiserver.schemas.typechecks import Limit


class _Missing:
    """Absent, as against null."""

    def __repr__(self) -> str:
        return "MISSING"

    def __bool__(self) -> bool:
        return False


MISSING: Final = _Missing()


class SchemaNode:
    """What one place in an object may hold."""

    __slots__ = (
        "additional",
        "all_of",
        "any_of",
        "atomic_children",
        "builtin",
        "default",
        "embedded",
        "enum",
        "exclusive_maximum",
        "exclusive_minimum",
        "format",
        "has_defaults",
        "has_rules",
        "int_or_string",
        "items",
        "judged",
        "key_defaults",
        "limits",
        "list_map_keys",
        "list_type",
        "map_atomic",
        "max_items",
        "max_length",
        "max_properties",
        "maximum",
        "merge_key",
        "min_items",
        "min_length",
        "min_properties",
        "minimum",
        "multiple_of",
        "name",
        "not_",
        "nullable",
        "one_of",
        "open",
        "patch_strategies",
        "pattern",
        "preserve",
        "properties",
        "quantity",
        "raw",
        "required",
        "rules",
        "type",
        "unique_items",
    )

    def __init__(self, type: str = "") -> None:
        self.type = type  # "" is any
        self.name = ""  # of the definition, for built-in kinds
        self.builtin = False
        self.properties: dict[str, SchemaNode] = {}
        self.additional: SchemaNode | None = None
        self.open = False  # keys outside `properties` are allowed (a map, or additionalProperties: true)
        self.items: SchemaNode | None = None
        self.required: tuple[str, ...] = ()
        self.limits: Sequence[Limit] = ()  # of a built-in type
        self.judged: Collection[
            str
        ] = ()  # required, but their limits say what is wrong when they are not there
        self.nullable = False
        self.preserve = False
        self.embedded = False
        self.int_or_string = False
        self.quantity = False
        self.atomic_children = False  # free-form JSON whose values are not looked into (RawExtension)
        self.list_type = ""
        self.list_map_keys: tuple[str, ...] = ()
        self.key_defaults: dict[str, Any] = {}
        self.map_atomic = False
        self.merge_key = ""
        self.patch_strategies: frozenset[str] = frozenset()
        self.default: Any = MISSING
        self.has_defaults = False  # here or below
        self.has_rules = False  # here or below
        self.rules: tuple[Rule, ...] = ()
        self.enum: list[Any] | None = None
        self.format = ""
        self.pattern: Pattern[str] | None = None
        self.min_length: int | None = None
        self.max_length: int | None = None
        self.minimum: float | None = None
        self.maximum: float | None = None
        self.exclusive_minimum = False
        self.exclusive_maximum = False
        self.multiple_of: float | None = None
        self.min_items: int | None = None
        self.max_items: int | None = None
        self.unique_items = False
        self.min_properties: int | None = None
        self.max_properties: int | None = None
        self.all_of: tuple[SchemaNode, ...] = ()
        self.any_of: tuple[SchemaNode, ...] = ()
        self.one_of: tuple[SchemaNode, ...] = ()
        self.not_: SchemaNode | None = None
        self.raw: dict[str, Any] = {}

    def child(self, key: str) -> SchemaNode | None:
        """The node of a field or map entry; None where the schema says nothing about it."""
        found = self.properties.get(key)
        return found if found is not None else self.additional

    def copy(self) -> SchemaNode:
        """A shallow copy, for a reference that says more than what it refers to."""
        twin = SchemaNode.__new__(SchemaNode)
        for slot in self.__slots__:
            setattr(twin, slot, getattr(self, slot))
        return twin

    def __repr__(self) -> str:
        return f"<SchemaNode {self.name or self.type or 'any'}>"
