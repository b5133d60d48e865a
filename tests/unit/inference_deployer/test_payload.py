"""What an InferenceDeployment becomes: on the hub and on a cluster."""

from __future__ import annotations

import json

import pytest

from addons.inference_deployer.controller.hubobjects import credentials, manifest_work, placement
from addons.inference_deployer.controller.payload import InvalidSpecError, payload, revision
from addons.inference_deployer.engines.host import HOST_LABEL, LAUNCHER_DIR, host_key, host_socket
from addons.inference_deployer.engines.interface import COMPILED_PATH
from addons.inference_deployer.engines.vllm import IMAGE, VLLMEngine
from addons.inference_deployer.kinds import work_name
from addons.inference_deployer.launcherfiles import launcher_files
from runtimes.interface import Cache
from tests.unit.inference_deployer.objects import Json, deployment


def one(objects: list[Json], kind: str) -> Json:
    found = [obj for obj in objects if obj["kind"] == kind]
    assert len(found) == 1
    return found[0]


def test_everything_a_cluster_needs_and_nothing_that_is_not_labelled():
    objects = payload(deployment(), VLLMEngine())
    assert [obj["kind"] for obj in objects] == [
        *("Namespace", "ServiceAccount", "Role", "RoleBinding", "Dataset", "LocalRuntime", "DataLoad"),
        *("ConfigMap", "Deployment", "Service", "InferenceEndpoint"),
    ]
    for obj in objects[1:]:
        assert obj["metadata"]["namespace"] == "team"
        assert obj["metadata"]["labels"]["inference.boundaryless.io/endpoint"] == "demo"


def test_the_engine_starts_beside_the_load_and_waits_for_it_by_itself():
    pod = one(payload(deployment(), VLLMEngine()), "Deployment")["spec"]["template"]
    container = pod["spec"]["containers"][0]
    env = {entry["name"]: entry.get("value") for entry in container["env"]}
    assert container["image"] == IMAGE
    assert container["command"] == ["python3", LAUNCHER_DIR, "--mode", "shared", "--"]
    assert env["WAIT_FOR_DATALOAD"] == "team/demo"
    assert env["ENGINE_HOST_SOCKET"] == host_socket(IMAGE)
    assert pod["metadata"]["labels"][HOST_LABEL] == host_key(IMAGE)
    assert pod["spec"]["volumes"][0]["persistentVolumeClaim"] == {"claimName": "demo", "readOnly": True}


def test_stock_through_s3fs_waits_for_nothing_and_asks_no_host():
    objects = payload(deployment(cache={"runtime": "s3fs"}, engine={"launcher": "stock"}), VLLMEngine())
    pod = one(objects, "Deployment")["spec"]["template"]
    names = {entry["name"] for entry in pod["spec"]["containers"][0]["env"]}
    assert not names & {"WAIT_FOR_DATALOAD", "ENGINE_HOST_SOCKET"}
    assert HOST_LABEL not in pod["metadata"]["labels"]
    assert one(objects, "ThinRuntime")["spec"]["profileName"] == "s3fs"
    assert not [obj for obj in objects if obj["kind"] == "DataLoad"]
    assert "dataLoad" not in one(objects, "InferenceEndpoint")["spec"]


def test_compiled_code_is_kept_beside_the_datasets_files_and_nowhere_else():
    objects = payload(deployment(cache={"compiled": True}), VLLMEngine())
    pod = one(objects, "Deployment")["spec"]["template"]["spec"]
    mounts = {m["name"]: m for m in pod["containers"][0]["volumeMounts"]}
    env = {entry["name"]: entry.get("value") for entry in pod["containers"][0]["env"]}
    assert env["COMPILED"] == mounts["compiled"]["mountPath"] == COMPILED_PATH
    paths = {v["name"]: v["hostPath"]["path"] for v in pod["volumes"] if "hostPath" in v}
    cache = Cache.of(one(objects, "Dataset"), one(objects, "LocalRuntime"), image="x")
    assert paths["compiled"] == f"{cache.directory}/compiled"  # which the cache's end removes

    pod = one(payload(deployment(), VLLMEngine()), "Deployment")["spec"]["template"]["spec"]
    assert "compiled" not in {volume["name"] for volume in pod["volumes"]}


def test_replicas_that_may_read_a_copy_are_brought_to_it_by_the_webhook():
    def parts(**cache: str) -> tuple[Json, Json]:
        objects = payload(deployment(cache={"runtime": "rclone", **cache}), VLLMEngine())
        template = one(objects, "Deployment")["spec"]["template"]
        return one(objects, "Dataset")["metadata"].get("annotations"), template["metadata"]["labels"]

    annotations, labels = parts(bypass="auto")
    assert annotations == {"data.boundaryless.io/bypass": "auto"}
    assert labels["fuse.serverful.fluid.io/inject"] == "true"
    for annotations, labels in (parts(), parts(bypass="never")):
        assert annotations is None
        assert "fuse.serverful.fluid.io/inject" not in labels


