"""What is used of a quota: the sum over what is there, never more than is allowed."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from addon_framework.api.meta import Json
from addon_framework.local.amounts import Amount, of_pod, written
from addon_framework.local.apiserver.admission import Admission
from addon_framework.local.apiserver.controllers.quotas import QuotaController
from addon_framework.local.apiserver.hooks import HookClient
from addon_framework.local.apiserver.objects import Objects
from addon_framework.local.apiserver.policies import Policies
from addon_framework.local.apiserver.quotas import counted, in_scope, usage
from addon_framework.local.apiserver.rbac import Authorizer
from addon_framework.local.apiserver.registry import Registry
from addon_framework.local.apiserver.status import StatusError
from addon_framework.local.apiserver.store import Store
from addon_framework.local.apiserver.system import SYSTEM
from addon_framework.local.apiserver.webhooks import Webhooks
from addon_framework.local.apiserver.write import Write

HARD = {"pods": "3", "requests.cpu": "1", "limits.memory": "1Gi", "count/pods": "4"}
QUOTA = ("default", "quota")


class World:
    """A store with a quota, and the controller."""

    def __init__(self) -> None:
        self.store, self.registry = Store(":memory:"), Registry.builtin()
        authorizer = Authorizer(self.store)
        admission = Admission(self.store, authorizer, "127.1.0.0/24")
        webhooks = Webhooks(self.store, HookClient(self.store), Policies(self.store, authorizer))
        self.objects = Objects(self.store, admission, webhooks)
        self.controller = QuotaController(self.store, self.registry, self.objects)
        self.objects.create(self.write("namespaces"), {"metadata": {"name": "default"}})
        account = {"metadata": {"name": "default"}}
        self.objects.create(self.write("serviceaccounts", namespace="default"), account)
        body = {"metadata": {"name": "quota"}, "spec": {"hard": HARD}}
        self.objects.create(self.write("resourcequotas", namespace="default"), body)
        self.controller.sync(QUOTA)

    def write(self, plural: str, name: str = "", namespace: str = "", subresource: str = "") -> Write:
        kind = self.registry.kinds["", plural]
        return Write(SYSTEM, kind, kind.versions[0], namespace, name, subresource)

    def pod(self, name: str, subresource: str = "") -> Write:
        return self.write("pods", name, "default", subresource)

    @property
    def quota(self) -> Json:
        found = self.store.get("resourcequotas", QUOTA)
        assert found is not None
        return found

    def used(self) -> dict[str, Decimal]:
        return {name: Amount.of(text).value for name, text in self.quota["status"]["used"].items()}

    def sums(self) -> dict[str, Decimal]:
        """Over all pods, added up the plain way."""
        found = dict.fromkeys(HARD, Decimal(0))
        for pod in self.store.list("pods"):
            found["count/pods"] += 1
            if pod["status"].get("phase") == "Succeeded":
                continue
            resources = pod["spec"]["containers"][0]["resources"]
            found["pods"] += 1
            found["requests.cpu"] += Amount.of(resources["requests"]["cpu"]).value
            found["limits.memory"] += Amount.of(resources["limits"]["memory"]).value
        return found


CREATE = st.tuples(
    st.just("create"), st.sampled_from("abcdef"), st.sampled_from(["100m", "0.35", "1", "1001m", "0"]),
    st.sampled_from(["64Mi", "100M", "0.5Gi", "1Gi", "1073741825"]),
)  # fmt: skip
CHANGE = st.tuples(st.sampled_from(["delete", "end", "recount"]), st.sampled_from("abcdef"))


def act(world: World, step: tuple[str, ...]) -> None:
    match step:
        case ("create", name, cpu, memory):
            resources = {"requests": {"cpu": cpu, "memory": "1"}, "limits": {"memory": memory}}
            spec = {"containers": [{"name": "c", "image": "i", "resources": resources}]}
            world.objects.create(world.pod(""), {"metadata": {"name": name}, "spec": spec})
        case ("delete", name):
            world.objects.delete(world.pod(name), {})
        case ("end", name):
            ended = {"status": {"phase": "Succeeded"}}
            world.objects.patch(world.pod(name, "status"), "application/merge-patch+json", ended)
        case _:
            world.controller.sync(QUOTA)


def refused(world: World, step: tuple[str, ...]) -> bool:
    try:
        act(world, step)
    except StatusError:
        return True
    return False


@settings(max_examples=50, deadline=None)
@given(st.lists(CREATE | CHANGE, max_size=25))
def test_used_is_the_sum_and_never_above_hard(steps: list[tuple[str, ...]]) -> None:
    world = World()
    hard = {name: Amount.of(text).value for name, text in HARD.items()}
    for step in steps:
        before = world.store.version
        if refused(world, step):
            assert world.store.version == before, "what is refused writes nothing"
        used, there = world.used(), world.sums()
        assert all(there[name] <= used[name] <= hard[name] for name in HARD)
    world.controller.sync(QUOTA)
    assert world.used() == world.sums()
    version = world.store.version
    world.controller.sync(QUOTA)
    assert world.store.version == version, "what is true is not written again"


def test_a_charge_for_what_was_never_stored_is_given_back() -> None:
    world = World()
    charged = {**world.quota, "status": {"hard": HARD, "used": dict.fromkeys(HARD, "1")}}
    world.store.put("resourcequotas", QUOTA, charged)
    world.controller.sync(QUOTA)
    assert world.quota["status"]["used"] == dict.fromkeys(HARD, "0")


@pytest.mark.parametrize(
    ("name", "resource"),
    [
        ("pods", "pods"), ("cpu", "pods"), ("limits.memory", "pods"), ("requests.ephemeral-storage", "pods"),
        ("hugepages-2Mi", "pods"), ("requests.hugepages-2Mi", "pods"), ("limits.hugepages-2Mi", ""),
        ("requests.nvidia.com/gpu", "pods"), ("nvidia.com/gpu", ""), ("limits.nvidia.com/gpu", ""),
        ("requests.x.kubernetes.io/y", ""), ("requests.storage", "persistentvolumeclaims"),
        ("gold.storageclass.storage.k8s.io/requests.storage", "persistentvolumeclaims"),
        ("gold.storageclass.storage.k8s.io/pods", ""), ("services.nodeports", "services"),
        ("services.others", ""), ("secrets", "secrets"), ("count/widgets.example.com", "widgets.example.com"),
        ("count/events", ""), ("storage", ""),
    ],
)  # fmt: skip
def test_names_in_quotas(name: str, resource: str) -> None:
    assert counted(name) == resource


def _container(cpu: str, **more: Any) -> Json:
    return {"name": "c", "resources": {"requests": {"cpu": cpu}}, **more}


def test_a_pod_asks_for_its_containers_or_for_the_largest_init_container() -> None:
    sidecar = _container("100m", restartPolicy="Always")
    spec: Json = {"containers": [_container("200m")], "initContainers": [sidecar, _container("0.5")]}
    assert written(of_pod(spec, "requests")) == {"cpu": "600m"}
    spec["initContainers"].reverse()
    assert written(of_pod(spec, "requests")) == {"cpu": "500m"}
    spec["resources"] = {"requests": {"cpu": "2"}}
    assert written(of_pod(spec, "requests")) == {"cpu": "2"}
    overhead = {"spec": {**spec, "overhead": {"cpu": "250m", "memory": "1Mi"}}}
    used = written(usage("pods", overhead))
    assert used == {
        "count/pods": "1", "pods": "1", "cpu": "2250m", "requests.cpu": "2250m",
        "memory": "1Mi", "requests.memory": "1Mi",
    }  # fmt: skip


def test_amounts_are_written_as_the_first_that_is_not_zero() -> None:
    zero, binary, decimal = Amount(), Amount.of("1Gi"), Amount.of("1G")
    assert str(zero + binary) == "1Gi"
    assert str(binary + Amount.of("512Mi")) == "1536Mi"
    assert str(decimal + Amount.of("500M")) == "1500M"


def test_claims_are_in_the_scope_of_their_attributes() -> None:
    selector = {"scopeName": "VolumeAttributesClass", "operator": "In", "values": ["fast"]}
    quota = {"spec": {"scopeSelector": {"matchExpressions": [selector]}}}
    claims = "persistentvolumeclaims"
    assert in_scope(quota, claims, {"spec": {"volumeAttributesClassName": "fast"}})
    assert in_scope(quota, claims, {"spec": {}, "status": {"currentVolumeAttributesClassName": "fast"}})
    assert not in_scope(quota, claims, {"spec": {"volumeAttributesClassName": "slow"}})
    assert not in_scope(quota, "pods", {"spec": {}})
