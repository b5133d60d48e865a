"""What a fleet is: its clusters, addresses and ports, kept in `fleet.json`; and where its files lie."""

from __future__ import annotations

import hashlib
import secrets
import socket
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from addon_framework.local.fleet import network
from addon_framework.local.private import write_private

REGIONS = ("us-east-1", "eu-west-1", "ap-southeast-1", "us-west-2", "sa-east-1")
API_PORT = 6443
_ANY = "0.0.0.0"


class FleetError(Exception):
    """The fleet cannot be brought up or changed as asked; the message says what to do."""


class FleetOptions(msgspec.Struct, frozen=True):
    """How to make a fleet. `gpus` per spoke in order, none beyond; `link` as tc writes rates, or none."""

    spokes: int = 2
    gpus: Sequence[int] = (4, 1)
    regions: Sequence[str] = REGIONS
    link: str = "1gbit"
    isolated: bool = True


class ClusterState(msgspec.Struct, frozen=True):
    """One spoke: its API server at `address:port`, networks of pods and services."""

    name: str
    address: str
    port: int
    pods: str
    services: str
    region: str
    gpus: int


class StoreState(msgspec.Struct, frozen=True):
    """The S3 server's ports and keys."""

    s3: int
    master: int
    volume: int
    filer: int
    admin: int
    access_key: str
    secret_key: str


class FleetState(msgspec.Struct, frozen=True):
    """`fleet.json`. `isolated`: each spoke has a network namespace behind a link of rate `link`."""

    id: str
    isolated: bool
    link: str
    hub_address: str
    hub_port: int
    hub_services: str
    gateway_port: int
    store: StoreState
    clusters: list[ClusterState]

    @property
    def store_endpoint(self) -> str:
        """The S3 server's URL."""
        return f"http://{self.hub_address}:{self.store.s3}"


class Layout:
    """The files of a fleet below its directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory.resolve()
        self.state = self.directory / "fleet.json"
        self.kubeconfig = self.directory / "kubeconfig"
        self.hub = self.directory / "hub"
        self.store = self.directory / "store"
        self.store_keys = self.directory / "store.env"
        self.logs = self.directory / "logs"
        self.run = self.directory / "run"
        self.processes = self.run / "processes.json"
        self.lock = self.run / "supervisor.pid"
        self.status = self.run / "status.json"

    def cluster(self, name: str) -> Path:
        """Of one spoke: its API server's data, certificates and kubeconfig."""
        return self.directory / "clusters" / name

    def kubeconfig_of(self, name: str) -> Path:
        """The administrator's kubeconfig of `hub` or of a spoke."""
        return (self.hub if name == "hub" else self.cluster(name)) / "admin.kubeconfig"

    def bootstrap(self) -> Path:
        """The kubeconfig with which spokes ask to join."""
        return self.hub / "bootstrap.kubeconfig"

    def load(self) -> FleetState | None:
        """The fleet that is there, or None."""
        try:
            return msgspec.json.decode(self.state.read_bytes(), type=FleetState)
        except FileNotFoundError:
            return None
        except msgspec.DecodeError as error:
            raise FleetError(
                f"{self.state} is damaged ({error}); `fleetadm delete --dir {self.directory}` removes it"
            ) from None

    def save(self, state: FleetState) -> None:
        """Writes `fleet.json`, for its owner only: it holds the store's keys."""
        for directory in (self.directory, self.run, self.logs, self.store, self.hub):
            directory.mkdir(parents=True, exist_ok=True)
        self.directory.chmod(0o700)
        write_private(self.state, msgspec.json.format(msgspec.json.encode(state), indent=2))


def create(layout: Layout, options: FleetOptions) -> FleetState:
    """A new fleet's state. Raises FleetError."""
    identity = hashlib.sha256(str(layout.directory).encode()).hexdigest()[:5]
    block = network.free_block(identity) if options.isolated else _loopback_block(identity)
    hub_address = network.hub_address(block)
    store, gateway = _ports()
    state = FleetState(
        id=identity,
        isolated=options.isolated,
        link=options.link if options.isolated else "none",
        hub_address=hub_address,
        hub_port=API_PORT,
        hub_services=network.services(block, 0),
        gateway_port=gateway,
        store=store,
        clusters=[],
    )
    return extend(state, block, options)


def extend(state: FleetState, block: str, options: FleetOptions) -> FleetState:
    """The same fleet with as many spokes as asked for. Raises FleetError when that is fewer, or too many."""
    have, wanted = len(state.clusters), options.spokes
    if wanted < have:
        raise FleetError(
            f"the fleet has {have} spokes; it can grow but not shrink to {wanted}. `fleetadm delete` first"
        )
    if wanted > network.MAX_SPOKES:
        raise FleetError(f"--spokes {wanted}: a fleet on one machine has at most {network.MAX_SPOKES}")
    clusters = list(state.clusters)
    for index in range(have + 1, wanted + 1):
        clusters.append(
            ClusterState(
                name=f"cluster{index}",
                address=network.spoke_address(block, index),
                port=API_PORT,
                pods=network.pods(block, index),
                services=network.services(block, index),
                region=options.regions[(index - 1) % len(options.regions)],
                gpus=options.gpus[index - 1] if index <= len(options.gpus) else 0,
            )
        )
    return msgspec.structs.replace(state, clusters=clusters)


def _loopback_block(identity: str) -> str:
    """One whose hub nobody runs. Raises FleetError."""
    for block in network.loopback_blocks(identity):
        if _is_free(network.hub_address(block), API_PORT):
            return block
    raise FleetError(f"port {API_PORT} is taken on every address of this machine's loopback")


def _ports() -> tuple[StoreState, int]:
    """Ports of the store and of the gateway; SeaweedFS takes port + 10000 for gRPC beside each of its own.

    It starts only if they are free on every address, of other fleets' stores too.
    """
    taken: set[int] = set()
    ports = []
    for _ in range(5):
        port = _free_port(taken, pair=True)
        taken |= {port, port + 10000}
        ports.append(port)
    keys = {"access_key": secrets.token_hex(10).upper(), "secret_key": secrets.token_urlsafe(30)}
    store = StoreState(s3=ports[0], master=ports[1], volume=ports[2], filer=ports[3], admin=ports[4], **keys)
    return store, _free_port(taken)


def _free_port(taken: Iterable[int], *, pair: bool = False) -> int:
    """A port nobody listens on now, below those that the kernel hands out by itself."""
    used = set(taken)
    while True:
        port = 10000 + secrets.randbelow(12000)
        wanted = {port, port + 10000} if pair else {port}
        if not wanted & used and all(_is_free(_ANY, number) for number in wanted):
            return port


def _is_free(address: str, port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True
