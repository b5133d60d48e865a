"""Each spoke's network namespace, and its shaped link to the hub's side.

The hub has an address on this machine's loopback, a spoke one end of a veth pair as its only way out. Pod
and service addresses are local to the namespace as a whole (a `local` route), so anything may listen on them
without being configured first, and this machine reaches them over the link. Addresses are from 198.18.0.0/15,
which is for tests of networks and routed nowhere (RFC 2544). tbf(8) shapes what flows towards the spoke.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from addon_framework.local.fleet.state import ClusterState, FleetState

MAX_SPOKES = 15
_BURST = "1mb"  # what the bucket holds; less than a hundredth of a second at 1 Gbit/s
_LATENCY = "50ms"


class NetworkError(Exception):
    """The network of a spoke cannot be made; the message has the command and its answer."""


def free_block(identity: str) -> str:
    """The first three octets' prefix ("198.18.16") of sixteen /24 networks that no interface here uses."""
    taken = {_block(address) for addresses in _addresses().values() for address in addresses}
    blocks = [f"198.{second}.{third}" for second in (18, 19) for third in range(0, 256, 16)]
    start = int(identity, 16) % len(blocks)
    for block in blocks[start:] + blocks[:start]:
        if block not in taken:
            return block
    raise NetworkError("all networks of 198.18.0.0/15 are taken; delete fleets that are no longer used")


def loopback_blocks(identity: str) -> Iterator[str]:
    """For a fleet without namespaces of its own: addresses of this machine's loopback, 127.0.0.0/8."""
    first = int(identity, 16)
    for offset in range(250):
        yield f"127.{2 + (first + offset) % 250}.0"


def block_of(state: FleetState) -> str:
    """The block that a fleet was given."""
    return _block(state.hub_services.split("/")[0])


def hub_address(block: str) -> str:
    """Where the hub, the store and the gateway listen."""
    return _network(block, 0) + ".1"


def spoke_address(block: str, index: int) -> str:
    """A spoke's own end of its link; `.1` is this machine's."""
    return _network(block, index) + ".2"


def services(block: str, index: int) -> str:
    """Where the cluster IPs come from."""
    return _network(block, index) + ".64/26"


def pods(block: str, index: int) -> str:
    """Where the pod IPs come from."""
    return _network(block, index) + ".128/25"


def namespace(state: FleetState, cluster: ClusterState) -> str:
    """The name of a spoke's network namespace, as `ip netns` has it."""
    return f"boundaryless-{state.id}-{cluster.name}"


def interface(state: FleetState, cluster: ClusterState) -> str:
    """This machine's end of a spoke's link; at most 15 characters."""
    return f"bl{state.id}-{cluster.name.removeprefix('cluster')}"


def up(state: FleetState) -> None:
    """Makes what is missing. Raises NetworkError."""
    addresses = _addresses()
    if state.hub_address not in addresses.get("lo", ()):
        _ip("address", "add", f"{state.hub_address}/32", "dev", "lo")
    existing = {entry["name"] for entry in json.loads(_ip("-json", "netns", "list") or "[]")}
    for cluster in state.clusters:
        connected = _gateway(cluster) in addresses.get(interface(state, cluster), ())
        if not connected or namespace(state, cluster) not in existing:
            # Of a fleet whose directory was removed without `down`, it would have that fleet's addresses.
            _disconnect(state, cluster)
            _connect(state, cluster)
        _shape(interface(state, cluster), state.link)


def down(state: FleetState) -> None:
    """Removes all of it; what is gone already is fine."""
    for cluster in state.clusters:
        _disconnect(state, cluster)
    release(state)


def release(state: FleetState) -> None:
    """Removes the hub's address alone; the rest has names that depend on the fleet's directory only."""
    _try("address", "delete", f"{state.hub_address}/32", "dev", "lo")


def valid_rate(text: str) -> bool:
    """Whether tc would take it as a rate in bits, such as 1gbit or 500mbit; or "none"."""
    return text == "none" or re.fullmatch(r"\d+(\.\d+)?[kmgt]?bit", text) is not None


def _connect(state: FleetState, cluster: ClusterState) -> None:
    name, outside, ours = namespace(state, cluster), interface(state, cluster), _gateway(cluster)
    _ip("netns", "add", name)
    _ip("link", "add", outside, "type", "veth", "peer", "name", "eth0", "netns", name)
    _ip("address", "add", f"{ours}/24", "dev", outside)
    _ip("link", "set", outside, "up")
    inside = ("-netns", name)
    _ip(*inside, "link", "set", "lo", "up")
    _ip(*inside, "address", "add", f"{cluster.address}/24", "dev", "eth0")
    _ip(*inside, "link", "set", "eth0", "up")
    _ip(*inside, "route", "add", "default", "via", ours)
    for local in (cluster.services, cluster.pods):
        _ip(*inside, "route", "add", "local", local, "dev", "lo")


def _disconnect(state: FleetState, cluster: ClusterState) -> None:
    _try("link", "delete", interface(state, cluster))
    _try("netns", "delete", namespace(state, cluster))


def _gateway(cluster: ClusterState) -> str:
    return cluster.address.rpartition(".")[0] + ".1"


def _shape(interface: str, rate: str) -> None:
    if rate == "none":
        _run("tc", "qdisc", "del", "dev", interface, "root", check=False)
        return
    shape = ("tbf", "rate", rate, "burst", _BURST, "latency", _LATENCY)
    _run("tc", "qdisc", "replace", "dev", interface, "root", *shape)


def _addresses() -> dict[str, list[str]]:
    """This machine's, by interface."""
    found = json.loads(_ip("-json", "-4", "address"))
    return {each["ifname"]: [address["local"] for address in each["addr_info"]] for each in found}


def _block(address: str) -> str:
    first, second, third, _ = address.split(".")
    return f"{first}.{second}.{int(third) // 16 * 16}"


def _network(block: str, index: int) -> str:
    first, second, third = block.split(".")
    return f"{first}.{second}.{int(third) + index}"


def _ip(*arguments: str) -> str:
    return _run("ip", *arguments)


def _try(*arguments: str) -> None:
    _run("ip", *arguments, check=False)


def _run(program: str, *arguments: str, check: bool = True) -> str:
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
    if path is None:
        raise NetworkError(f"{program} is not installed; install it: apt-get install iproute2")
    done = subprocess.run([path, *arguments], capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise NetworkError(f"{program} {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout
