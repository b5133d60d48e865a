"""The command lines of a fleet's processes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from addon_framework.local.fleet import network
from addon_framework.local.fleet.programs import find
from addon_framework.local.fleet.state import ClusterState, FleetState, Layout
from addon_framework.local.fleet.supervisor import ProcessSpec

API, STORE, NODE, AGENT = range(4)  # stages: what is stopped first was started last
NODE_GRACE = 30.0  # seconds that a node has to end its pods


def api_server(layout: Layout, state: FleetState, cluster: ClusterState | None = None) -> ProcessSpec:
    """The API server of the hub, or of a spoke."""
    name, directory = ("hub", layout.hub) if cluster is None else (cluster.name, layout.cluster(cluster.name))
    address = state.hub_address if cluster is None else cluster.address
    port = state.hub_port if cluster is None else cluster.port
    services = state.hub_services if cluster is None else cluster.services
    return ProcessSpec(
        name=f"{name}-apiserver",
        argv=[
            *(sys.executable, "-m", "addon_framework.local.apiserver", "--dir", str(directory)),
            *("--name", name, "--host", address, "--port", str(port), "--service-cidr", services),
        ],
        imports=["uvloop", "addon_framework.local.apiserver.preload"],
        network=_network(state, cluster),
        stage=API,
    )


def store(layout: Layout, state: FleetState) -> ProcessSpec:
    """SeaweedFS: https://github.com/seaweedfs/seaweedfs/wiki."""
    ports, address = state.store, state.hub_address
    return ProcessSpec(
        name="store",
        argv=[
            *(find("weed") or "weed", "-logtostderr", "mini", f"-dir={layout.store}"),
            *(f"-ip={address}", f"-ip.bind={address}", "-webdav=false", "-admin.ui=false"),
            "-master.telemetry=false",  # it would report itself to its makers
            *(f"-s3.port={ports.s3}", "-s3.port.iceberg=0", "-s3.port.lance=0"),
            *(f"-master.port={ports.master}", f"-volume.port={ports.volume}", f"-filer.port={ports.filer}"),
            f"-admin.port={ports.admin}",
        ],
        env={
            "AWS_ACCESS_KEY_ID": ports.access_key,
            "AWS_SECRET_ACCESS_KEY": ports.secret_key,
            "GOGC": "50",  # a third less memory while it is read and written, for a twentieth more work
        },
        stage=STORE,
    )


def sockets(state: FleetState) -> Iterator[Path]:
    """What SeaweedFS leaves when it has ended; their place is its own choice."""
    store = state.store
    for port in (store.s3, store.master, store.volume, store.filer, store.admin):
        for each in (port, port + 10000):  # the latter for gRPC
            yield from Path("/tmp").glob(f"seaweedfs-*-{each}.sock")


def node(layout: Layout, state: FleetState, cluster: ClusterState) -> ProcessSpec:
    """The one node of a spoke. Its mounts are its own, so that they end with it."""
    directory = layout.cluster(cluster.name)
    return ProcessSpec(
        name=f"{cluster.name}-node",
        argv=[
            *(sys.executable, "-m", "addon_framework.local.node", "--name", f"{cluster.name}-node"),
            *("--kubeconfig", str(layout.kubeconfig_of(cluster.name))),
            *("--dir", str(directory / "node"), "--config", str(directory / "node.json")),
        ],
        network=_network(state, cluster),
        private_mounts=os.geteuid() == 0,
        stage=NODE,
        grace=NODE_GRACE,
    )


def hub_manager(layout: Layout) -> ProcessSpec:
    """What `fleetadm hub run` is anywhere."""
    kubeconfig = str(layout.kubeconfig_of("hub"))
    return ProcessSpec(
        name="hub-manager",
        argv=[*_fleetadm(), "hub", "run", "--kubeconfig", kubeconfig],
        imports=["addon_framework.hub.run"],
        stage=AGENT,
    )


def gateway(layout: Layout, state: FleetState) -> ProcessSpec:
    """One endpoint for all models; a command that the inference deployer brings."""
    where = ("--address", state.hub_address, "--port", str(state.gateway_port))
    files = ("--files", str(layout.directory / "gateway"))
    kubeconfig = str(layout.kubeconfig_of("hub"))
    return ProcessSpec(
        name="gateway",
        argv=[*_fleetadm(), "gateway", "run", "--kubeconfig", kubeconfig, *where, *files],
        stage=AGENT,
    )


def agent(layout: Layout, state: FleetState, cluster: ClusterState) -> ProcessSpec:
    """What `fleetadm agent run` is anywhere."""
    return ProcessSpec(
        name=f"{cluster.name}-agent",
        argv=[
            *(*_fleetadm(), "agent", "run", "--hub-kubeconfig", str(layout.bootstrap())),
            *("--spoke-kubeconfig", str(layout.kubeconfig_of(cluster.name))),
            *("--cluster-name", cluster.name),
        ],
        imports=["addon_framework.spoke.run"],
        network=_network(state, cluster),
        stage=AGENT,
    )


def _fleetadm() -> list[str]:
    return [sys.executable, "-m", "addon_framework.cli.main"]


def _network(state: FleetState, cluster: ClusterState | None) -> str:
    return network.namespace(state, cluster) if cluster is not None and state.isolated else ""
