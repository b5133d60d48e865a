"""The add-on as its plug-in describes it."""

from __future__ import annotations

import pytest

from addon_framework.plugins import Plugins
from addons.inference_deployer.plugin import InferenceDeployer

CLUSTER = {"metadata": {"name": "c1"}}
VALUES = {"install_namespace": "agents", "cluster_name": "c1"}


def manifests(**values):
    plugins = Plugins()
    plugin = plugins.add("inference-deployer", InferenceDeployer)
    return plugin.call("addon_manifests", cluster=CLUSTER, addon={}, values={**VALUES, **values})


def test_the_agent_has_no_identity_on_the_hub():
    plugins = Plugins()
    plugin = plugins.add("inference-deployer", InferenceDeployer)
    assert plugin.call("addon_registrations", cluster_name="c1") == []
    deployment = next(obj for obj in manifests() if obj["kind"] == "Deployment")
    names = {entry["name"] for entry in deployment["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert "HUB_KUBECONFIG" not in names


def test_the_engine_host_is_a_choice_of_three():
    deployment = next(obj for obj in manifests(engineHost="never") if obj["kind"] == "Deployment")
    env = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {"name": "ENGINE_HOST", "value": "never"} in env
    with pytest.raises(Exception, match="engineHost is 'often'; it must be one of serving, always, never"):
        manifests(engineHost="often")


def test_the_kind_comes_first():
    assert manifests()[0]["metadata"]["name"] == "inferenceendpoints.inference.boundaryless.io"


def test_the_command():
    plugins = Plugins()
    commands = plugins.add("inference-deployer", InferenceDeployer).call("addon_commands")
    assert [command.name for command in commands] == ["gateway"]
    assert set(commands[0].commands) == {"run"}
