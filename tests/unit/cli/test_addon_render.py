"""`fleetadm addon render`: what it prints where, and how it fails."""

from __future__ import annotations

import json

import yaml
from click.testing import CliRunner, Result

from addon_framework.cli.main import cli


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["addon", "render", *arguments])


def test_yaml_is_what_kubectl_takes_and_notes_are_apart() -> None:
    done = run("resource-scorer", "--placement", "default/all")
    assert done.exit_code == 0
    kinds = [obj["kind"] for obj in yaml.safe_load_all(done.stdout)]
    assert kinds[-3:] == ["AddOnDeploymentConfig", "AddOnTemplate", "ClusterManagementAddOn"]
    assert "&id" not in done.stdout
    assert "note: health is told by the workloads" in done.stderr


def test_json_is_one_list() -> None:
    done = run("cache-runtime", "--variable", "IMAGE=img", "--namespace", "conf", "-o", "json")
    made = {obj["kind"]: obj for obj in json.loads(done.stdout)["items"]}
    config = made["AddOnDeploymentConfig"]
    assert config["metadata"]["namespace"] == "conf"
    assert config["spec"]["customizedVariables"] == [{"name": "IMAGE", "value": "img"}]
    assert '"image": "{{IMAGE}}"' in done.stdout
    assert made["ClusterManagementAddOn"]["spec"]["installStrategy"] == {"type": "Manual"}


def test_what_needs_a_controller_on_the_hub_is_refused_with_the_reason() -> None:
    done = run("inference-deployer")
    assert done.exit_code == 1
    assert "addon_hub_controllers: its controllers run in the hub manager" in done.stderr
    assert not done.stdout


def test_mistakes_are_named() -> None:
    missing = run("nope")
    assert missing.exit_code == 4
    assert 'no plug-in is named "nope"; installed: cache-runtime' in missing.stderr
    assert "all is not NAMESPACE/NAME" in run("resource-scorer", "--placement", "all").stderr
    assert "x is not NAME=DEFAULT" in run("resource-scorer", "--variable", "x").stderr


def test_help_has_an_example() -> None:
    assert "fleetadm addon render resource-scorer | kubectl apply -f -" in run("--help").stdout
