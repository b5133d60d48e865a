"""Nodes that fall silent, their taints, and the pods that have to go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from addon_framework.api.conditions import get_condition, is_true
from addon_framework.api.meta import Json
from addon_framework.local.apiserver.admission import Admission
from addon_framework.local.apiserver.controllers.nodes import GRACE, NodeLifecycle
from addon_framework.local.apiserver.hooks import HookClient
from addon_framework.local.apiserver.objects import Objects
from addon_framework.local.apiserver.policies import Policies
from addon_framework.local.apiserver.rbac import Authorizer
from addon_framework.local.apiserver.registry import Registry
from addon_framework.local.apiserver.store import Store
from addon_framework.local.apiserver.system import SYSTEM
from addon_framework.local.apiserver.webhooks import Webhooks
from addon_framework.local.apiserver.write import Write

UNREACHABLE = "node.kubernetes.io/unreachable"


class World:
    """A store with nodes, a clock that stands still, and the controller."""

    def __init__(self, path: Path) -> None:
        self.now = 0.0
        self.store, self.registry = Store(path), Registry.builtin()
        authorizer = Authorizer(self.store)
        admission = Admission(self.store, authorizer, "127.1.0.0/24")
        webhooks = Webhooks(self.store, HookClient(self.store), Policies(self.store, authorizer))
        self.objects = Objects(self.store, admission, webhooks)
        self.nodes = NodeLifecycle(self.store, self.registry, self.objects, clock=lambda: self.now)
        self.create("namespaces", {"metadata": {"name": "default"}})
        self.create("serviceaccounts", {"metadata": {"name": "default"}}, "default")
        for name in ("one", "two"):
            self.create("nodes", {"metadata": {"name": name}})
            self.beat(name)

    def create(self, plural: str, obj: Json, namespace: str = "") -> Json:
        kind = self.registry.kinds[("", plural)]
        return self.objects.create(Write(SYSTEM, kind, kind.versions[0], namespace), obj)

    def patch(self, plural: str, name: str, patch: Any, subresource: str = "", namespace: str = "") -> None:
        kind = self.registry.kinds[("", plural)]
        write = Write(SYSTEM, kind, kind.versions[0], namespace, name, subresource)
        self.objects.patch(write, "application/strategic-merge-patch+json", patch)

    def beat(self, name: str) -> None:
        """What a kubelet that comes back says."""
        ready = {
            "type": "Ready",
            "status": "True",
            "reason": "KubeletReady",
            "lastHeartbeatTime": _time(self.now),
        }
        self.patch("nodes", name, {"status": {"conditions": [ready]}}, "status")

    def pod(self, name: str, node: str, **spec: Any) -> None:
        spec = {"containers": [{"name": "main", "image": "x"}], "nodeName": node, **spec}
        self.create("pods", {"metadata": {"name": name}, "spec": spec}, "default")
        running = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
        self.patch("pods", name, {"status": running}, "status", "default")

    def pass_by(self, seconds: float, *beating: str) -> None:
        """Time, in which some nodes beat and all are looked at."""
        for _ in range(int(seconds)):
            self.now += 1
            for name in beating:
                self.beat(name)
            for name in ("one", "two", ""):
                self.nodes.sync(name)

    def node(self, name: str) -> Json:
        found = self.store.get("nodes", ("", name))
        assert found is not None
        return found

    def taints(self, name: str) -> set[tuple[str, str]]:
        return {(t["key"], t["effect"]) for t in self.node(name)["spec"].get("taints") or ()}

    def leaving(self, name: str) -> bool:
        pod = self.store.get("pods", ("default", name))
        return pod is None or "deletionTimestamp" in pod["metadata"]


def _time(now: float) -> str:
    return f"2026-01-01T00:{int(now) // 60:02}:{int(now) % 60:02}Z"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "store.db")


def test_a_silent_node_is_lost_and_its_pods_go_when_they_no_longer_bear_it(world: World) -> None:
    world.pod("patient", "one")  # the API server gives it five minutes
    world.pod("agent", "one", tolerations=[{"operator": "Exists"}])
    world.pass_by(GRACE - 1, "two")
    assert is_true(world.node("one"), "Ready")
    world.pass_by(3, "two")
    ready = get_condition(world.node("one"), "Ready")
    assert ready is not None
    assert (ready["status"], ready["reason"]) == ("Unknown", "NodeStatusUnknown")
    assert world.taints("one") == {(UNREACHABLE, "NoSchedule"), (UNREACHABLE, "NoExecute")}
    assert world.taints("two") == set()
    pod = world.store.get("pods", ("default", "patient"))
    assert pod is not None
    assert not is_true(pod, "Ready")
    assert not world.leaving("patient")
    world.pass_by(301, "two")
    assert world.leaving("patient")
    assert not world.leaving("agent")
    pod = world.store.get("pods", ("default", "patient"))
    assert pod is not None
    target = get_condition(pod, "DisruptionTarget")
    assert target is not None
    assert target["reason"] == "DeletionByTaintManager"


def test_a_node_that_is_back_keeps_its_pods(world: World) -> None:
    world.pod("patient", "one")
    world.pass_by(GRACE + 100, "two")
    world.pass_by(400, "one", "two")
    assert world.taints("one") == set()
    assert not world.leaving("patient")


def test_where_no_node_is_well_nobody_is_sent_away(world: World) -> None:
    world.pod("patient", "one")
    world.pass_by(GRACE + 400)
    assert world.taints("one") == {(UNREACHABLE, "NoSchedule")}
    assert not world.leaving("patient")


def test_a_taint_sends_away_who_does_not_bear_it(world: World) -> None:
    taint = {"key": "maintenance", "value": "now", "effect": "NoExecute"}
    short = {"key": "maintenance", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}
    world.pod("plain", "one")
    world.pod("short", "one", tolerations=[short])
    world.pod("elsewhere", "two")
    world.patch("nodes", "one", {"spec": {"taints": [taint]}})
    world.pass_by(1, "one", "two")
    assert (world.leaving("plain"), world.leaving("short")) == (True, False)
    world.pass_by(6, "one", "two")
    assert (world.leaving("short"), world.leaving("elsewhere")) == (True, False)
    assert world.taints("one") == {("maintenance", "NoExecute")}


def test_a_cordoned_node_and_one_under_pressure_say_so_by_taints(world: World) -> None:
    world.patch("nodes", "one", {"spec": {"unschedulable": True}})
    pressed = {"status": {"conditions": [{"type": "MemoryPressure", "status": "True"}]}}
    world.patch("nodes", "two", pressed, "status")
    world.pass_by(1, "one", "two")
    assert world.taints("one") == {("node.kubernetes.io/unschedulable", "NoSchedule")}
    assert world.taints("two") == {("node.kubernetes.io/memory-pressure", "NoSchedule")}
    world.patch("nodes", "one", {"spec": {"unschedulable": None}})
    world.pass_by(1, "one", "two")
    assert world.taints("one") == set()


def test_pods_of_a_node_that_is_gone_go_too(world: World) -> None:
    world.pod("orphan", "one")
    world.store.remove("nodes", ("", "one"))
    world.pass_by(30, "two")
    assert not world.leaving("orphan")
    world.pass_by(20, "two")
    assert world.store.get("pods", ("default", "orphan")) is None
