"""fleetadm against API servers: what it prints where, what it changes, and how it exits."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import ec

from addon_framework.api.addon import ClusterManagementAddOn, ManagedClusterAddOn
from addon_framework.api.cluster import ManagedCluster, Placement, PlacementDecision
from addon_framework.api.core import CRDS, CSRS, NAMESPACES
from addon_framework.api.crd import load_crds
from addon_framework.api.data import Dataset
from addon_framework.api.meta import Json, Resource
from addon_framework.hub.install import bootstrap_kubeconfig, install
from addon_framework.kube import Client, NotFound
from addon_framework.testing import EmbeddedApiServer, eventually
from tests.integration.cli.conftest import Fleetadm
from tests.unit.hub.certificates import csr_to_create

Clusters = Callable[..., Awaitable[None]]


def obj(resource: Resource, name: str, namespace: str | None = None, **body: Any) -> Json:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, **body}


@pytest.fixture(scope="module")
def bare_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedApiServer]:
    """A cluster on which nothing is installed; it serves as a spoke, too."""
    server = EmbeddedApiServer(tmp_path_factory.mktemp("bare"), name="bare")
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def hub(client: Client, crds_installed: None, kubeconfig: Path, merge: Callable[..., Path]) -> Client:
    """A hub, and the fleet's kubeconfig that names it."""
    await install(client)
    merge(hub=kubeconfig)
    return client


@pytest.fixture
async def cluster(hub: Client) -> AsyncIterator[Clusters]:
    """Makes ManagedClusters, as agents do, that are deleted afterwards."""
    made: list[str] = []

    async def make(name: str, **status: Any) -> None:
        made.append(name)
        await hub.create(ManagedCluster.RESOURCE, obj(ManagedCluster.RESOURCE, name))
        if status:
            await hub.patch(ManagedCluster.RESOURCE, name, {"status": status}, subresource="status")

    yield make
    for name in made:
        await hub.delete(ManagedCluster.RESOURCE, name)


async def test_get_in_every_form(cluster: Clusters, fleetadm: Fleetadm) -> None:
    await cluster("cli-a", allocatable={"cpu": "8", "memory": "16Gi", "nvidia.com/gpu": "4"})
    table = await fleetadm("get", "clusters", "cli-a")
    assert table.code == 0
    columns = ["NAME", "ACCEPTED", "JOINED", "AVAILABLE", "CPU", "MEMORY", "GPU", "DELETION", "AGE"]
    assert table.lines[0] == columns
    assert table.lines[1][:-1] == ["cli-a", "False", "Unknown", "Unknown", "8", "16Gi", "4", "-"]
    assert (await fleetadm("get", "cluster", "cli-a", "-o", "json")).json["metadata"]["name"] == "cli-a"
    assert (await fleetadm("get", "mc", "-o", "json")).json["kind"] == "List"
    assert (
        yaml.safe_load((await fleetadm("get", "clusters", "cli-a", "-o", "yaml")).out)["kind"]
        == "ManagedCluster"
    )
    named = await fleetadm("get", "clusters", "cli-a", "-o", "name")
    assert named.out == "managedcluster.cluster.open-cluster-management.io/cli-a\n"


async def test_what_is_not_there(hub: Client, fleetadm: Fleetadm, namespace: str) -> None:
    missing = await fleetadm("get", "clusters", "nobody", "-o", "json")
    assert (missing.code, missing.out) == (4, "")
    assert missing.err == "Error: clusters: nobody does not exist\n"
    empty = await fleetadm("get", "placements", "-n", namespace)
    assert (empty.code, empty.out, empty.err) == (0, "", "No placements.\n")
    assert (await fleetadm("get", "placements", "-n", namespace, "-o", "json")).json["items"] == []


async def test_placements_with_their_clusters(hub: Client, fleetadm: Fleetadm, namespace: str) -> None:
    await decide(hub, namespace, "b", "a")
    shown = await fleetadm("get", "placements", "-n", namespace)
    assert shown.lines[1][:-1] == [namespace, "p", "Unknown", "-", "a,b"]


