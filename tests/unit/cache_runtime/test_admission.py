"""Where pods go that use Datasets, and what a pod is like that brings its client along."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from addon_framework.api.meta import Json
from addons.cache_runtime.admission.affinity import Cached, attract, keep_away
from addons.cache_runtime.admission.sidecar import Client, bring, needs
from addons.cache_runtime.agent.names import SIDECAR_DONE_LABEL

ZONE, REGION = "topology.kubernetes.io/zone", "topology.kubernetes.io/region"
CACHE = "fluid.io/s-demo-model"


def pod(*, labels: dict[str, str] | None = None, **spec: Any) -> Json:
    mount = {"name": "data", "mountPath": "/data"}
    container = {"name": "main", "image": "busybox", "volumeMounts": [mount]}
    claim = {"name": "data", "persistentVolumeClaim": {"claimName": "model"}}
    return {
        "metadata": {"labels": labels or {}},
        "spec": {"containers": [container], "volumes": [claim], **spec},
    }


def node(zone: str, region: str) -> Json:
    return {"metadata": {"name": zone, "labels": {ZONE: zone, REGION: region}}}


def preferred(obj: Json) -> dict[str, tuple[int, list[str]]]:
    """Weight and values by label."""
    affinity = obj["spec"]["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    terms = [(each["weight"], each["preference"]["matchExpressions"][0]) for each in affinity]
    return {term["key"]: (weight, term.get("values", [])) for weight, term in terms}


def required(obj: Json) -> list[list[str]]:
    """Labels of each alternative."""
    affinity = obj["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    return [[e["key"] for e in term["matchExpressions"]] for term in affinity["nodeSelectorTerms"]]


def test_the_node_with_the_cache_then_its_zone_then_its_region() -> None:
    asking = pod()

    attract(asking, [Cached("model", CACHE, [node("a", "west"), node("b", "west")])])

    assert preferred(asking) == {CACHE: (100, ["true"]), ZONE: (50, ["a", "b"]), REGION: (20, ["west"])}


def test_a_zone_that_the_pod_chose_itself_is_not_argued_with() -> None:
    asking = pod(nodeSelector={ZONE: "c"})

    attract(asking, [Cached("model", CACHE, [node("a", "west")])])

    assert set(preferred(asking)) == {CACHE, REGION}


def test_required_datasets_are_all_required_in_every_alternative_of_the_user() -> None:
    labels = {"fluid.io/dataset.model.sched": "required", "fluid.io/dataset.other.sched": "required"}
    datasets = [Cached("model", CACHE), Cached("other", "fluid.io/s-demo-other")]
    asking = pod(labels=labels)

    attract(asking, datasets)

    assert required(asking) == [[CACHE, "fluid.io/s-demo-other"]]

    terms = [{"matchExpressions": [{"key": name, "operator": "Exists"}]} for name in ("gpu", "tpu")]
    node_affinity = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    asking = pod(labels=labels, affinity={"nodeAffinity": node_affinity})

    attract(asking, datasets)

    both = [CACHE, "fluid.io/s-demo-other"]
    assert required(asking) == [["gpu", *both], ["tpu", *both]]


def test_a_pod_without_data_keeps_away_from_caches() -> None:
    asking = pod()

    keep_away(asking)

    assert preferred(asking) == {"fluid.io/dataset-num": (100, [])}


def client() -> Client:
    container = {
        "name": "thin-fuse",
        "image": "s3fs",
        "securityContext": {"privileged": True},
        "readinessProbe": {"exec": {"command": ["true"]}, "periodSeconds": 5},
        "volumeMounts": [
            {"name": "mounts", "mountPath": "/mounts/demo", "mountPropagation": "Bidirectional"},
            {"name": "cache", "mountPath": "/cache"},
            {"name": "keys", "mountPath": "/run/s3fs"},
        ],
    }
    volumes = [
        {"name": "mounts", "hostPath": {"path": "/mounts/demo"}},
        {"name": "proc", "hostPath": {"path": "/proc"}},
        {"name": "cache", "hostPath": {"path": "/var/cache"}},
        {"name": "keys", "emptyDir": {"medium": "Memory"}},
    ]
    remounter = {"name": "remount", "image": "agent"}
    return Client("model", {"containers": [container, remounter], "volumes": volumes}, "/mounts/demo/model")


def test_a_client_brings_the_secrets_that_its_image_is_pulled_with() -> None:
    asking = pod(imagePullSecrets=[{"name": "own"}])
    private = replace(
        client(), pod={**client().pod, "imagePullSecrets": [{"name": "own"}, {"name": "client"}]}
    )
    bring(asking, [private])
    assert asking["spec"]["imagePullSecrets"] == [{"name": "own"}, {"name": "client"}]
    assert needs(private.pod) == ["Secret client", "Secret own"]


def test_a_client_comes_along_as_a_sidecar_and_nothing_of_the_node_is_needed() -> None:
    asking = pod()
    second = {"name": "again", "persistentVolumeClaim": {"claimName": "model", "readOnly": True}}
    asking["spec"]["volumes"].append(second)
    part = {"name": "again", "mountPath": "/again", "subPath": "part"}
    asking["spec"]["containers"][0]["volumeMounts"].append(part)

    bring(asking, [client()])

    keeper, sidecar = asking["spec"]["initContainers"]
    assert (keeper["restartPolicy"], keeper["image"]) == ("Always", "s3fs")
    assert keeper["env"] == [{"name": "MOUNT_POINT", "value": "/mounts/demo/model"}]
    shared = {"name": "data", "mountPath": "/mounts/demo", "mountPropagation": "Bidirectional"}
    assert keeper["volumeMounts"] == [shared]
    assert sidecar["restartPolicy"] == "Always"
    assert sidecar["startupProbe"]["periodSeconds"] == 1
    assert {m["mountPath"]: m["name"] for m in sidecar["volumeMounts"]} == {
        "/mounts/demo": "data",
        "/cache": "fluid-0-cache",
        "/run/s3fs": "fluid-0-keys",
    }
    assert {v["name"]: v for v in asking["spec"]["volumes"]} == {
        "data": {"name": "data", "emptyDir": {}},
        "fluid-0-cache": {"name": "fluid-0-cache", "emptyDir": {}},
        "fluid-0-keys": {"name": "fluid-0-keys", "emptyDir": {"medium": "Memory"}},
    }
    mounts = asking["spec"]["containers"][0]["volumeMounts"]
    assert [(m["mountPath"], m["name"], m["subPath"], m["mountPropagation"]) for m in mounts] == [
        ("/data", "data", "model", "HostToContainer"),
        ("/again", "data", "model/part", "HostToContainer"),
    ]
    assert asking["metadata"]["labels"] == {SIDECAR_DONE_LABEL: "true"}
