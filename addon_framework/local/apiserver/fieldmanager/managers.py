"""metadata.managedFields as the sets of fields that each manager owns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from addon_framework.api.meta import Json
from addon_framework.local.apiserver.fieldmanager.fieldset import FieldSet, from_v1, to_v1, union

APPLY, UPDATE = "Apply", "Update"
# Old updaters are merged into one entry, so that the list does not grow with every client ever seen.
_MAX_UPDATERS = 10
_ANCIENT = "ancient-changes"

ManagerKey = tuple[str, str, str, str]  # manager, operation, subresource, apiVersion ("" for appliers)


@dataclass(slots=True)
class Owned:
    """What one manager owns by one operation."""

    api_version: str
    fields: FieldSet
    time: str = ""


@dataclass(slots=True)
class Managers:
    """All owners of an object."""

    owners: dict[ManagerKey, Owned] = field(default_factory=dict)

    @classmethod
    def decode(cls, entries: Any) -> Managers:
        """From metadata.managedFields. Raises ValueError on entries that are none."""
        owners: dict[ManagerKey, Owned] = {}
        for entry in entries or ():
            operation = entry.get("operation", "")
            if operation not in (APPLY, UPDATE):
                raise ValueError(f'invalid operation: {operation!r}, must be "Apply" or "Update"')
            fields = from_v1(entry.get("fieldsV1") or {})
            version = entry.get("apiVersion", "")
            key = manager_key(entry.get("manager", ""), operation, entry.get("subresource", ""), version)
            owners[key] = Owned(version, fields, entry.get("time", ""))
        return cls(owners)

    def encode(self) -> list[Json]:
        """As metadata.managedFields, ordered as the server orders it."""
        entries = []
        for (manager, operation, subresource, _), owned in self.owners.items():
            entry: Json = {
                "manager": manager,
                "operation": operation,
                "apiVersion": owned.api_version,
                "fieldsType": "FieldsV1",
                "fieldsV1": to_v1(owned.fields),
            }
            if owned.time:
                entry["time"] = owned.time
            if subresource:
                entry["subresource"] = subresource
            entries.append(entry)
        entries.sort(
            key=lambda entry: (
                entry["operation"],
                entry.get("time", ""),
                entry["manager"],
                entry["apiVersion"],
                entry.get("subresource", ""),
            )
        )
        return entries

    def cap(self) -> None:
        """Keep at most ten updaters; the oldest become one."""
        updaters = [(key, owned) for key, owned in self.owners.items() if key[1] == UPDATE]
        if len(updaters) <= _MAX_UPDATERS:
            return
        updaters.sort(key=lambda each: (each[1].time, each[0]))
        excess = updaters[: len(updaters) - _MAX_UPDATERS + 1]
        by_version: dict[str, Owned] = {}
        for key, owned in excess:
            del self.owners[key]
            merged = by_version.get(owned.api_version)
            by_version[owned.api_version] = (
                owned
                if merged is None
                else Owned(owned.api_version, union(merged.fields, owned.fields), owned.time)
            )
        for version, owned in by_version.items():
            key = manager_key(_ANCIENT, UPDATE, "", version)
            before = self.owners.get(key)
            if before is not None:
                owned = Owned(version, union(before.fields, owned.fields), owned.time)
            self.owners[key] = owned


def manager_key(manager: str, operation: str, subresource: str, api_version: str) -> ManagerKey:
    """What tells entries apart. An applier stays the same when it moves to another version."""
    return manager or "unknown", operation, subresource, "" if operation == APPLY else api_version
