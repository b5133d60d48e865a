"""Brings a fleet up, down, and away.

The library knows no hub and no spoke agents: it starts API servers, nodes and the store, and then whatever
processes its caller adds.
"""

from __future__ import annotations

import asyncio
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import msgspec
import yaml

from addon_framework.api.cluster import ClusterClaim
from addon_framework.api.core import SECRETS
from addon_framework.api.crd import load_crds
from addon_framework.kube import Client, ConfigError, Unreachable, apply_crds, until_reached
from addon_framework.local.fleet import network, processes, programs
from addon_framework.local.fleet.images import images
from addon_framework.local.fleet.network import NetworkError
from addon_framework.local.fleet.state import (
    ClusterState,
    FleetError,
    FleetOptions,
    FleetState,
    Layout,
    create,
    extend,
)
from addon_framework.local.fleet.supervisor import ProcessSpec, ProcessStatus, hold
from addon_framework.local.node.config import NodeConfig
from addon_framework.local.pki import Authority
from addon_framework.local.private import write_private

READY_TIMEOUT = 60.0
_PROBE = 0.02
_MANAGER = "boundaryless-fleet"
STORE_SECRET = "object-store"
_REGION_CLAIM = "region.open-cluster-management.io"
# A TLS connection has a buffer of 256 KiB (uvloop's), of which it touches a little: so it stays, as long as
# glibc gives such a buffer pages of its own. By itself it ceases to after the first that was freed.
_MALLOC = {"MALLOC_MMAP_THRESHOLD_": str(128 * 1024)}

Say = Callable[[str], None]


