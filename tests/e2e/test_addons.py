"""Add-ons in a real fleet: one without code, from its AddOnTemplate to its pre-delete work."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from addon_framework.local.pki import Authority, private_pem
from tests.e2e.conftest import BIN, Run

pytestmark = pytest.mark.timeout(180)
NAMESPACE = "open-cluster-management-agent-addon"
GROUP = "addon.open-cluster-management.io"
# What the agent sees of what OCM's templates promise; it is ready only when all of it is there.
AGENT = (
    "test -s $HUB_KUBECONFIG && test -s /managed/example.com-agents/tls.crt "
    '&& test "$CLUSTER_NAME" = cluster1 && test {{GREETING}} = hi && touch /tmp/ready && sleep 600'
)


def deployment() -> dict[str, object]:
    container = {
        "name": "agent",
        "image": "busybox",
        "command": ["sh", "-c", AGENT],
        "readinessProbe": {"exec": {"command": ["test", "-e", "/tmp/ready"]}, "periodSeconds": 1},
    }
    labels = {"app": "tpl"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "tpl", "namespace": NAMESPACE},
        "spec": {"selector": {"matchLabels": labels}, "template": pod},
    }


def clean_up() -> dict[str, object]:
    container = {"name": "clean", "image": "busybox", "command": ["sh", "-c", "sleep 3"]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": "clean",
            "namespace": NAMESPACE,
            "annotations": {f"{GROUP}/addon-pre-delete": ""},
        },
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}},
    }


def objects() -> list[dict[str, object]]:
    role = {"kind": "Role", "name": "shared-reader", "apiGroup": "rbac.authorization.k8s.io"}
    single = {"type": "SingleNamespace", "singleNamespace": {"namespace": "default", "roleRef": role}}
    signer = {"signerName": "example.com/agents", "signingCA": {"name": "agents-ca", "namespace": "default"}}
    registration = [
        {"type": "KubeClient", "kubeClient": {"hubPermissions": [single]}},
        {"type": "CustomSigner", "customSigner": signer},
    ]
    workload = {"workload": {"manifests": [deployment(), clean_up()]}}
    template = {"addonName": "tpl", "agentSpec": workload, "registration": registration}
    supported = [
        {"group": GROUP, "resource": "addontemplates", "defaultConfig": {"name": "tpl-v1"}},
        {
            "group": GROUP,
            "resource": "addondeploymentconfigs",
            "defaultConfig": {"name": "tpl", "namespace": "default"},
        },
    ]
    variables = {"customizedVariables": [{"name": "GREETING", "value": "hi"}]}
    kinds = [
        ("AddOnDeploymentConfig", {"name": "tpl", "namespace": "default"}, variables),
        ("AddOnTemplate", {"name": "tpl-v1"}, template),
        ("ClusterManagementAddOn", {"name": "tpl"}, {"supportedConfigs": supported}),
    ]
    return [
        {"apiVersion": f"{GROUP}/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}
        for kind, metadata, spec in kinds
    ]


def test_an_addon_without_code(fleetadm: Run, directory: Path, tmp_path: Path) -> None:
    fleetadm("up", "--dir", str(directory), "--spokes", "1")

    def kubectl(context: str, *arguments: str) -> str:
        command = [
            *(BIN / "kubectl", "--kubeconfig", directory / "kubeconfig", "--context", context),
            *arguments,
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    authority = Authority.create("agents")
    (tmp_path / "tls.crt").write_bytes(authority.cert_pem)
    (tmp_path / "tls.key").write_bytes(private_pem(authority.key))
    pair = (f"--cert={tmp_path / 'tls.crt'}", f"--key={tmp_path / 'tls.key'}")
    kubectl("hub", "create", "secret", "tls", "agents-ca", *pair)
    kubectl("hub", "create", "role", "shared-reader", "--verb=get", "--resource=configmaps")
    (tmp_path / "addon.yaml").write_text(yaml.safe_dump_all(objects()))
    kubectl("hub", "apply", "-f", str(tmp_path / "addon.yaml"))
    fleetadm(
        "addon", "enable", "tpl", "--clusters", "cluster1", "--kubeconfig", str(directory / "kubeconfig")
    )
    addon = ("-n", "cluster1", "managedclusteraddon/tpl")
    kubectl("hub", "wait", *addon, "--for=create", "--timeout=90s")
    kubectl("hub", "wait", *addon, "--for=condition=Available", "--timeout=90s")

    # the agent's identity may do on the hub what the template says, and no more
    secret = kubectl("cluster1", "-n", NAMESPACE, "get", "secret", "tpl-hub-kubeconfig", "-o", "json")
    assert {"kubeconfig", "tls.crt", "tls.key"} <= json.loads(secret)["data"].keys()
    user = ("--as=x", "--as-group=system:open-cluster-management:cluster:cluster1:addon:tpl")
    assert kubectl("hub", "auth", "can-i", "get", "configmaps", "-n", "default", *user).strip() == "yes"

    kubectl("hub", "delete", *addon, "--wait=false")
    kubectl("cluster1", "-n", NAMESPACE, "wait", "job/clean", "--for=create", "--timeout=90s")
    kubectl("hub", "get", *addon)  # it waits for the job
    kubectl("cluster1", "-n", NAMESPACE, "get", "deployment/tpl")  # and so does its agent
    kubectl("hub", "wait", *addon, "--for=delete", "--timeout=90s")
    kubectl("cluster1", "-n", NAMESPACE, "wait", "deployment/tpl", "--for=delete", "--timeout=90s")
    assert "tpl" not in kubectl("hub", "get", "rolebindings", "-n", "default", "-o", "name")
