"""The ManifestWorks of one add-on on one cluster, from its manifests. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import orjson

from addon_framework.api.addon import ManagedClusterAddOn
from addon_framework.api.meta import Json, owner_reference
from addon_framework.api.names import CONFIG_SPEC_HASH_ANNOTATION, DELETION_ORPHAN_ANNOTATION
from addon_framework.api.work import ManifestWork
from addon_framework.hub.addons.packing import identity, pack
from addon_framework.hub.addons.places import BadManifest, Place, home_of, labels_of
from addon_framework.kube import Key, key_of
from addon_framework.kube.apply import covers
from addon_framework.plugins import Health, Probe, Work, Workload

WORKLOADS = {"Deployment": "deployments", "DaemonSet": "daemonsets", "StatefulSet": "statefulsets"}
_PATHS = {  # kinds of which OCM's work agent knows no status by itself
    "StatefulSet": {"ReadyReplicas": ".status.readyReplicas", "Replicas": ".status.replicas"},
}


def check(manifests: Sequence[Json]) -> None:
    """Refuse what OCM's webhook would: objects without kind or name, and duplicates."""
    seen = set()
    for index, obj in enumerate(manifests):
        if not isinstance(obj, Mapping):
            raise BadManifest(f"manifest {index} is a {type(obj).__name__}, not an object")
        for field in ("apiVersion", "kind"):
            if not isinstance(obj.get(field), str) or not obj[field]:
                raise BadManifest(f"manifest {index} has no {field}")
        metadata, what = obj.get("metadata") or {}, f"manifest {index} ({obj['kind']})"
        if not isinstance(metadata, Mapping):
            raise BadManifest(f"{what}: metadata is a {type(metadata).__name__}, not an object")
        if not isinstance(metadata.get("name"), str) or not metadata["name"]:
            raise BadManifest(f"{what} has no metadata.name")
        if not isinstance(metadata.get("namespace") or "", str):
            raise BadManifest(f"{what}: metadata.namespace is not a text")
        for field in ("labels", "annotations"):
            if not isinstance(metadata.get(field) or {}, Mapping):
                raise BadManifest(f"{what}: metadata.{field} is not an object")
        key = identity(dict(obj))
        if key in seen:
            raise BadManifest(f"{obj['kind']} {key[2] + '/' if key[2] else ''}{key[3]} is rendered twice")
        seen.add(key)


def work_name(addon: Key, index: int, *, hosting: bool = False) -> str:
    """OCM's name of the n-th work of an add-on; on a hosting cluster it also tells for which cluster."""
    return f"addon-{addon.name}-deploy-" + (f"hosting-{addon.namespace}-" if hosting else "") + str(index)


def work_index(addon: Key, name: str, *, hosting: bool = False) -> int | None:
    """The n of such a name, None for other names."""
    prefix = work_name(addon, 0, hosting=hosting)[:-1]
    number = name.removeprefix(prefix)
    return int(number) if name.startswith(prefix) and number.isdigit() else None


def build(
    addon: Json,
    manifests: Sequence[Json],
    *,
    health: Health,
    manifest_configs: Sequence[Mapping[str, object]] = (),
    config_hashes: Mapping[str, str],
    present: Iterable[Json] = (),
    place: Place | None = None,
) -> list[Json]:
    """The works that ship these manifests; objects stay in the works of `present` that have them."""
    check(manifests)
    manifests = [_as_kept(each) for each in manifests]
    key, place = key_of(addon), place or home_of(addon)
    homes = {
        index: [identity(m) for m in (work["spec"].get("workload") or {}).get("manifests") or []]
        for work in present
        if (index := work_index(key, work["metadata"]["name"], hosting=place.hosting)) is not None
    }
    works = []
    for index, objects in pack(manifests, homes).items():
        spec: Json = {"workload": {"manifests": objects}}
        configs = [dict(c) for c in manifest_configs] + _feedback(health, objects)
        if configs:
            spec["manifestConfigs"] = configs
        if rules := _orphaning_rules(objects):
            spec["deleteOption"] = {
                "propagationPolicy": "SelectivelyOrphan",
                "selectivelyOrphans": {"orphaningRules": rules},
            }
        work = addon_work(addon, place, work_name(key, index, hosting=place.hosting), spec)
        hashes = orjson.dumps(dict(config_hashes), option=orjson.OPT_SORT_KEYS).decode()
        work["metadata"]["annotations"] = {CONFIG_SPEC_HASH_ANNOTATION: hashes}
        works.append(work)
    return works


