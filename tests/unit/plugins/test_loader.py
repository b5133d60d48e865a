"""A plug-in is found by its entry point, loaded when needed, and isolated when it is bad."""

import sys
from importlib import metadata
from types import SimpleNamespace
from typing import Any

import pytest

from addon_framework.plugins import (
    ADDONS,
    AddonDescription,
    Lease,
    Plugin,
    PluginError,
    Plugins,
    Workload,
    agent_manifests,
    discover,
    hookimpl,
)
from addon_framework.plugins.loader import status


class Hello:
    @hookimpl
    def addon_describe(self) -> AddonDescription:
        return AddonDescription(name="hello", health=Workload)

    @hookimpl
    def addon_manifests(self, cluster: dict[str, Any]) -> list[dict[str, Any]]:
        return [{"kind": "ConfigMap", "for": cluster["name"]}]


class Misspelt:
    @hookimpl
    def addon_describe(self) -> AddonDescription:
        return AddonDescription(name="misspelt")

    @hookimpl
    def addon_manifest(self) -> list[dict[str, Any]]:
        return []


class Raises:
    @hookimpl
    def addon_describe(self) -> AddonDescription:
        return AddonDescription(name="raises")

    @hookimpl
    def addon_manifests(self) -> list[dict[str, Any]]:
        raise ValueError("no such bucket")


def entry_point(name: str, value: str, dist: str, version: str = "1.0") -> metadata.EntryPoint:
    found = metadata.EntryPoint(name=name, value=value, group=ADDONS)
    vars(found)["dist"] = SimpleNamespace(name=dist, version=version)
    return found


def test_built_in_addons_come_through_entry_points() -> None:
    assert {"resource-scorer", "cache-runtime", "inference-deployer"} <= set(discover().by_name)


def test_discovery_imports_nothing() -> None:
    sys.modules.pop("wave", None)
    plugins = discover(entry_points=[entry_point("wave", "wave:Wave_read", "d")])
    assert "wave" not in sys.modules
    assert not plugins.require("wave").quarantined


def test_hooks_take_the_arguments_they_want() -> None:
    plugin = Plugins().add("hello", Hello)
    assert plugin.call("addon_manifests", cluster={"name": "c1"}, addon={}, values={}) == [
        {"kind": "ConfigMap", "for": "c1"}
    ]
    assert plugin.call("addon_hub_permissions", cluster_name="c1") is None
    assert plugin.describe().prober == Workload()
    assert plugin.hooks() == ["addon_describe", "addon_manifests"]


def test_one_that_does_not_import_is_quarantined_and_the_others_work() -> None:
    plugins = discover(entry_points=[entry_point("broken", "no_such_module:X", "broken-dist", "2.1")])
    plugins.add("hello", Hello)
    assert [p.name for p in plugins.usable()] == ["hello"]
    reason = plugins.require("broken").reason
    assert "broken-dist 2.1" in reason
    assert "no_such_module" in reason
    with pytest.raises(PluginError, match="no_such_module"):
        plugins.require("broken").load()


def test_two_claims_on_one_name_are_refused_naming_both() -> None:
    plugins = discover(
        entry_points=[entry_point("x", "a:A", "dist-a"), entry_point("x", "b:B", "dist-b", "3")]
    )
    with pytest.raises(PluginError, match=r"dist-a 1\.0 \(a:A\) and by dist-b 3 \(b:B\)"):
        plugins.require("x").load()


def test_a_distribution_seen_twice_is_one_claim() -> None:
    plugins = discover(entry_points=[entry_point("x", "a:A", "d"), entry_point("x", "a:A", "d")])
    assert not plugins.require("x").quarantined


def test_a_misspelt_hook_is_refused_with_a_suggestion() -> None:
    with pytest.raises(PluginError, match="unknown hook addon_manifest; did you mean addon_manifests"):
        Plugins().add("misspelt", Misspelt).load()


def test_the_name_must_agree() -> None:
    with pytest.raises(PluginError, match='describes itself as "hello"'):
        Plugins().add("other", Hello).load()


def test_what_a_hook_raises_names_plugin_and_hook_and_does_not_quarantine() -> None:
    plugin = Plugins().add("raises", Raises)
    with pytest.raises(
        PluginError, match=r'"raises".*addon_manifests: ValueError: no such bucket at .*test_loader'
    ):
        plugin.call("addon_manifests", cluster={}, addon={}, values={})
    assert not plugin.quarantined


def test_an_unknown_name_lists_what_exists() -> None:
    plugins = Plugins()
    plugins.add("hello", Hello)
    with pytest.raises(PluginError, match='"nope"; installed: hello'):
        plugins.require("nope")


def test_the_status_rows_tell_reasons() -> None:
    plugins = Plugins()
    plugins.add("hello", Hello)
    plugins.add("other", Hello)
    rows = {row["name"]: row for row in status(plugins)}
    assert rows["hello"]["state"] == "Ready"
    assert rows["other"]["state"] == "Quarantined"
    assert "describes itself" in rows["other"]["reason"]


def test_other_groups_are_plain_objects() -> None:
    plugin = Plugin(name="local", group="boundaryless.runtimes", origin="t", target=SimpleNamespace)
    assert isinstance(plugin.load(), SimpleNamespace)
    assert plugin.call("addon_manifests") is None


def test_lease_is_the_default_health() -> None:
    assert AddonDescription(name="a").prober == Lease()


def test_agent_manifests_hold_everything_an_agent_needs() -> None:
    objects = agent_manifests(
        "scorer", "ns1", "c1", spoke_rules=[{"apiGroups": [""], "resources": ["nodes"]}]
    )
    assert [o["kind"] for o in objects] == [
        "Namespace",
        "ServiceAccount",
        "Role",
        "RoleBinding",
        "ClusterRole",
        "ClusterRoleBinding",
        "Deployment",
    ]
    pod = objects[-1]["spec"]["template"]["spec"]
    assert pod["volumes"][0]["secret"] == {"secretName": "scorer-hub-kubeconfig", "optional": False}
    env = {e["name"]: e["value"] for e in pod["containers"][0]["env"]}
    assert env == {
        "CLUSTER_NAME": "c1",
        "ADDON_NAME": "scorer",
        "INSTALL_NAMESPACE": "ns1",
        "HUB_KUBECONFIG": "/managed/hub-kubeconfig/kubeconfig",
    }


def test_agent_manifests_without_hub_access_do_not_wait_for_a_secret() -> None:
    pod = agent_manifests("a", "ns1", "c1", hub_access=False)[-1]["spec"]["template"]["spec"]
    assert "volumes" not in pod