class Fleet:
    """The fleet in a directory, there or not."""

    def __init__(self, directory: Path) -> None:
        self.layout = Layout(directory)

    @property
    def state(self) -> FleetState:
        """Raises FleetError when there is no fleet."""
        state = self.layout.load()
        if state is None:
            raise FleetError(
                f"there is no fleet in {self.layout.directory}; make one: "
                f"fleetadm up --dir {self.layout.directory}"
            )
        return state

    @property
    def running(self) -> bool:
        """Whether its supervisor is alive."""
        return self._supervisor() is not None

    def statuses(self) -> dict[str, ProcessStatus]:
        """Of every process, by name; empty while the fleet is down."""
        try:
            return msgspec.json.decode(self.layout.status.read_bytes(), type=dict[str, ProcessStatus])
        except FileNotFoundError:
            return {}

    def unsteady(self) -> list[str]:
        """Processes that had to be started again, each with its last words."""
        return [
            f"{name} was started {status.starts} times; it said last: {self._last_words(name)}"
            for name, status in self.statuses().items()
            if status.starts > 1
        ]

    def client(self, name: str) -> Client:
        """A client with all rights to `hub` or to a spoke."""
        return Client.from_kubeconfig(self.layout.kubeconfig_of(name))

    async def start(self, options: FleetOptions, say: Say) -> FleetState:
        """API servers, nodes and the store; returns when they answer. Raises FleetError. Safe to repeat."""
        self._check(options)
        state = self.layout.load()
        state = create(self.layout, options) if state is None else self._grown(state, options)
        self.layout.save(state)
        if state.isolated:
            try:
                network.up(state)
            except NetworkError as error:
                raise FleetError(str(error)) from None
        for cluster in state.clusters:
            self.layout.cluster(cluster.name).mkdir(parents=True, exist_ok=True)
        servers = [processes.api_server(self.layout, state, c) for c in (None, *state.clusters)]
        self._supervise([*servers, processes.store(self.layout, state)])
        await asyncio.gather(*(self._api_ready(name) for name in self._names(state)))
        self._write_kubeconfig(state)
        for cluster in state.clusters:
            self._write_node(cluster)
        say(f"API servers of {', '.join(self._names(state))} answer; contexts in {self.layout.kubeconfig}")
        self._supervise([processes.node(self.layout, state, cluster) for cluster in state.clusters])
        claims = [
            until_reached(partial(self._claim, cluster), timeout=READY_TIMEOUT) for cluster in state.clusters
        ]
        await asyncio.gather(self._store_ready(state), self._tell_keys(state), *claims)
        say(f"Object store at {state.store_endpoint}, keys in {self.layout.store_keys}; nodes register")
        return state

    def add(self, specs: Sequence[ProcessSpec]) -> None:
        """More processes, kept running with the fleet."""
        self._supervise(specs)

    def stop(self) -> None:
        """Ends all processes, in order, and removes the network; data stays."""
        self._end_supervisor()
        state = self.layout.load()
        if state is not None:
            for path in processes.sockets(state):
                path.unlink(missing_ok=True)
            if state.isolated:
                network.down(state)
        self.layout.processes.unlink(missing_ok=True)
        self.layout.status.unlink(missing_ok=True)

    def delete(self) -> None:
        """Stops it and removes its directory. Raises FleetError for a directory that is no fleet's."""
        if not self.layout.directory.exists():
            return
        if not self.layout.state.exists():
            raise FleetError(f"{self.layout.directory} is not a fleet's directory: it has no fleet.json")
        self.stop()
        shutil.rmtree(self.layout.directory)

    def _last_words(self, name: str) -> str:
        lines = (self.layout.logs / f"{name}.log").read_text(errors="replace").splitlines()
        return next((line for line in reversed(lines) if line and " supervisor: " not in line), "nothing")

    # Parts of the start

    def _check(self, options: FleetOptions) -> None:
        if options.isolated and os.geteuid() != 0:
            raise FleetError("network namespaces need root; without it start the fleet with --link none")
        if not network.valid_rate(options.link):
            raise FleetError(f"--link {options.link}: not a rate such as 1gbit or 500mbit, nor none")
        programs.require(["bwrap", "nsenter", "setpriv", "unshare", "weed"])
        if options.isolated:
            programs.require(["ip", "tc"])

    def _grown(self, state: FleetState, options: FleetOptions) -> FleetState:
        if state.isolated != options.isolated:
            how = "with" if state.isolated else "without"
            raise FleetError(
                f"the fleet in {self.layout.directory} was made {how} network namespaces, and that cannot "
                f"change; delete it first: fleetadm delete --dir {self.layout.directory}"
            )
        state = extend(state, network.block_of(state), options)
        return msgspec.structs.replace(state, link=options.link if state.isolated else "none")

    def _names(self, state: FleetState) -> list[str]:
        return ["hub", *(cluster.name for cluster in state.clusters)]

    def _write_node(self, cluster: ClusterState) -> None:
        directory = self.layout.cluster(cluster.name)
        pki = directory / "pki"
        if not (pki / "kubelet.crt").exists():
            name = f"{cluster.name}-node"
            pair = Authority.load(pki).issue(name, usage="server auth", addresses=[name, cluster.address])
            write_private(pki / "kubelet.key", pair.key)
            (pki / "kubelet.crt").write_bytes(pair.cert)
        config = NodeConfig(
            address=cluster.address,
            addresses=cluster.pods,
            capacity={"nvidia.com/gpu": str(cluster.gpus)} if cluster.gpus else {},
            labels={"topology.kubernetes.io/region": cluster.region},
            images=images(),
            hidden=[str(self.layout.directory)],
            certificate=str(pki / "kubelet.crt"),
            key=str(pki / "kubelet.key"),
            client_ca=str(pki / "ca.crt"),
        )
        (directory / "node.json").write_bytes(msgspec.json.format(msgspec.json.encode(config), indent=2))

    def _write_kubeconfig(self, state: FleetState) -> None:
        """One file with a context for each cluster."""
        merged: dict[str, object] = {"apiVersion": "v1", "kind": "Config", "current-context": "hub"}
        parts = [yaml.safe_load(self.layout.kubeconfig_of(name).read_bytes()) for name in self._names(state)]
        for section in ("clusters", "users", "contexts"):
            merged[section] = [entry for part in parts for entry in part[section]]
        write_private(self.layout.kubeconfig, yaml.safe_dump(merged, sort_keys=False).encode())

    async def _claim(self, cluster: ClusterState) -> None:
        """A spoke says where it is."""
        async with self.client(cluster.name) as client:
            crds = [c for c in load_crds("spoke") if c["metadata"]["name"].startswith("clusterclaims.")]
            await apply_crds(client, crds, field_manager=_MANAGER)
            resource = ClusterClaim.RESOURCE
            claim = {
                "apiVersion": resource.api_version,
                "kind": resource.kind,
                "metadata": {"name": _REGION_CLAIM},
                "spec": {"value": cluster.region},
            }
            await client.apply(claim, field_manager=_MANAGER, resource=resource)

    async def _tell_keys(self, state: FleetState) -> None:
        """Of the store: for S3 clients on this machine a file, for Datasets a Secret on the hub."""
        access, secret = state.store.access_key, state.store.secret_key
        variables = {
            "AWS_ACCESS_KEY_ID": access,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_ENDPOINT_URL": state.store_endpoint,
            "S3_ENDPOINT_URL": state.store_endpoint,  # s5cmd's name for it
        }
        lines = "".join(f"export {name}={value}\n" for name, value in variables.items())
        write_private(self.layout.store_keys, lines.encode())
        keys = {
            "apiVersion": SECRETS.api_version,
            "kind": SECRETS.kind,
            "metadata": {"name": STORE_SECRET, "namespace": "default"},
            "stringData": {"accessKeyId": access, "secretAccessKey": secret},
        }
        async with self.client("hub") as client:
            await until_reached(lambda: client.apply(keys, field_manager=_MANAGER), timeout=READY_TIMEOUT)

    async def _api_ready(self, name: str) -> None:
        deadline = time.monotonic() + READY_TIMEOUT
        while True:
            try:
                async with self.client(name) as client:
                    await client.text("/readyz")
                    return
            except (Unreachable, ConfigError) as error:  # a kubeconfig is written when the server starts
                self._raise_if_late(deadline, f"{name}-apiserver", error)
            await asyncio.sleep(_PROBE)

    async def _store_ready(self, state: FleetState) -> None:
        deadline = time.monotonic() + READY_TIMEOUT
        while True:
            try:
                _, writer = await asyncio.open_connection(state.hub_address, state.store.s3)
            except OSError as error:
                self._raise_if_late(deadline, "store", error)
                await asyncio.sleep(_PROBE)
            else:
                writer.close()
                return

    def _raise_if_late(self, deadline: float, name: str, error: Exception) -> None:
        if not self.running or time.monotonic() > deadline:
            log = self.layout.logs / f"{name}.log"
            tail = log.read_text(errors="replace")[-1500:] if log.exists() else ""
            raise FleetError(f"{name} does not answer ({error}); its log {log} ends with:\n{tail}") from None

    # The supervisor

    def _supervisor(self) -> int | None:
        """Its pid, or None when none is alive."""
        if not self.layout.lock.exists():
            return None
        lock = hold(self.layout)
        if lock is not None:
            lock.close()
            return None
        text = self.layout.lock.read_text()
        return int(text) if text else None

    def _supervise(self, specs: Sequence[ProcessSpec]) -> None:
        """Adds processes to those that the supervisor runs; starts it when there is none."""
        pid = self._supervisor()
        known = {}
        if pid is not None:
            known = {
                spec.name: spec
                for spec in msgspec.json.decode(self.layout.processes.read_bytes(), type=list[ProcessSpec])
            }
        wanted = known | {spec.name: spec for spec in specs}
        write_private(self.layout.processes, msgspec.json.encode(list(wanted.values())))
        if pid is not None:
            os.kill(pid, signal.SIGHUP)
            return
        with (self.layout.logs / "supervisor.log").open("ab") as log:
            command = [sys.executable, "-m", "addon_framework.local.fleet"]
            process = subprocess.Popen(
                [*command, "--dir", str(self.layout.directory)],
                env={**os.environ, **_MALLOC},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd="/",
            )
        deadline = time.monotonic() + READY_TIMEOUT
        while self._supervisor() is None:
            self._raise_if_gone(process, deadline)
            time.sleep(_PROBE)

    def _raise_if_gone(self, process: subprocess.Popen[bytes], deadline: float) -> None:
        if process.poll() is not None or time.monotonic() > deadline:
            log = self.layout.logs / "supervisor.log"
            tail = log.read_text(errors="replace")[-1500:]
            raise FleetError(f"the supervisor does not start; its log {log} ends with:\n{tail}")

    def _end_supervisor(self) -> None:
        pid = self._supervisor()
        if pid is None:
            return
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        try:
            os.kill(pid, signal.SIGTERM)
            ended, _, _ = select.select([descriptor], [], [], READY_TIMEOUT + processes.NODE_GRACE)
            if not ended:
                os.kill(pid, signal.SIGKILL)  # its children go with it
                select.select([descriptor], [], [])
        finally:
            os.close(descriptor)
