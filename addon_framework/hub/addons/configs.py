"""Which configuration objects an add-on on one cluster has, where they come from, and their hashes. Pure."""

from __future__ import annotations

import hashlib
import json
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


def desired_references(cma: Json, addon: Json, cluster: str, decided: Iterable[Json]) -> list[Reference]:
    """The configurations of one add-on on one cluster, one per kind.

    The ManagedClusterAddOn's own come before those of an install-strategy placement that chose the cluster
    (`decided`: those entries of installStrategy.placements, in order; a later one wins), and these before the
    ClusterManagementAddOn's defaults.
    """
    found: dict[Kind, Reference] = {}
    for supported in (cma.get("spec") or {}).get("supportedConfigs") or []:
        default = supported.get("defaultConfig") or {}
        if default.get("name"):
            kind = Kind(supported.get("group", ""), supported["resource"])
            found[kind] = Reference(kind, default.get("namespace", ""), default["name"])
    for placement in decided:
        found.update(_by_kind(placement.get("configs") or []))
    found.update(_by_kind((addon.get("spec") or {}).get("configs") or []))
    return sorted(found.values())


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
    before = {Kind(c.get("group", ""), c.get("resource", "")): c for c in present}
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
        last = before.get(reference.kind, {}).get("lastAppliedConfig")
        if last:
            entry["lastAppliedConfig"] = last
        result.append(entry)
    return result


def hash_annotation(references: Iterable[Json]) -> dict[str, str]:
    """The content of a work's config-spec-hash annotation for these status.configReferences."""
    result = {}
    for entry in references:
        desired = entry.get("desiredConfig") or {}
        where = f"{desired.get('namespace', '')}/{desired.get('name', '')}"
        result[f"{entry['resource']}.{entry.get('group', '')}/{where}"] = desired.get("specHash", "")
    return result


def _by_kind(configs: Iterable[Json]) -> dict[Kind, Reference]:
    result = {}
    for config in configs:
        kind = Kind(config.get("group", ""), config["resource"])
        result[kind] = Reference(kind, config.get("namespace", ""), config.get("name", ""))
    return result