def _as_kept(manifest: Json) -> Json:
    """Without empty metadata such as `labels: {}` or `creationTimestamp: null`.

    kube-apiserver drops it from the objects in a work, which then would never be what is desired.
    """
    metadata = {key: value for key, value in manifest["metadata"].items() if value not in (None, {}, [])}
    return {**manifest, "metadata": metadata}


def addon_work(addon: Json, place: Place, name: str, spec: Json) -> Json:
    """A work of the add-on. Owners hold within a namespace only: what is hosted a finalizer lets go."""
    metadata: Json = {"name": name, "namespace": place.cluster, "labels": labels_of(addon, place)}
    if not place.hosting:
        metadata["ownerReferences"] = [addon_reference(addon)]
    resource = ManifestWork.RESOURCE
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, "spec": spec}


def addon_reference(addon: Json) -> Json:
    """The controlling reference of what belongs to a ManagedClusterAddOn."""
    return owner_reference(addon, ManagedClusterAddOn.RESOURCE, controller=True)


def same_work(live: Json, desired: Json) -> bool:
    """Whether a live work already says what is desired: manifests exactly, the rest up to defaults."""
    manifests = (live["spec"].get("workload") or {}).get("manifests") or []
    if manifests != desired["spec"]["workload"]["manifests"] or not covers(live, desired):
        return False
    extra = {"manifestConfigs"} & (live["spec"].keys() - desired["spec"].keys())
    policy = (live["spec"].get("deleteOption") or {}).get("propagationPolicy", "Foreground")
    return not extra and ("deleteOption" in desired["spec"] or policy == "Foreground")


def _feedback(health: Health, objects: Sequence[Json]) -> list[Json]:
    if isinstance(health, Workload):
        probes = [
            Probe(
                WORKLOADS[o["kind"]],
                o["metadata"]["name"],
                o["metadata"].get("namespace", ""),
                "apps",
                _PATHS.get(o["kind"], {}),
            )
            for o in objects
            if o["kind"] in WORKLOADS and o["kind"] in health.kinds
        ]
    elif isinstance(health, Work):
        names = {(o["metadata"].get("namespace", ""), o["metadata"]["name"]) for o in objects}
        probes = [p for p in health.probes if (p.namespace, p.name) in names]
    else:
        probes = []
    result: list[Json] = []
    for probe in probes:
        rule: Json = {"type": "WellKnownStatus"}
        if probe.paths:
            paths = [{"name": name, "path": path} for name, path in probe.paths.items()]
            rule = {"type": "JSONPaths", "jsonPaths": paths}
        identifier = {"resource": probe.resource, "name": probe.name}
        if probe.group:
            identifier["group"] = probe.group
        if probe.namespace:
            identifier["namespace"] = probe.namespace
        result.append({"resourceIdentifier": identifier, "feedbackRules": [rule]})
    return result


def _orphaning_rules(objects: Sequence[Json]) -> list[Json]:
    rules = []
    for obj in objects:
        metadata = obj["metadata"]
        if DELETION_ORPHAN_ANNOTATION not in (metadata.get("annotations") or {}):
            continue
        rule = {"resource": plural(obj["kind"]), "name": metadata["name"]}
        if group := identity(obj)[0]:
            rule["group"] = group
        if metadata.get("namespace"):
            rule["namespace"] = metadata["namespace"]
        rules.append(rule)
    return rules


def plural(kind: str) -> str:
    """The resource name of a kind by English rules, which nearly every API follows."""
    lower = kind.lower()
    if lower.endswith("y") and lower[-2:-1] not in "aeiou":
        return lower[:-1] + "ies"
    return lower + ("es" if lower.endswith(("s", "x", "ch", "sh")) else "s")
