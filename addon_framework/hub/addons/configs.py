"""Which configuration objects an add-on on one cluster has, where they come from, and their hashes. Pure."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from addon_framework.api.meta import Json


class Kind(NamedTuple):
    """The type of a configuration: API group and plural name."""

    group: str
    resource: str


class Reference(NamedTuple):
    """One configuration object."""

    kind: Kind
    namespace: str
    name: str

    def __str__(self) -> str:
        where = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.kind.resource}.{self.kind.group} {where}"


def desired_references(cma: Json, addon: Json, decided: Iterable[Json]) -> list[Reference]:
    """The configurations of one add-on on one cluster, by kind; of one kind in their order.

    The ManagedClusterAddOn's own come before those of an install-strategy placement that chose the cluster
    (`decided`: those entries of installStrategy.placements, in order; a later one wins), and these before the
    ClusterManagementAddOn's defaults. Each replaces all that the others say of a kind.
    """
    found: dict[Kind, list[Reference]] = {}
    for supported in (cma.get("spec") or {}).get("supportedConfigs") or []:
        default = supported.get("defaultConfig") or {}
        if default.get("name"):
            found |= _by_kind([{**supported, **default}])
    for placement in decided:
        found |= _by_kind(placement.get("configs") or [])
    found |= _by_kind((addon.get("spec") or {}).get("configs") or [])
    return [reference for _, references in sorted(found.items()) for reference in references]


def unsupported(cma: Json, addon: Json) -> list[Kind]:
    """Kinds in the add-on's own spec.configs that its ClusterManagementAddOn does not list."""
    spec = cma.get("spec") or {}
    known = {Kind(s.get("group", ""), s["resource"]) for s in spec.get("supportedConfigs") or []}
    return sorted(_by_kind((addon.get("spec") or {}).get("configs") or []).keys() - known)


def spec_hash(config: Json) -> str:
    """OCM's hash: SHA-256 over the JSON of all fields but apiVersion, kind, metadata and status."""
    skipped = ("apiVersion", "kind", "metadata", "status")
    content = {key: value for key, value in config.items() if key not in skipped}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    for char in "<>&\u2028\u2029":  # as Go's encoder escapes them
        text = text.replace(char, f"\\u{ord(char):04x}")
    return hashlib.sha256(text.encode()).hexdigest()


def config_references(
    wanted: Iterable[Reference],
    hashes: Mapping[Reference, str],
    present: list[Json],
    generations: Mapping[Reference, int],
) -> list[Json]:
    """status.configReferences for what is wanted, keeping what was last applied of the same kind."""
    wanted = list(wanted)
    kinds = Counter(reference.kind for reference in wanted)
    before: dict[Reference | Kind, Json] = {}
    for config in present:
        kind = Kind(config.get("group", ""), config.get("resource", ""))
        before[kind] = before[_desired(config)] = config
    result = []
    for reference in wanted:
        where: Json = {"name": reference.name}
        if reference.namespace:
            where["namespace"] = reference.namespace
        entry: Json = {
            "group": reference.kind.group,
            "resource": reference.kind.resource,
            **where,
            "desiredConfig": {**where, "specHash": hashes.get(reference, "")},
            "lastObservedGeneration": generations.get(reference, 0),
        }
        # Of a kind with one object, what was applied before is what this one follows.
        old = before.get(reference) or (before.get(reference.kind) if kinds[reference.kind] == 1 else None)
        if old and old.get("lastAppliedConfig"):
            entry["lastAppliedConfig"] = old["lastAppliedConfig"]
        result.append(entry)
    return result


def _desired(entry: Json) -> Reference:
    where = entry.get("desiredConfig") or entry
    kind = Kind(entry.get("group", ""), entry.get("resource", ""))
    return Reference(kind, where.get("namespace", ""), where.get("name", ""))


def hash_annotation(references: Iterable[Json]) -> dict[str, str]:
    """The content of a work's config-spec-hash annotation for these status.configReferences."""
    result = {}
    for entry in references:
        desired = entry.get("desiredConfig") or {}
        where = f"{desired.get('namespace', '')}/{desired.get('name', '')}"
        result[f"{entry['resource']}.{entry.get('group', '')}/{where}"] = desired.get("specHash", "")
    return result


def _by_kind(configs: Iterable[Json]) -> dict[Kind, list[Reference]]:
    """None twice."""
    result: dict[Kind, list[Reference]] = {}
    for config in configs:
        kind = Kind(config.get("group", ""), config["resource"])
        reference = Reference(kind, config.get("namespace", ""), config.get("name", ""))
        if reference not in result.setdefault(kind, []):
            result[kind].append(reference)
    return result
