"""The formula keeps order; variables are checked where the user sees it; the plug-in asks for little."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addon_framework.plugins import PluginError, Plugins
from addons.resource_scorer.ledger import Free, Share
from addons.resource_scorer.plugin import OWNER_ENV, SETTINGS_ENV, ResourceScorer
from addons.resource_scorer.scores import DEFAULTS, BadVariable, settings_from

CLUSTER = {"metadata": {"name": "cluster1"}}
ADDON = {"metadata": {"name": "resource-scorer", "namespace": "cluster1", "uid": "u1"}}
VALUES = {
    "install_namespace": "agents",
    "cluster_name": "cluster1",
    "addon_name": "resource-scorer",
    "install_mode": "Default",
}
amounts = st.floats(min_value=0, max_value=1e15)


@pytest.mark.parametrize("family", DEFAULTS)
@given(one=amounts, other=amounts)
def test_more_free_is_never_a_lower_score(family: str, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert -100 <= DEFAULTS[family].score(low) <= DEFAULTS[family].score(high) <= 100


def test_every_gpu_counts_where_there_are_few() -> None:
    scores = [DEFAULTS["gpu"].score(count) for count in range(13)]
    assert scores == sorted(set(scores))


def test_nothing_free_is_worse_than_nothing_known_and_anything_is_better() -> None:
    gpu = DEFAULTS["gpu"]
    assert gpu.score(0) < 0 < gpu.score(1) < gpu.score(4) < gpu.score(1024) == gpu.score(5000) == 100
    assert DEFAULTS["cpu"].score(0.001) == 1


def test_names_are_upstreams_and_the_short_ones() -> None:
    settings = settings_from({})
    scores = settings.scores(dict.fromkeys(DEFAULTS, Free(1, 4)), {})
    assert set(scores) == {
        f"{f}{s}Available" for f in ("cpu", "mem", "gpu", "tpu") for s in ("", "Node", "Cluster")
    }
    assert scores["gpuNodeAvailable"] < scores["gpuClusterAvailable"] == scores["gpuAvailable"]


def test_what_is_used_is_a_percentage_in_steps_and_half_is_what_nobody_knows() -> None:
    shares = {"cpu": Share(0.5, 0.5), "mem": Share(0.0, 1.2)}
    scores = settings_from({}).scores(dict.fromkeys(DEFAULTS, Free(1, 1)), shares)
    assert (scores["cpuUsed"], scores["cpuNodeUsed"], scores["cpuClusterUsed"]) == (0, 0, 0)
    assert (scores["memNodeUsed"], scores["memUsed"]) == (-100, 100)
    assert "gpuUsed" not in scores


def test_variables() -> None:
    settings = settings_from(
        {
            "memMax": "1Ti",
            "gpuMax": "16",
            "gpuResources": "a.com/x, b.com/y",
            "gpuDrivers": "gpu.example.com",
            "validSeconds": "60",
            "metricsSeconds": "15",
            "other": "?",
        }
    )
    assert settings.families["mem"].maximum == 2**40
    assert settings.families["gpu"].score(16) == 100
    assert settings.families["gpu"].resources == ("a.com/x", "b.com/y")
    assert settings.families["gpu"].drivers == ("gpu.example.com",)
    assert (settings.valid_seconds, settings.metrics_seconds) == (60, 15)


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"gpuMax": "many"}, "gpuMax: 'many' is not a quantity"),
        ({"cpuMax": "0"}, "cpuMax: '0' must be more than 0"),
        ({"validSeconds": "5"}, "validSeconds: '5' must be more than 9"),
        ({"gpuResources": " , "}, "gpuResources: must name at least one resource"),
    ],
)
def test_bad_variables_say_which_and_why(variables: dict[str, str], said: str) -> None:
    with pytest.raises(BadVariable, match=said):
        settings_from(variables)


def scorer() -> Any:
    return Plugins().add("resource-scorer", ResourceScorer)


def test_the_hub_sees_a_bad_variable_before_anything_is_shipped() -> None:
    with pytest.raises(PluginError, match=r"resource-scorer.*gpuMax"):
        scorer().call("addon_manifests", cluster=CLUSTER, addon=ADDON, values={**VALUES, "gpuMax": "x"})


def test_variables_and_owner_reach_the_agent() -> None:
    manifests = scorer().call(
        "addon_manifests", cluster=CLUSTER, addon=ADDON, values={**VALUES, "gpuMax": "8", "unrelated": "1"}
    )
    deployment = next(obj for obj in manifests if obj["kind"] == "Deployment")
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    env = {entry["name"]: entry["value"] for entry in container["env"]}
    assert json.loads(env[SETTINGS_ENV]) == {"gpuMax": "8"}
    assert env[OWNER_ENV] == "u1"
    rules = next(obj for obj in manifests if obj["kind"] == "ClusterRole")["rules"]
    assert rules[0] == {"apiGroups": [""], "resources": ["nodes", "pods"], "verbs": ["get", "list", "watch"]}
    assert all(verb in ("get", "list", "watch") for rule in rules for verb in rule["verbs"])
    [config] = [rule for rule in rules if "configmaps" in rule["resources"]]
    assert config["resourceNames"] == ["dynamic-scoring-config"]


def test_only_the_secrets_that_a_user_names_may_be_read() -> None:
    assert not roles({"scorers": "https://scorer/config"})
    [role] = roles({"scorers": "https://scorer/config", "scorerSecrets": "one, two"})
    [rule] = role["rules"]
    assert (rule["resources"], rule["resourceNames"], rule["verbs"]) == (["secrets"], ["one", "two"], ["get"])


def roles(values: dict[str, str]) -> list[Any]:
    manifests = scorer().call("addon_manifests", cluster=CLUSTER, addon=ADDON, values={**VALUES, **values})
    return [o for o in manifests if o["kind"] == "Role" and o["metadata"]["name"].endswith("-tokens")]


def test_a_scorer_that_is_no_url_is_refused_on_the_hub() -> None:
    with pytest.raises(PluginError, match=r"scorers: 'scorer.svc' is no URL"):
        roles({"scorers": "scorer.svc"})


def test_on_the_hub_it_may_touch_scores_only() -> None:
    rules = scorer().call("addon_hub_permissions", cluster_name="cluster1")
    assert {name for rule in rules for name in rule["resources"]} == {
        "addonplacementscores",
        "addonplacementscores/status",
    }