async def test_explaining_a_placement_finds_its_namespace(
    hub: Client, fleetadm: Fleetadm, namespace: str
) -> None:
    another_namespace = f"{namespace}-too"
    await hub.create(NAMESPACES, obj(NAMESPACES, another_namespace))
    for place, name in ((namespace, namespace), (namespace, "twice"), (another_namespace, "twice")):
        await hub.create(Placement.RESOURCE, obj(Placement.RESOURCE, name, place, spec={}))
    explain = ("get", "placement", "-o", "explain")
    assert "Cluster sets: none is bound to the namespace" in (await fleetadm(*explain, namespace)).out
    several = await fleetadm(*explain, "twice")
    assert several.code == 2
    assert f"{', '.join(sorted([namespace, another_namespace]))}." in several.err
    assert (await fleetadm(*explain, "twice", "-n", another_namespace)).code == 0
    missing = await fleetadm(*explain, "nope", "-n", namespace)
    assert missing.code == 4
    assert missing.err == f"Error: placements: nope does not exist in namespace {namespace}\n"


async def decide(hub: Client, namespace: str, *clusters: str) -> None:
    await hub.create(Placement.RESOURCE, obj(Placement.RESOURCE, "p", namespace, spec={}))
    decision = obj(PlacementDecision.RESOURCE, "p-decision-1", namespace)
    decision["metadata"]["labels"] = {"cluster.open-cluster-management.io/placement": "p"}
    await hub.create(PlacementDecision.RESOURCE, decision)
    decisions = [{"clusterName": name, "reason": ""} for name in clusters]
    status = {"status": {"decisions": decisions}}
    await hub.patch(PlacementDecision.RESOURCE, "p-decision-1", status, namespace, subresource="status")


async def test_watching_prints_what_changes_and_what_goes(
    hub: Client, fleetadm: Fleetadm, namespace: str
) -> None:
    async with fleetadm.running("get", "placements", "-n", namespace, "-w") as process:
        assert process.stdout is not None

        async def line() -> list[str]:
            assert process.stdout is not None
            return (await asyncio.wait_for(process.stdout.readline(), 30)).decode().split()

        await decide(hub, namespace, "a")
        assert "CLUSTERS" in await line()
        while (row := await line())[4] != "a":
            assert row[1] == "p"
        await hub.delete(Placement.RESOURCE, "p", namespace)
        while (row := await line())[-1] != "gone":
            assert row[1] == "p"


async def test_a_cluster_that_is_not_a_hub(bare_server: EmbeddedApiServer, fleetadm: Fleetadm) -> None:
    for arguments in (
        ["get", "clusters"],
        ["hub", "run"],
        ["accept", "x"],
        ["addon", "enable", "x", "--clusters", "y"],
    ):
        done = await fleetadm(*arguments, kubeconfig=bare_server.kubeconfig)
        assert (done.code, done.out) == (1, "")
        assert done.err == "Error: this cluster is not a hub: run fleetadm hub install\n"


async def test_servers_and_files_that_are_not_there(fleetadm: Fleetadm, merge: Callable[..., Path]) -> None:
    nothing = await fleetadm("get", "clusters")
    assert nothing.code == 1
    assert f"kubeconfig {fleetadm.directory}/kubeconfig does not exist: run fleetadm up" in nothing.err
    config = {
        "clusters": [{"name": "x", "cluster": {"server": "https://127.0.0.1:1"}}],
        "contexts": [{"name": "x", "context": {"cluster": "x"}}],
        "current-context": "x",
    }
    (fleetadm.directory / "kubeconfig").write_text(yaml.safe_dump(config))
    silent = await fleetadm("get", "clusters", "-o", "json")
    assert (silent.code, silent.out) == (1, "")
    assert "cannot reach the API server at https://127.0.0.1:1" in silent.err
    assert (await fleetadm("get", "clusters", "--context", "y")).code == 1


