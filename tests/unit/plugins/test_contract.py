"""The contract catches what add-on authors get wrong, each mistake by its own test."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any, ClassVar

import pytest

from addon_framework.plugins import (
    AddonDescription,
    CustomSigner,
    Lease,
    NoProbe,
    Plugins,
    Probe,
    Registration,
    Work,
    Workload,
    agent_manifests,
    hookimpl,
)
from addon_framework.testing import AddonContract

Json = dict[str, Any]
_COUNTER = count()


class Sound:
    """An add-on without fault; the others differ from it in one thing."""

    @hookimpl
    def addon_describe(self) -> AddonDescription:
        return AddonDescription(name="sound", health=Workload)

    @hookimpl
    def addon_manifests(self, values: Json) -> list[Json]:
        return agent_manifests("sound", values["install_namespace"], values["cluster_name"])


def config_map(**more: Any) -> Json:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m", "namespace": "n"}, **more}


def shipping(*objects: Json, health: Any = NoProbe) -> type:
    class Ships:
        @hookimpl
        def addon_describe(self) -> AddonDescription:
            return AddonDescription(name="sound", health=health)

        @hookimpl
        def addon_manifests(self, values: Json) -> list[Json]:
            return list(objects)

    return Ships


def allowing(**rule: Any) -> type:
    class Allows(Sound):
        @hookimpl
        def addon_hub_permissions(self) -> list[Json]:
            return [{"apiGroups": ["g"], "resources": ["r"], "verbs": ["get"], **rule}]

    return Allows


class Renamed(Sound):
    @hookimpl
    def addon_describe(self) -> AddonDescription:
        return AddonDescription(name="other")


class Misspelt(Sound):
    @hookimpl
    def addon_manifestos(self) -> None: ...


class Unmarked(Sound):
    def addon_hub_permissions(self) -> list[Json]:
        return []


class Blocking(Sound):
    @hookimpl
    def addon_agent(self) -> None: ...


class Counting(Sound):
    @hookimpl
    def addon_manifests(self, values: Json) -> list[Json]:
        return [config_map(data={"n": str(next(_COUNTER))})]


class Meddling(Sound):
    @hookimpl
    def addon_manifests(self, values: Json) -> list[Json]:
        values["touched"] = True
        return []


class Stubborn(Sound):
    @hookimpl
    def addon_manifests(self, values: Json) -> list[Json]:
        return agent_manifests("sound", "open-cluster-management-agent-addon", "c")


class Nobody(Sound):
    @hookimpl
    def addon_registrations(self) -> list[Registration]:
        return []


class Unsigned(Sound):
    @hookimpl
    def addon_registrations(self) -> list[Registration]:
        return [CustomSigner("example.com/x")]


ADMIN = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRoleBinding",
    "metadata": {"name": "b"},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
}
ALL = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRole",
    "metadata": {"name": "r"},
    "rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["get"]}],
}


class Sample(AddonContract):
    addon = "sound"
    target: ClassVar[Any] = Sound


def contract() -> dict[str, Callable[..., None]]:
    return {n: f for n, f in vars(AddonContract).items() if n.startswith("test_")}


@pytest.mark.parametrize("name", sorted(contract()))
def test_a_sound_addon_passes(name: str) -> None:
    contract()[name](Sample(), Plugins().add("sound", Sound))


@pytest.mark.parametrize(
    ("target", "test", "message"),
    [
        (Renamed, "it_loads_and_describes", 'describes itself as "other"'),
        (Misspelt, "it_loads_and_describes", "unknown hook addon_manifestos; did you mean addon_manifests"),
        (Unmarked, "every_hook_is_marked", "put @hookimpl on: addon_hub_permissions"),
        (Blocking, "the_agent_is_a_coroutine", "async def"),
        (Counting, "manifests_are_pure", "differs from call to call"),
        (Meddling, "manifests_are_pure", "changes its arguments"),
        (shipping({"kind": "X"}), "manifests_are_valid", "has no apiVersion"),
        (shipping(config_map(), config_map()), "manifests_are_valid", "rendered twice"),
        (shipping(config_map(data={"a": 1})), "manifests_are_valid", r"ConfigMap m: data\.a: 1 is not"),
        (shipping(config_map(dta={})), "manifests_are_valid", "'dta' was unexpected"),
        (shipping(config_map(metadata={"name": "A_b"})), "manifests_are_valid", "'A_b' is not a name"),
        (
            shipping(config_map(data={"a": "x" * 600_000})),
            "manifests_fit_into_works",
            "a ManifestWork holds at most",
        ),
        (Stubborn, "manifests_follow_the_install_namespace", "not in values"),
        (shipping(config_map(), health=Workload), "health_can_be_told", "no Deployment or DaemonSet"),
        (shipping(config_map(), health=Lease), "health_can_be_told", "nothing runs to renew it"),
        (shipping(health=Work([Probe("jobs", "j")])), "health_can_be_told", "not among the manifests: j"),
        (allowing(verbs=["*"]), "hub_permissions_are_scoped", "verbs has a wildcard"),
        (allowing(resources=[]), "hub_permissions_are_scoped", "resources is missing"),
        (allowing(verbs=["bind"]), "hub_permissions_are_scoped", "get more rights"),
        (allowing(resources=["secrets"]), "hub_permissions_are_scoped", "resourceNames"),
        (shipping(ADMIN), "rights_on_the_cluster", "binds cluster-admin"),
        (shipping(ALL), "rights_on_the_cluster", "covers all resources"),
        (Nobody, "registrations_and_pods_agree", "mounts the Secret sound-hub-kubeconfig"),
        (Unsigned, "registrations_and_pods_agree", "mounts the Secret|signing_ca"),
    ],
)
def test_a_mistake_is_caught(target: Any, test: str, message: str) -> None:
    [run] = [function for name, function in contract().items() if name.startswith(f"test_{test}")]
    with pytest.raises((AssertionError, pytest.fail.Exception), match=message):
        run(Sample(), Plugins().add("sound", target))
