"""Where configuration comes from, what it hashes to, and what it does to manifests."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from addon_framework.hub.addons.configs import (
    Kind,
    Reference,
    config_references,
    desired_references,
    hash_annotation,
    spec_hash,
    unsupported,
)
from addon_framework.hub.addons.values import BadValues, decorate, install_namespace, render_values
from addon_framework.plugins import AddonDescription

ADC = Kind("addon.open-cluster-management.io", "addondeploymentconfigs")
Json = dict[str, Any]


def config(name: str) -> Json:
    return {"group": ADC.group, "resource": ADC.resource, "namespace": "ns", "name": name}


def cma(default: str | None = None) -> Json:
    supported: Json = {"group": ADC.group, "resource": ADC.resource}
    if default:
        supported["defaultConfig"] = {"namespace": "ns", "name": default}
    return {"metadata": {"name": "a"}, "spec": {"supportedConfigs": [supported]}}


@pytest.mark.parametrize(
    ("default", "placements", "own", "expected"),
    [
        (None, [], None, []),
        ("d", [], None, ["d"]),
        ("d", ["p"], None, ["p"]),
        ("d", ["p", "q"], None, ["q"]),
        ("d", ["p"], "m", ["m"]),
    ],
)
def test_precedence(default: str | None, placements: list[str], own: str | None, expected: list[str]) -> None:
    addon = {"spec": {"configs": [config(own)] if own else []}}
    decided = [{"configs": [config(name)]} for name in placements]
    assert [r.name for r in desired_references(cma(default), addon, decided)] == expected


def test_several_of_a_kind_stay_in_their_order_and_replace_all_of_the_others() -> None:
    decided = [{"configs": [config("b"), config("a"), config("b")]}]
    assert [r.name for r in desired_references(cma("d"), {}, decided)] == ["b", "a"]
    addon = {"spec": {"configs": [config("z"), config("y")]}}
    assert [r.name for r in desired_references(cma("d"), addon, decided)] == ["z", "y"]


def test_of_several_each_keeps_what_was_last_applied_of_itself() -> None:
    first, second, third = (Reference(ADC, "ns", name) for name in "abc")
    present = [
        {
            **config(name),
            "desiredConfig": {"namespace": "ns", "name": name},
            "lastAppliedConfig": {"name": name},
        }
        for name in "ab"
    ]
    entries = config_references([second, first, third], {}, present, {})
    assert [e.get("lastAppliedConfig", {}).get("name") for e in entries] == ["b", "a", None]


def test_a_kind_that_is_not_supported_is_found() -> None:
    addon = {"spec": {"configs": [{"group": "x.io", "resource": "things", "name": "n"}]}}
    assert unsupported(cma(), addon) == [Kind("x.io", "things")]


def test_hash_is_over_everything_but_identity_and_status_in_gos_encoding() -> None:
    obj = {
        "apiVersion": "v1",
        "kind": "X",
        "metadata": {"name": "n", "generation": 3},
        "spec": {"b": "<a&b>", "a": 1},
        "status": {"s": 1},
    }
    text = '{"spec":{"a":1,"b":"\\u003ca\\u0026b\\u003e"}}'
    assert spec_hash(obj) == hashlib.sha256(text.encode()).hexdigest()


def test_references_keep_what_was_last_applied() -> None:
    reference = Reference(ADC, "ns", "new")
    last = {"namespace": "ns", "name": "old", "specHash": "1"}
    present = [{**config("old"), "desiredConfig": last, "lastAppliedConfig": last}]
    [entry] = config_references([reference], {reference: "2"}, present, {reference: 7})
    assert entry["desiredConfig"] == {"namespace": "ns", "name": "new", "specHash": "2"}
    assert entry["lastAppliedConfig"] == last
    assert entry["lastObservedGeneration"] == 7
    assert hash_annotation([entry]) == {"addondeploymentconfigs.addon.open-cluster-management.io/ns/new": "2"}


CLUSTER: Json = {"metadata": {"name": "c1"}}


def addon(values: str | None = None) -> Json:
    annotations = {"addon.open-cluster-management.io/values": values} if values else {}
    return {"metadata": {"name": "a", "namespace": "c1", "annotations": annotations}}


def test_built_in_values_win_over_variables_and_these_over_the_annotation() -> None:
    variables = [{"name": "color", "value": "blue"}, {"name": "cluster_name", "value": "no"}]
    values = render_values(
        CLUSTER, addon('{"color": "red", "size": 3}'), "ns1", [{"spec": {"customizedVariables": variables}}]
    )
    assert values == {
        "color": "blue",
        "size": 3,
        "cluster_name": "c1",
        "addon_name": "a",
        "install_namespace": "ns1",
        "hub_kubeconfig_secret": "a-hub-kubeconfig",
    }


@pytest.mark.parametrize("text", ["{", "[1]"])
def test_bad_values_name_the_annotation(text: str) -> None:
    with pytest.raises(BadValues, match=r"annotation addon\.open-cluster-management\.io/values"):
        render_values(CLUSTER, addon(text), "ns", [])


def test_the_install_namespace_moves_only_when_somebody_said_so() -> None:
    description = AddonDescription(name="a", install_namespace="mine")
    default = {"spec": {"agentInstallNamespace": "open-cluster-management-agent-addon"}}
    assert install_namespace(description, []) == "mine"
    assert install_namespace(description, [default]) == "mine"
    assert install_namespace(description, [{"spec": {"agentInstallNamespace": "other"}}]) == "other"


def test_decoration_reaches_every_workload_and_changes_no_input() -> None:
    deployment: Json = {
        "kind": "Deployment",
        "metadata": {"name": "d"},
        "spec": {"template": {"spec": {"containers": [{"name": "c", "image": "quay.io/x/img:1"}]}}},
    }
    spec = {
        "nodePlacement": {"nodeSelector": {"a": "b"}, "tolerations": [{"operator": "Exists"}]},
        "registries": [{"source": "quay.io/x", "mirror": "local/x"}],
        "proxyConfig": {"httpProxy": "http://p", "noProxy": "10.0.0.0/8"},
        "resourceRequirements": [
            {"containerID": "deployments:d:c", "resources": {"limits": {"cpu": "1"}}},
            {"containerID": "*:*:*", "resources": {"limits": {"cpu": "2"}}},
        ],
    }
    config_map: Json = {"kind": "ConfigMap", "metadata": {"name": "m"}}
    decorated, untouched = decorate([deployment, config_map], [{"spec": spec}], name="a")
    pod = decorated["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"a": "b"}
    assert pod["containers"] == [
        {
            "name": "c",
            "image": "local/x/img:1",
            "env": [
                {"name": "HTTP_PROXY", "value": "http://p"},
                {"name": "http_proxy", "value": "http://p"},
                {"name": "NO_PROXY", "value": "10.0.0.0/8"},
                {"name": "no_proxy", "value": "10.0.0.0/8"},
            ],
            "resources": {"limits": {"cpu": "2"}},
        }
    ]
    assert untouched == config_map
    assert deployment["spec"]["template"]["spec"] == {
        "containers": [{"name": "c", "image": "quay.io/x/img:1"}]
    }