def test_a_users_environment_wins():
    engine = {"env": [{"name": "HF_HUB_OFFLINE", "value": "0"}]}
    pod = one(payload(deployment(engine=engine), VLLMEngine()), "Deployment")["spec"]["template"]
    values = [e for e in pod["spec"]["containers"][0]["env"] if e["name"] == "HF_HUB_OFFLINE"]
    assert values == [{"name": "HF_HUB_OFFLINE", "value": "0"}]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            {"cache": {"runtime": "alluxioo"}},
            "spec.cache.runtime: 'alluxioo' is not a cache runtime; use one of",
        ),
        ({"cache": {"options": {"a": "b"}}}, "spec.cache.options: the local runtime has no options"),
        (
            {"cache": {"runtime": "juicefs", "compiled": True}},
            "spec.cache.compiled: only the local runtime keeps compiled code",
        ),
        ({"cache": {"bypass": "auto"}}, "spec.cache.bypass: the local runtime is a copy on the node already"),
        ({"engine": {"args": ["-a", "--port=1"]}}, r"spec.engine.args\[1\]: --port is not yours"),
    ],
)
def test_what_cannot_be_done_names_the_field(spec, message):
    with pytest.raises(InvalidSpecError, match=message):
        payload(deployment(**spec), VLLMEngine())


@pytest.mark.parametrize(
    ("source", "keys"),
    [
        ("oss://b/x", {"aws.accessKeyId": "accessKeyId", "aws.secretKey": "secretAccessKey"}),
        ("hf://team/model", {"token": "token"}),
        ("sftp://host/model", {"username": "username", "password": "password"}),
    ],
)
def test_credentials_are_what_the_source_wants(source: str, keys: dict[str, str]):
    wanted = deployment(model={"source": source, "credentialsRef": {"name": "keys"}})
    data = dict.fromkeys(("accessKeyId", "secretAccessKey", "token", "username", "password"), "QUJD")
    copied, *_ = credentials(wanted, {"data": data}, "c1")
    assert set(copied["data"]) == set(keys.values())
    manifests = manifest_work(wanted, "c1", VLLMEngine())["spec"]["workload"]["manifests"]
    (mount,) = one(manifests, "Dataset")["spec"]["mounts"]
    assert {o["name"]: o["valueFrom"]["secretKeyRef"]["key"] for o in mount["encryptOptions"]} == keys


def test_credentials_travel_beside_the_work_never_in_it():
    wanted = deployment(model={"source": "s3://m/x", "credentialsRef": {"name": "keys"}})
    secret = {"type": "Opaque", "data": {"accessKeyId": "QUJD", "secretAccessKey": "REVG", "other": "R0hJ"}}
    work = manifest_work(wanted, "c1", VLLMEngine())
    copy, role, binding = credentials(wanted, secret, "c1")
    text = json.dumps(work)
    assert "Secret" not in {obj["kind"] for obj in work["spec"]["workload"]["manifests"]}
    assert not any(value in text for value in secret["data"].values())
    dataset = one(work["spec"]["workload"]["manifests"], "Dataset")
    assert dataset["metadata"]["annotations"] == {"data.boundaryless.io/hub-secret": copy["metadata"]["name"]}
    assert copy["data"] == {"accessKeyId": "QUJD", "secretAccessKey": "REVG"}
    assert role["rules"][0]["resourceNames"] == [copy["metadata"]["name"]]
    assert binding["subjects"] == [
        {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "Group",
            "name": "system:open-cluster-management:cluster:c1:addon:cache-runtime",
        }
    ]


def test_a_namespace_that_others_use_stays():
    rules = manifest_work(deployment(), "c1", VLLMEngine())["spec"]["deleteOption"]["selectivelyOrphans"]
    assert rules["orphaningRules"] == [
        {"group": "", "resource": "namespaces", "namespace": "", "name": "team"}
    ]


def test_names_of_works_never_meet():
    assert work_name("a-b", "c") != work_name("a", "b-c")


def test_the_revision_is_of_the_spec_but_for_where_it_runs():
    base = revision(deployment())
    assert revision(deployment(placement={"numberOfClusters": 2})) == base
    assert revision(deployment(replicas=2)) != base


def test_a_placement_field_that_is_taken_away_is_a_difference():
    one_way = placement(deployment(placement={"clusterSets": ["a"]}))
    other = placement(deployment())
    assert one_way["metadata"]["annotations"] != other["metadata"]["annotations"]
    assert other["spec"] == {"numberOfClusters": 1}


def test_the_launcher_travels_whole_and_fits():
    files = launcher_files()
    assert {"__init__.py", "__main__.py", "engine.py", "host.py", "pod.py"} <= set(files)
    assert sum(map(len, files.values())) < 100_000
