"""Who may use the hub's Datasets."""

from __future__ import annotations

from addon_framework.api.meta import Json
from addons.cache_runtime.hub.plugin import FleetDatasets


def rules(name: str) -> list[Json]:
    made = FleetDatasets().addon_hub_manifests()
    (role,) = [obj for obj in made if obj["metadata"]["name"] == f"boundaryless:datasets-{name}"]
    return list(role["rules"])


def resources(name: str) -> set[str]:
    return {resource for rule in rules(name) for resource in rule["resources"]}


def test_people_get_named_kinds_and_verbs_and_no_statuses() -> None:
    for name in ("view", "edit"):
        assert {"datasets", "dataloads", "localruntimes", "juicefsruntimes/scale"} <= resources(name)
        assert not [each for each in resources(name) if each == "*" or each.endswith("/status")]
        assert all("*" not in rule["verbs"] for rule in rules(name))


def test_what_all_namespaces_share_is_not_for_one_namespaces_editors() -> None:
    shared = {"thinruntimeprofiles", "cacheruntimeclasses"}
    assert shared <= resources("view")
    assert not shared & resources("edit")
