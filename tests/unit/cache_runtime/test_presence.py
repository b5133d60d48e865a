"""Which clients may come with their users, and what becomes of their pods and volumes."""

from __future__ import annotations

from typing import Any

import pytest

from addon_framework.api.meta import Json
from addons.cache_runtime.agent.backends import Binding
from addons.cache_runtime.agent.components import client_digest, objects
from addons.cache_runtime.agent.volumes import persistent_volume
from runtimes import validation
from runtimes.alluxio import AlluxioBackend
from runtimes.interface import Backend, Cache, Volume
from runtimes.juicefs import JuiceFSBackend
from runtimes.local import LocalBackend
from runtimes.presence import is_lazy, policy_of
from runtimes.thin import ThinBackend
from runtimes.vineyard import VineyardBackend

S3: Json = {"mountPoint": "s3://models/llama", "name": "files"}
FILES: Json = {
    "mountPoint": "juicefs:///",
    "name": "files",
    "encryptOptions": [{"name": "metaurl", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
}
TIERS = {"levels": [{"mediumtype": "MEM", "quota": "1Gi"}]}
PLACES: Json = {
    "nodeSelectorTerms": [
        {"matchExpressions": [{"key": "disk", "operator": "In", "values": [kind]}]} for kind in ("a", "b")
    ]
}
USED = {"key": "fluid.io/f-demo-m", "operator": "In", "values": ["true"]}
HELD = {"key": "fluid.io/s-demo-m", "operator": "In", "values": ["true"]}


class Unseen(VineyardBackend):
    """One whose volume is there without its client."""

    def volume(self, cache: Cache) -> Volume:
        """A directory that the node makes."""
        return Volume(cache.mount_point, after="client")


def binding(backend: Backend, mount: Json = S3, dataset: Json | None = None, **spec: Any) -> Binding:
    metadata = {"name": "m", "namespace": "demo", "uid": "u"}
    made: Json = {"kind": "Dataset", "metadata": metadata, "spec": {"mounts": [mount], **(dataset or {})}}
    runtime: Json = {
        "apiVersion": "data.fluid.io/v1alpha1",
        "kind": backend.resource.kind,
        "metadata": metadata,
        "spec": spec,
    }
    return Binding(made, runtime, backend, Cache.of(made, runtime, image="agent"))


def s3fs(policy: str | None = None, **more: Any) -> Binding:
    fuse = {} if policy is None else {"cleanPolicy": policy}
    return binding(ThinBackend(), profileName="s3fs", fuse=fuse, **more)


def problems(bound: Binding) -> str:
    return "; ".join(validation.problems(bound.backend, bound.cache))


def client(bound: Binding, *, everywhere: bool = False) -> Json:
    """The template of its DaemonSet."""
    made = (obj for _, obj in objects(bound, everywhere=everywhere) if obj["kind"] == "DaemonSet")
    return dict(next(made)["spec"]["template"])


def terms(template: Json) -> list[list[Json]]:
    """What nodes need to have, by alternatives."""
    rule = (template["spec"].get("affinity") or {}).get("nodeAffinity") or {}
    required = rule.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    return [term["matchExpressions"] for term in required.get("nodeSelectorTerms") or []]


@pytest.mark.parametrize("policy", ["OnRuntimeDeleted", "OnDemand", "OnFuseChanged"])
def test_whoever_says_when_clients_go_has_them_come_with_their_users(policy: str) -> None:
    bound = s3fs(policy)
    assert problems(bound) == ""
    assert is_lazy(bound.backend, bound.cache)
    assert terms(client(bound)) == [[USED]]
    assert "nodeAffinity" not in persistent_volume(bound)["spec"]


def test_without_a_policy_they_are_there_from_the_beginning() -> None:
    for bound in (s3fs(), s3fs("")):
        assert not is_lazy(bound.backend, bound.cache)
        assert terms(client(bound)) == []
        (required,) = persistent_volume(bound)["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"]
        assert required["matchExpressions"] == [USED]


def test_a_profile_may_say_it_for_its_runtimes() -> None:
    bound = s3fs()
    profile: Json = {"spec": {"fuse": {"cleanPolicy": "OnDemand"}}}
    assert policy_of(bound.backend, Cache.of(bound.dataset, bound.runtime, image="x", profile=profile)) == (
        "OnDemand"
    )


@pytest.mark.parametrize(
    ("bound", "text"),
    [
        (s3fs("OnTuesdays"), "ThinRuntime demo/m: spec.fuse.cleanPolicy: 'OnTuesdays' is none of OnRuntime"),
        (
            binding(JuiceFSBackend(), fuse={"cleanPolicy": "OnDemand"}, replicas=1),
            "JuiceFSRuntime demo/m: spec.fuse.cleanPolicy: OnDemand is not possible: its clients hold",
        ),
        (
            binding(
                Unseen(),
                S3,
                {"mounts": []},
                tieredstore=TIERS,
                fuse={"cleanPolicy": "OnFuseChanged"},
            ),
            "VineyardRuntime demo/m: spec.fuse.cleanPolicy: OnFuseChanged is not possible: a pod could start",
        ),
        (
            binding(LocalBackend(), fuse={"cleanPolicy": "OnDemand"}),
            "LocalRuntime demo/m: spec.fuse.cleanPolicy: OnDemand is not possible: there are no clients",
        ),
        (
            binding(
                JuiceFSBackend(),
                FILES,
                {"dataRestoreLocation": {"path": "local:///backup", "nodeName": "n"}},
                fuse={"cleanPolicy": "OnDemand"},
            ),
            "OnDemand is not possible: its client begins from the backup",
        ),
    ],
)
def test_what_clients_cannot_do_is_refused(bound: Binding, text: str) -> None:
    assert text in problems(bound)


def test_what_clients_do_anyway_is_not_refused() -> None:
    bound = binding(JuiceFSBackend(), fuse={"cleanPolicy": "OnRuntimeDeleted"}, replicas=1)
    assert problems(bound) == ""
    assert not is_lazy(bound.backend, bound.cache)


def test_pods_may_go_wherever_a_client_may() -> None:
    fuse = {"cleanPolicy": "OnDemand", "nodeSelector": {"gpu": "yes"}}
    bound = binding(JuiceFSBackend(), FILES, {"nodeAffinity": {"required": PLACES}}, fuse=fuse)
    volume = persistent_volume(bound)["spec"]
    chosen = {"key": "gpu", "operator": "In", "values": ["yes"]}
    disks = [term["matchExpressions"] for term in PLACES["nodeSelectorTerms"]]
    wanted = [[*disk, chosen] for disk in disks]
    assert [t["matchExpressions"] for t in volume["nodeAffinity"]["required"]["nodeSelectorTerms"]] == wanted
    assert terms(client(bound)) == [[*disk, USED] for disk in disks]
    assert volume["hostPath"] == {
        "path": "/var/lib/boundaryless/mounts/demo/.data-m",
        "type": "Directory",
    }


def test_for_a_load_clients_run_where_the_cache_is_or_everywhere() -> None:
    alluxio = binding(AlluxioBackend(), tieredstore=TIERS, fuse={"cleanPolicy": "OnDemand"})
    assert terms(client(alluxio, everywhere=True)) == [[USED], [HELD]]
    assert terms(client(s3fs("OnDemand"), everywhere=True)) == []


def test_a_client_of_yesterday_is_told_from_one_of_today() -> None:
    options: Json = {"cleanPolicy": "OnFuseChanged", "options": {"dbglevel": "info"}}
    one, other = s3fs("OnFuseChanged"), binding(ThinBackend(), profileName="s3fs", fuse=options)
    hashes = {client(bound)["metadata"]["annotations"]["data.boundaryless.io/hash"] for bound in (one, other)}
    assert hashes == {client_digest(one), client_digest(other)}
    assert len(hashes) == 2
    during_a_load = client(one, everywhere=True)["metadata"]["annotations"]
    assert during_a_load["data.boundaryless.io/hash"] == client_digest(one)
