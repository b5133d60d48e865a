"""What the add-on controllers all ask of the caches: an add-on's works, its placements' choice."""

from __future__ import annotations

from collections.abc import Iterable

from addon_framework.api.addon import ClusterManagementAddOn
from addon_framework.api.cluster import Placement, PlacementDecision
from addon_framework.api.meta import Json
from addon_framework.api.names import (
    ADDON_NAME_LABEL,
    ADDON_NAMESPACE_LABEL,
    DECISION_GROUP_INDEX_LABEL,
    DECISION_GROUP_NAME_LABEL,
    LIFECYCLE_ANNOTATION,
    PLACEMENT_LABEL,
)
from addon_framework.api.work import ManifestWork
from addon_framework.hub.addons.places import place_of
from addon_framework.hub.addons.works import work_index
from addon_framework.hub.placement.decisions import clusters_of
from addon_framework.hub.work.rollout import Group
from addon_framework.kube import Controller, Key, Watch, came_or_went, key_of


def is_managed(cma: Json) -> bool:
    """Whether the hub's add-on manager handles the add-on: the lifecycle annotation is missing or says so."""
    annotations = cma["metadata"].get("annotations") or {}
    return bool(annotations.get(LIFECYCLE_ANNOTATION, "addon-manager") == "addon-manager")


def install_placements(cma: Json) -> list[Json]:
    """The placements of the install strategy; empty when it is Manual."""
    strategy = (cma.get("spec") or {}).get("installStrategy") or {}
    return list(strategy.get("placements") or []) if strategy.get("type") == "Placements" else []


def owner_of(addon: Json) -> Key:
    """The ClusterManagementAddOn of a ManagedClusterAddOn."""
    return Key("", addon["metadata"]["name"])


def addon_of_labelled(obj: Json) -> Iterable[Key]:
    """The ManagedClusterAddOn that an object carries as label; its namespace too where it is in another."""
    labels = obj["metadata"].get("labels") or {}
    name, namespace = labels.get(ADDON_NAME_LABEL), labels.get(ADDON_NAMESPACE_LABEL)
    return [Key(namespace or obj["metadata"]["namespace"], name)] if name else []


def works_of(controller: Controller, key: Key) -> list[Json]:
    """The deploy works of an add-on in order of their number; after its own cluster's the hosting one's."""
    found = []
    for work in all_works_of(controller, key):
        place = place_of(work)
        index = work_index(key, work["metadata"]["name"], hosting=place.hosting)
        if index is not None:
            found.append(((place.hosting, place.cluster, index), work))
    return [work for _, work in sorted(found, key=lambda item: item[0])]


def all_works_of(controller: Controller, key: Key) -> list[Json]:
    """Every work of an add-on, those with its pre-delete hooks too."""
    cache = controller.cache(ManifestWork.RESOURCE)
    cache.add_index("addon", lambda work: [str(each) for each in addon_of_labelled(work)])
    return cache.by_index("addon", str(key))


def chosen_clusters(controller: Controller, placement: Key) -> set[str] | None:
    """The clusters a placement has chosen; None while it exists and has not decided yet."""
    cache = controller.cache(PlacementDecision.RESOURCE)
    cache.add_index("placement", lambda decision: [str(key) for key in placement_of(decision)])
    decisions = cache.by_index("placement", str(placement))
    if not decisions and controller.cache(Placement.RESOURCE).get(placement) is not None:
        return None
    return {cluster for decision in decisions for cluster in clusters_of(decision)}


def has_chosen(controller: Controller, placement: Key, cluster: str) -> bool:
    """Whether the cluster is one of `chosen_clusters`, without making that set."""
    cache = controller.cache(PlacementDecision.RESOURCE)
    cache.add_index(
        "chosen",
        lambda decision: [f"{key} {c}" for key in placement_of(decision) for c in clusters_of(decision)],
    )
    return bool(cache.by_index("chosen", f"{placement} {cluster}"))


def decision_groups(controller: Controller, placement: Key) -> list[Group]:
    """The clusters a placement has chosen, in its decision groups."""
    cache = controller.cache(PlacementDecision.RESOURCE)
    cache.add_index("placement", lambda decision: [str(key) for key in placement_of(decision)])
    groups: dict[tuple[int, str], set[str]] = {}
    for decision in cache.by_index("placement", str(placement)):
        labels = decision["metadata"].get("labels") or {}
        index = labels.get(DECISION_GROUP_INDEX_LABEL, "0")
        group = int(index) if index.isdigit() else 0, labels.get(DECISION_GROUP_NAME_LABEL, "")
        groups.setdefault(group, set()).update(clusters_of(decision))
    return [Group(name, index, frozenset(chosen)) for (index, name), chosen in sorted(groups.items())]


def placement_of(decision: Json) -> Iterable[Key]:
    """The placement that a PlacementDecision belongs to."""
    name = (decision["metadata"].get("labels") or {}).get(PLACEMENT_LABEL)
    return [Key(decision["metadata"]["namespace"], name)] if name else []


def addons_installed_by(controller: Controller, placements: Iterable[Key]) -> Iterable[Key]:
    """The ClusterManagementAddOns whose install strategy names one of the placements."""
    cache = controller.cache(ClusterManagementAddOn.RESOURCE)
    cache.add_index(
        "placement", lambda cma: [str(Key(p["namespace"], p["name"])) for p in install_placements(cma)]
    )
    for placement in placements:
        for cma in cache.by_index("placement", str(placement)):
            yield Key("", cma["metadata"]["name"])


def placement_watches(controller: Controller) -> list[Watch]:
    """Of what install strategies name: what Placements decide, and whether there are any."""
    return [
        Watch(PlacementDecision.RESOURCE, map=lambda d: addons_installed_by(controller, placement_of(d))),
        Watch(
            Placement.RESOURCE,
            map=lambda p: addons_installed_by(controller, [key_of(p)]),
            predicate=came_or_went,
        ),
    ]
