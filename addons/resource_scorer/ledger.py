"""What is free on the nodes, kept current event by event: a pod that comes or goes is one addition."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from addon_framework.api.quantity import parse_quantity
from addon_framework.kube.key import Key
from addons.resource_scorer.views import Container, Node, Pod, Quantities

_POD_LEVEL = ("cpu", "memory")  # what a pod may ask for as a whole, instead of by container


class Free(NamedTuple):
    """Of one family of resources, in its own unit (cores, bytes, devices)."""

    node: float  # on the single node that has most
    cluster: float  # on all nodes


class Share(NamedTuple):
    """Of one family of resources, from 0 to 1 and more."""

    node: float  # on the node that uses least
    cluster: float  # on all nodes


class Ledger:
    """Allocatable less requests of every schedulable node, by family of resource names.

    Counts in thousandths as whole numbers, so that no sequence of events leaves a rest behind.
    """

    def __init__(self, families: Mapping[str, Sequence[str]]) -> None:
        self._families = {family: tuple(names) for family, names in families.items()}
        self._zero = (0,) * len(self._families)
        self._allocatable: dict[str, tuple[int, ...]] = {}
        self._requested: dict[str, tuple[int, ...]] = {}
        self._pods: dict[Key, tuple[str, tuple[int, ...]]] = {}
        self._devices: dict[str, tuple[int, ...]] = {}
        self._free: dict[str, tuple[int, ...]] = {}
        self._total = self._zero

    def set_node(self, name: str, node: Node | None) -> bool:
        """Takes in a node as it is now, or that it is gone; whether this changed what is free."""
        if node is None or not node.schedulable:
            self._allocatable.pop(name, None)
        else:
            self._allocatable[name] = self._fold(milli(node.status.allocatable or {}))
        return self._settle(name)

    def set_pod(self, key: Key, pod: Pod | None) -> bool:
        """Takes in a pod as it is now, or that it is gone; whether this changed what is free."""
        before = self._pods.pop(key, None)
        after = (pod.node, self._fold(pod_requests(pod))) if pod is not None and pod.node else None
        if after is not None:
            self._pods[key] = after
        if before == after:
            return False
        changed = False
        if before is not None:
            self._request(before[0], tuple(-amount for amount in before[1]))
            changed = self._settle(before[0])
        if after is not None:
            self._request(*after)
            changed = self._settle(after[0]) or changed
        return changed

    def set_devices(self, node: str, free: Mapping[str, int]) -> bool:
        """Takes in the free devices of a node by family; "" is what nodes share. whether this changed."""
        self._devices[node] = tuple(1000 * free.get(family, 0) for family in self._families)
        return self._settle(node)

    def used(self, usage: Mapping[str, Mapping[str, int]]) -> dict[str, Share]:
        """Which part of what they have is in use on the nodes that take pods, given what is used of it."""
        shares: dict[str, Share] = {}
        nodes = [node for node in self._allocatable if node in usage]
        amounts = {node: self._fold(usage[node]) for node in nodes}
        for index, family in enumerate(self._families):
            pairs = [(amounts[node][index], self._allocatable[node][index]) for node in nodes]
            pairs = [(used, has) for used, has in pairs if has]
            if pairs and any(set(self._families[family]) & usage[node].keys() for node in nodes):
                node = min(used / has for used, has in pairs)
                shares[family] = Share(node, sum(u for u, _ in pairs) / sum(h for _, h in pairs))
        return shares

    def free(self) -> dict[str, Free]:
        """What is free now, by family."""
        largest = [max(amounts) for amounts in zip(*self._free.values(), strict=True)] or self._zero
        return {
            family: Free(largest[index] / 1000, self._total[index] / 1000)
            for index, family in enumerate(self._families)
        }

    def _request(self, node: str, amounts: tuple[int, ...]) -> None:
        now = _add(self._requested.get(node, self._zero), amounts)
        if any(now):
            self._requested[node] = now
        else:
            self._requested.pop(node, None)

    def _settle(self, node: str) -> bool:
        """Brings what is free on one node, and the total, up to date."""
        before = self._free.get(node, self._zero)
        has, wants = self._allocatable.get(node, self._zero), self._requested.get(node, self._zero)
        # A node can be asked for more than it has (static pods, a kubelet that shrank): nothing is free then.
        after = tuple(max(0, a - r) for a, r in zip(has, wants, strict=True))
        if node in self._devices and (node in self._allocatable or not node):
            after = _add(after, self._devices[node])
        if before == after:
            return False
        self._total = _add(self._total, tuple(a - b for a, b in zip(after, before, strict=True)))
        if any(after):
            self._free[node] = after
        else:
            self._free.pop(node, None)
        return True

    def _fold(self, amounts: Mapping[str, int]) -> tuple[int, ...]:
        return tuple(sum(amounts.get(name, 0) for name in names) for names in self._families.values())


def pod_requests(pod: Pod) -> dict[str, int]:
    """What the scheduler counts for a pod, in thousandths.

    The containers and sidecars together, or the most that its init containers need at one time, if that is
    more; requests of the pod as a whole instead of those; and the overhead of its sandbox.
    https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/#resource-sharing-within-containers
    """
    running: dict[str, int] = {}
    for container in pod.spec.containers:
        running = _sum(running, _container(container))
    sidecars: dict[str, int] = {}
    peak: dict[str, int] = {}
    for container in pod.spec.init_containers or []:
        moment = _sum(sidecars, _container(container))
        if container.restart_policy == "Always":
            sidecars = moment
        peak = _most(peak, moment)
    total = _most(_sum(running, sidecars), peak)
    if pod.spec.resources is not None:
        whole = milli(pod.spec.resources.wanted)
        total |= {name: whole[name] for name in _POD_LEVEL if name in whole}
    total = {name: amount for name, amount in total.items() if name not in pod.claimed}
    return _sum(total, milli(pod.spec.overhead or {}))


def _container(container: Container) -> dict[str, int]:
    return milli(container.resources.wanted) if container.resources is not None else {}


def milli(quantities: Quantities) -> dict[str, int]:
    """Rounded up, as the scheduler does."""
    return {name: math.ceil(parse_quantity(value) * 1000) for name, value in quantities.items()}


def _sum(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {name: one.get(name, 0) + other.get(name, 0) for name in one.keys() | other.keys()}


def _most(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {name: max(one.get(name, 0), other.get(name, 0)) for name in one.keys() | other.keys()}


def _add(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(a + b for a, b in zip(one, other, strict=True))