async def test_accept(hub: Client, cluster: Clusters, fleetadm: Fleetadm) -> None:
    nobody = await fleetadm("accept", "nobody")
    assert nobody.code == 4
    assert "cluster nobody has not asked to join" in nobody.err
    late = await fleetadm("accept", "nobody", "--wait", "--timeout", "0.5")
    assert late.code == 5
    await cluster("cli-b")
    early = await fleetadm("accept", "cli-b")
    assert early.code == 4
    assert "cluster cli-b has not asked for a certificate yet, so nothing was changed" in early.err
    assert not ((await hub.get(ManagedCluster.RESOURCE, "cli-b")).get("spec") or {}).get("hubAcceptsClient")
    group = "system:open-cluster-management:cli-b"
    label = {"open-cluster-management.io/cluster-name": "cli-b"}
    key = ec.generate_private_key(ec.SECP256R1())
    asked = await hub.create(CSRS, csr_to_create(key, "cli-b-", label, f"{group}:agent", [group]))
    who = asked["spec"]["username"]
    refused = await fleetadm("accept", "cli-b")
    assert refused.code == 4
    assert f"left alone: {asked['metadata']['name']}, it is of {who}, who is not trusted" in refused.err
    assert (await fleetadm("accept", "cli-b", "--requester", who)).out == "cli-b: accepted\n"
    assert (await fleetadm("accept", "cli-b")).out == "cli-b: was accepted already\n"
    assert (await hub.get(ManagedCluster.RESOURCE, "cli-b"))["spec"]["hubAcceptsClient"] is True
    unavailable = await fleetadm("accept", "cli-b", "--wait", "--timeout", "0.5")
    assert unavailable.code == 5
    assert "ManagedCluster cli-b: not joined and available" in unavailable.err


async def test_add_ons_by_hand(hub: Client, fleetadm: Fleetadm, namespace: str) -> None:
    name = f"by-hand-{namespace}"
    unknown = await fleetadm("addon", "enable", name, "--clusters", namespace)
    assert unknown.code == 4
    assert "it has no ClusterManagementAddOn" in unknown.err
    resource = ClusterManagementAddOn.RESOURCE
    await hub.create(resource, obj(resource, name, spec={}))
    try:
        enabled = await fleetadm("addon", "enable", name, "--clusters", namespace)
        assert enabled.out == f"{namespace}: {name} enabled\n"
        shown = await fleetadm("get", "addons", "-n", namespace)
        assert shown.lines[1][:3] == [namespace, name, "Unknown"]
        assert (await fleetadm("addon", "enable", name, "--clusters", "nowhere")).code == 4
        assert (await fleetadm("addon", "disable", name, "--clusters", namespace)).code == 0
        with pytest.raises(NotFound):
            await hub.get(ManagedClusterAddOn.RESOURCE, name, namespace)
        placed = {"type": "Placements", "placements": [{"namespace": "n", "name": "p"}]}
        await hub.patch(resource, name, {"spec": {"installStrategy": placed}})
        refused = await fleetadm("addon", "enable", name, "--clusters", namespace)
        assert refused.code == 1
        assert "change n/p instead" in refused.err
    finally:
        await hub.delete(resource, name)


async def test_a_plug_in_that_is_here_becomes_known_to_the_hub(
    hub: Client, fleetadm: Fleetadm, namespace: str
) -> None:
    name, resource = "resource-scorer", ClusterManagementAddOn.RESOURCE
    if name in {each["metadata"]["name"] for each in (await hub.list(resource))["items"]}:
        pytest.skip(f"the hub has {name} already, and it may be somebody's")
    missing = await fleetadm("addon", "disable", name, "--clusters", namespace)
    assert missing.code == 4
    assert "Plug-ins here (fleetadm plugins list): cache-runtime, fleet-datasets, " in missing.err
    try:
        enabled = await fleetadm("addon", "enable", name, "--clusters", namespace)
        assert enabled.out == f"{namespace}: {name} enabled\n"
        assert f"note: made ClusterManagementAddOn {name} from the plug-in of " in enabled.err
        again = await fleetadm("addon", "enable", name, "--clusters", namespace)
        assert (again.out, again.err) == (f"{namespace}: {name} was enabled already\n", "")
        assert (await fleetadm("addon", "disable", name, "--clusters", namespace)).code == 0
        spec = (await hub.get(resource, name))["spec"]
        assert spec["installStrategy"]["type"] == "Manual"
        assert spec["addOnMeta"]["displayName"] == "Resource scorer"
        assert [each["resource"] for each in spec["supportedConfigs"]] == ["addondeploymentconfigs"]
        unknown = await fleetadm("addon", "enable", "nope", "--clusters", namespace)
        assert unknown.code == 4
        assert re.search(rf"ClusterManagementAddOns on the hub: .*\b{name}\b", unknown.err)
    finally:
        await hub.delete(resource, name)


async def test_a_plug_in_that_runs_on_the_hub_alone_is_enabled_nowhere(
    hub: Client, fleetadm: Fleetadm, namespace: str
) -> None:
    refused = await fleetadm("addon", "enable", "fleet-datasets", "--clusters", namespace)
    assert (refused.code, refused.out) == (1, "")
    assert "installs nothing on clusters" in refused.err
    with pytest.raises(NotFound):
        await hub.get(ClusterManagementAddOn.RESOURCE, "fleet-datasets")


async def test_datasets_of_all_spokes(
    hub: Client,
    fleetadm: Fleetadm,
    kubeconfig: Path,
    bare_server: EmbeddedApiServer,
    merge: Callable[..., Path],
) -> None:
    merge(hub=kubeconfig, cluster1=bare_server.kubeconfig, cluster2=bare_server.kubeconfig)
    none = await fleetadm("get", "datasets")
    assert (none.code, none.err) == (0, "No datasets.\n")
    async with Client.from_kubeconfig(bare_server.kubeconfig) as spoke:
        crd = next(c for c in load_crds("spoke") if c["spec"]["names"]["plural"] == "datasets")
        await spoke.apply(crd, field_manager="test", resource=CRDS)
        body = obj(Dataset.RESOURCE, "corpus", "default", spec={"mounts": [{"mountPoint": "s3://data/x"}]})
        await eventually(lambda: spoke.create(Dataset.RESOURCE, body), swallow=NotFound)
    both = await fleetadm("get", "datasets", "-o", "wide")
    assert [line[:3] for line in both.lines[1:]] == [
        [c, "default", "corpus"] for c in ("cluster1", "cluster2")
    ]
    one = await fleetadm("get", "datasets", "corpus", "--cluster", "cluster2", "-o", "json")
    assert one.json["spec"]["mounts"][0]["mountPoint"] == "s3://data/x"
    assert (await fleetadm("get", "datasets", "--cluster", "cluster9")).code == 4
    path = fleetadm.directory / "kubeconfig"
    config = yaml.safe_load(path.read_text())
    config["clusters"][1]["cluster"]["server"] = "https://127.0.0.1:1"
    path.write_text(yaml.safe_dump(config))
    half = await fleetadm("get", "datasets")
    assert half.code == 1
    assert "cluster1: cannot reach" in half.err
    assert [line[0] for line in half.lines[1:]] == ["cluster2"]


async def test_hub_install_bootstrap_and_run(
    bare_server: EmbeddedApiServer, fleetadm: Fleetadm, tmp_path: Path, merge: Callable[..., Path]
) -> None:
    server = EmbeddedApiServer(tmp_path, name="fresh")
    server.start()
    try:
        merge(hub=server.kubeconfig)
        assert (await fleetadm("hub", "install")).out == f"https://127.0.0.1:{server.port} is a hub.\n"
        printed = await fleetadm("hub", "bootstrap-kubeconfig", "--server", "https://hub.example.com")
        assert yaml.safe_load(printed.out)["clusters"][0]["cluster"]["server"] == "https://hub.example.com"
        unknown = await fleetadm("hub", "run", "--controllers", "nonsense")
        assert unknown.code == 2
        assert "known are registration, placement, work, addons" in unknown.err
        async with Client.from_kubeconfig(server.kubeconfig) as client:
            await client.create(ManagedCluster.RESOURCE, obj(ManagedCluster.RESOURCE, "fresh"))
            async with fleetadm.running("hub", "run", "--controllers", "registration", "--elect") as process:
                refused = await fleetadm("accept", "fresh")
                assert refused.code == 4  # it has not asked for a certificate
                await client.patch(ManagedCluster.RESOURCE, "fresh", {"spec": {"hubAcceptsClient": True}})

                async def accepted() -> bool:
                    listed = await fleetadm("get", "clusters", "fresh", "-o", "json")
                    conditions = listed.json.get("status", {}).get("conditions", [])
                    return any(c["type"] == "HubAcceptedManagedCluster" for c in conditions)

                await eventually(accepted)
                process.terminate()
                out, err = await asyncio.wait_for(process.communicate(), 90)
                assert (process.returncode, out) == (0, b"")
                assert b"hub manager stops" in err
    finally:
        server.stop()


async def test_bootstrap_identity_may_not_look_around(
    hub: Client, fleetadm: Fleetadm, tmp_path: Path
) -> None:
    config = await bootstrap_kubeconfig(hub)
    path = tmp_path / "bootstrap"
    path.write_text(yaml.safe_dump(config))
    done = await fleetadm("get", "works", kubeconfig=path)
    assert done.code == 1
    assert done.err.startswith("Error: not allowed: ")
