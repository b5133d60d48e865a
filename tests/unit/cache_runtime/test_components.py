"""What Dataset and runtime say of every pod of a cache, and what components of backends become."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from addon_framework.api.core import NETWORKPOLICIES, SERVICES, STATEFULSETS
from addon_framework.api.meta import Json
from addon_framework.kube import Key
from addons.cache_runtime.agent.backends import Binding
from addons.cache_runtime.agent.components import objects
from addons.cache_runtime.agent.names import labels
from addons.cache_runtime.agent.status import Observed, dataset_status, runtime_status
from runtimes.alluxio import AlluxioBackend
from runtimes.interface import Cache
from runtimes.jindo import JindoBackend
from runtimes.juicefs import JuiceFSBackend
from runtimes.local import LocalBackend

NOW = datetime(2026, 11, 25, 10, 0, 0, tzinfo=UTC)
PLACES: Json = {
    "nodeSelectorTerms": [{"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}]
}
TAINTED = {"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}
OSS = {"mountPoint": "oss://bucket", "name": "m", "options": {"fs.oss.endpoint": "e"}}


def binding(
    backend: Any = None, *, dataset: Json | None = None, status: Json | None = None, **spec: Any
) -> Binding:
    backend = backend or AlluxioBackend()
    metadata = {"name": "m", "namespace": "demo", "uid": "u", "creationTimestamp": "2026-11-25T09:59:50Z"}
    said = {"mounts": [OSS], **(dataset or {})}
    made: Json = {"kind": "Dataset", "metadata": metadata, "spec": said, "status": status or {}}
    tiers = {"levels": [{"mediumtype": "MEM", "quota": "1Gi"}]}
    runtime: Json = {
        "apiVersion": "data.fluid.io/v1alpha1",
        "kind": backend.resource.kind,
        "metadata": metadata,
        "spec": {"tieredstore": tiers, **spec},
    }
    return Binding(made, runtime, backend, Cache.of(made, runtime, image="agent"))


def pods(bound: Binding) -> dict[str, Json]:
    """The pods' templates by role."""
    made = (obj for _, obj in objects(bound) if obj["kind"] in ("StatefulSet", "DaemonSet"))
    return {obj["metadata"]["labels"]["data.boundaryless.io/role"]: obj["spec"]["template"] for obj in made}


def test_a_cache_is_where_the_dataset_allows_it_and_tolerates_what_the_dataset_does() -> None:
    made = pods(binding(dataset={"nodeAffinity": {"required": PLACES}, "tolerations": [TAINTED]}))
    for role in ("master", "worker"):
        spec = made[role]["spec"]
        rule = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        assert rule == PLACES
        assert spec["tolerations"] == [TAINTED]
    assert made["client"]["spec"]["tolerations"] == [{"operator": "Exists"}]


def test_what_holds_a_cache_starts_again_where_its_files_are() -> None:
    """Rolled or rescheduled, a worker would else leave them to be cleaned and fetch them anew elsewhere."""
    held = [{"key": "fluid.io/s-demo-m", "operator": "In", "values": ["true"]}]
    bucket = {"mounts": [{"mountPoint": "s3://bucket", "name": "m"}]}
    one = {"replicas": 1, "tieredstore": {}}
    for made, role in (
        (pods(binding()), "worker"),
        (pods(binding(LocalBackend(), dataset=bucket, **one)), "worker"),
        (pods(binding(JuiceFSBackend(), dataset=bucket, **one)), "client"),
    ):
        rules = made[role]["spec"]["affinity"]["nodeAffinity"][
            "preferredDuringSchedulingIgnoredDuringExecution"
        ]
        assert {"weight": 100, "preference": {"matchExpressions": held}} in rules
    assert "s-demo-m" not in str(pods(binding())["client"]["spec"].get("affinity"))


def test_pods_have_the_runtimes_metadata_and_their_parts_over_it() -> None:
    said = {"labels": {"a": "1", "b": "1"}, "annotations": {"c": "1"}}
    made = pods(binding(podMetadata=said, worker={"podMetadata": {"labels": {"b": "2"}}}))
    assert (made["worker"]["metadata"]["labels"]["a"], made["worker"]["metadata"]["labels"]["b"]) == (
        "1",
        "2",
    )
    assert made["master"]["metadata"]["labels"]["b"] == "1"
    assert made["client"]["metadata"]["annotations"].items() >= {"c": "1"}.items()


def test_jindos_labels_by_their_old_name() -> None:
    made = pods(binding(JindoBackend(), labels={"a": "1", "b": "1"}, worker={"labels": {"b": "2"}}))
    assert made["worker"]["metadata"]["labels"]["b"] == "2"
    assert made["master"]["metadata"]["labels"]["b"] == "1"


def test_pods_are_found_by_fluids_labels() -> None:
    made = pods(binding(JindoBackend(), podMetadata={"labels": {"sidecar.istio.io/inject": "true"}}))
    assert {role: each["metadata"]["labels"]["role"] for role, each in made.items()} == {
        "master": "jindofs-master",
        "worker": "jindofs-worker",
        "client": "jindofs-fuse",
    }
    assert made["client"]["metadata"]["labels"]["sidecar.istio.io/inject"] == "true", "its user wants it"
    for _, obj in objects(binding()):
        said = obj["metadata"]["labels"]
        assert said.items() >= {"app": "alluxio", "release": "m", "fluid.io/dataset-id": "demo-m"}.items(), (
            obj
        )
    for role, each in pods(binding()).items():
        said = each["metadata"]["labels"]
        assert said.items() >= {"app": "alluxio", "release": "m", "fluid.io/managed-by": "fluid"}.items()
        assert said["sidecar.istio.io/inject"] == "false"
        assert ("fluid.io/dataset-placement" in said) == (role == "worker"), "masters take no node for them"


def test_a_service_names_one_master_from_its_start_on() -> None:
    made = objects(binding(master={"replicas": 3}))
    services = [obj for resource, obj in made if resource is SERVICES]
    assert [service["metadata"]["name"] for service in services] == [f"m-master-{n}" for n in range(3)]
    assert services[1]["spec"]["selector"]["statefulset.kubernetes.io/pod-name"] == "m-master-1"
    assert services[0]["spec"]["publishNotReadyAddresses"] is True
    names = [
        obj["metadata"]["name"]
        for resource, obj in objects(binding(JindoBackend()))
        if resource is STATEFULSETS
    ]
    assert names == ["m-jindofs-master", "m-jindofs-worker"]


def test_what_nodes_give_each_other_is_for_pods_of_the_dataset_only() -> None:
    def policies(**peers: Any) -> list[Json]:
        mounts = {"mounts": [{"mountPoint": "s3://models/llama"}]}
        bound = binding(LocalBackend(), dataset=mounts, tieredstore={}, peers=peers)
        return [obj for resource, obj in objects(bound) if resource is NETWORKPOLICIES]

    (policy,) = policies()
    key = Key("demo", "m")
    assert policy["spec"]["podSelector"]["matchLabels"] == labels(key, "worker")
    (rule,) = policy["spec"]["ingress"]
    wanted = rule["from"][0]["podSelector"]["matchLabels"].items()
    assert all(wanted <= labels(key, role).items() for role in ("worker", "load"))
    assert not wanted <= labels(Key("demo", "other"), "load").items()
    assert policies(enabled=False) == [], "nothing listens"
    assert policies(addresses=["10.0.0.1:9465"]) == [], "those there have no labels here"


def test_a_runtimes_replicas_are_its_workers() -> None:
    workers = {n: objects(binding(replicas=n)) for n in (1, 3)}
    found = {
        n: [obj["spec"]["replicas"] for _, obj in made if obj["metadata"]["name"] == "m-worker"]
        for n, made in workers.items()
    }
    assert found == {1: [1], 3: [3]}


def test_a_dataset_whose_mounts_change_is_updating_and_keeps_those_it_had() -> None:
    before = {"phase": "Bound", "mounts": [{"mountPoint": "oss://old", "name": "old"}]}
    bound = binding(status=before)
    changing = dataset_status(bound.dataset, bound, Observed(mounted=False, waiting="not yet"))
    assert (changing["phase"], changing["mounts"]) == ("Updating", before["mounts"])
    assert ("Updating", "True") in [(c["type"], c["status"]) for c in changing["conditions"]]
    bound.dataset["status"] = changing
    done = dataset_status(bound.dataset, bound, Observed(ready=True))
    assert ("Updating", "False") in [(c["type"], c["status"]) for c in done["conditions"]]
    assert (done["phase"], done["mounts"][0]["mountPoint"]) == ("Bound", "oss://bucket")
    fresh = binding()
    assert dataset_status(fresh.dataset, fresh, Observed(mounted=False))["phase"] == "Pending"


def test_endpoints_are_in_the_statuses() -> None:
    bound = binding(apiGateway={"enabled": True}, master={"networkMode": "ContainerNetwork"})
    assert (
        dataset_status(bound.dataset, bound, Observed())["hcfs"]["endpoint"]
        == "alluxio://m-master-0.demo:19998"
    )
    said = runtime_status(bound, Observed(mount_time="2026-11-25T10:00:00Z"), {}, NOW)
    assert said["apiGateway"]["endpoint"] == "m-master-0.demo:39999"
    assert said["mountTime"] == "2026-11-25T10:00:00Z"
