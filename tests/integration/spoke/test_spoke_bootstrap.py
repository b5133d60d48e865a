"""The ways to ask to join, as a user has them: a kubeconfig, or where the hub is and a token."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from addon_framework.api.cluster import ManagedCluster
from addon_framework.api.core import SECRETS
from addon_framework.cli.main import cli
from addon_framework.hub.install import bootstrap_kubeconfig
from addon_framework.kube import load_kubeconfig
from tests.integration.spoke.conftest import Fleet

FLEETADM = Path(sys.executable).parent / "fleetadm"


@pytest.fixture
async def bootstrap_token(fleet: Fleet) -> AsyncIterator[str]:
    """A bootstrap token of Kubernetes, as clusteradm makes them."""
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": f"bootstrap-token-{fleet.mark[:6]}", "namespace": "kube-system"},
        "type": "bootstrap.kubernetes.io/token",
        "stringData": {
            "token-id": fleet.mark[:6],
            "token-secret": "0123456789abcdef",
            "usage-bootstrap-authentication": "true",
            "auth-extra-groups": "system:bootstrappers:managedcluster",
        },
    }
    await fleet.hub.create(SECRETS, secret)
    yield f"{fleet.mark[:6]}.0123456789abcdef"
    await fleet.hub.delete(SECRETS, f"bootstrap-token-{fleet.mark[:6]}", "kube-system")


@pytest.mark.parametrize("kind", ["account", "bootstrap-token"])
async def test_an_address_and_a_token_are_enough(
    fleet: Fleet, bootstrap_token: str, tmp_path: Path, kind: str
) -> None:
    token = bootstrap_token
    if kind == "account":
        token = load_kubeconfig(await bootstrap_kubeconfig(fleet.hub)).token() or ""
    assert fleet.hub.config.ca is not None
    (tmp_path / "ca.crt").write_bytes(fleet.hub.config.ca)
    (tmp_path / "token").write_text(token + "\n")
    process = await asyncio.create_subprocess_exec(
        FLEETADM,
        *("agent", "run", "--hub-server", fleet.hub.server, "--hub-token-file", "token"),
        *("--hub-ca-file", "ca.crt", "--cluster-name", fleet.cluster),
        *("--spoke-kubeconfig", fleet.spoke_kubeconfig),
        cwd=tmp_path,
    )
    try:
        await fleet.accept()
        kind = "ManagedClusterConditionAvailable"
        await fleet.until_condition(ManagedCluster.RESOURCE, fleet.cluster, kind)
        data = await fleet.identity()
        assert token.encode() not in data["kubeconfig"]  # it was for asking only
    finally:
        process.terminate()
        assert await process.wait() == 0


@pytest.mark.parametrize(
    "given",
    [[], ["--hub-server", "https://h"], ["--hub-kubeconfig", __file__, "--hub-server", "https://h"]],
)
def test_half_of_it_is_not(given: list[str]) -> None:
    arguments = ["agent", "run", "--spoke-kubeconfig", __file__, "--cluster-name", "c", *given]
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 2
    assert "--hub-server with --hub-token-file" in done.output
