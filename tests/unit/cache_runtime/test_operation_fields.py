"""Every field of every operation: honoured in what is made of it, or refused; a new one fails here."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from addon_framework.api.data import DataBackup, DataLoad, DataMigrate, DataProcess
from addon_framework.api.meta import Json
from addon_framework.kube import Key
from addons.cache_runtime.agent.backends import Binding
from addons.cache_runtime.agent.operations import jobs, runafter
from addons.cache_runtime.agent.operations.backup import Backup
from addons.cache_runtime.agent.operations.kinds import Kind, RefusedError
from addons.cache_runtime.agent.operations.load import Load
from addons.cache_runtime.agent.operations.migrate import Migrate
from addons.cache_runtime.agent.operations.process import Process
from addons.cache_runtime.agent.operations.schedule import check_policy
from runtimes.interface import Cache
from runtimes.local import LocalBackend

KEY = Key("demo", "llama")
ENDS: Json = {
    "from": {"externalStorage": {"uri": "s3://a/b"}},
    "to": {"externalStorage": {"uri": "pvc://c/d"}},
}
HOSTS = {"node": "ip-1", "other": "ip-2"}  # nodes, and what their machines call themselves
INTO: Json = {"dataset": {"name": "llama", "namespace": "demo"}}
SCRIPT: Json = {"image": "busybox", "source": "true"}
BASE: dict[str, Json] = {
    "DataLoad": {"dataset": {"name": "llama"}},
    "DataMigrate": {"from": {"dataset": {"name": "llama", "namespace": "demo"}}, "to": ENDS["to"]},
    "DataBackup": {"dataset": "llama", "backupPath": "local:///backup"},
    "DataProcess": {"dataset": {"name": "llama", "mountPath": "/data"}, "processor": {"script": SCRIPT}},
}
KINDS: dict[str, Kind] = {kind.name: kind for kind in (Load(), Migrate(), Backup(), Process())}
STEP: Json = {
    "status": {
        "phase": "Complete",
        "nodeAffinity": {
            "required": {
                "nodeSelectorTerms": [
                    {
                        "matchExpressions": [
                            {"key": "kubernetes.io/hostname", "operator": "In", "values": ["ip-1"]}
                        ]
                    }
                ]
            }
        },
    }
}


def binding() -> Binding:
    dataset: Json = {
        "metadata": {"name": "llama", "namespace": "demo", "uid": "d"},
        "spec": {"mounts": [{"mountPoint": "s3://models/llama", "path": "/"}]},
        "status": {
            "phase": "Bound",
            "ufsTotal": "1.00KiB",
            "numbers": {"sourceBytes": 1024, "sourceFiles": 3},
        },
    }
    metadata = {"name": "llama", "namespace": "demo", "uid": "r"}
    runtime: Json = {"kind": "LocalRuntime", "metadata": metadata, "spec": {"replicas": 2}}
    return Binding(dataset, runtime, LocalBackend(), Cache.of(dataset, runtime, image="ours"))


def operation(kind: str, spec: Json, **metadata: Any) -> Json:
    about = {"name": "op", "namespace": "demo", "uid": "o", **metadata}
    return {"apiVersion": "data.fluid.io/v1alpha1", "kind": kind, "metadata": about, "spec": spec}


def made(kind_name: str, **more: Any) -> Json:
    """The first job of the operation, or its CronJob, with `config` and `parts` beside it."""
    kind, op = KINDS[kind_name], operation(kind_name, {**BASE[kind_name], **more})
    check_policy(op)
    runafter.check(op)
    kind.check(op)
    kind.supports(op, [binding()])
    near = runafter.affinity(op, lambda name, key: STEP)
    pods = [
        {
            "metadata": {"labels": {"data.boundaryless.io/role": "worker"}},
            "spec": {"nodeName": node},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]},
        }
        for node, host in HOSTS.items()
        if runafter.allows(near, {"metadata": {"labels": {"kubernetes.io/hostname": host}}})
    ]
    plan = kind.plan(op, [binding()], pods, near)
    assert not plan.waiting, plan.waiting
    part = plan.parts[0]
    if op["spec"].get("policy") == "Cron":
        return jobs.cronjob_for(kind, op, KEY, part, "x", suspend=False)
    return {**jobs.job_for(kind, op, KEY, part, "x"), "parts": len(plan.parts), "config": plan.config}


def pod_of(job: Json) -> Json:
    found: Json = job["spec"]["template"]["spec"]
    return found


def container_of(job: Json) -> Json:
    found: Json = pod_of(job)["containers"][0]
    return found


def variable(job: Json, name: str) -> Any:
    value = next(each["value"] for each in container_of(job)["env"] if each["name"] == name)
    return json.loads(value) if value.startswith("{") else value


TOLERATION = {"key": "gpu", "operator": "Exists"}
RESOURCES = {"limits": {"memory": "1Gi"}}
RULE: Json = {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": []}}
META = {"labels": {"team": "a"}, "annotations": {"note": "b"}}
AFTER: Json = {"kind": "DataLoad", "name": "before", "affinityStrategy": {"policy": "Require"}}
PODS: dict[str, Any] = {
    "podMetadata": (
        {"podMetadata": META},
        lambda job: (
            (
                job["spec"]["template"]["metadata"]["labels"]["team"],
                job["spec"]["template"]["metadata"]["annotations"]["note"],
            )
            == ("a", "b")
        ),
    ),
    "affinity": ({"affinity": RULE}, lambda job: RULE.items() <= pod_of(job)["affinity"].items()),
    "tolerations": ({"tolerations": [TOLERATION]}, lambda job: TOLERATION in pod_of(job)["tolerations"]),
    "nodeSelector": (
        {"nodeSelector": {"disk": "ssd"}},
        lambda job: pod_of(job)["nodeSelector"]["disk"] == "ssd",
    ),
    "schedulerName": ({"schedulerName": "mine"}, lambda job: pod_of(job)["schedulerName"] == "mine"),
    "resources": ({"resources": RESOURCES}, lambda job: container_of(job)["resources"] == RESOURCES),
}
POLICY: dict[str, Any] = {
    "policy": ({"policy": "Cron", "schedule": "@daily"}, lambda job: job["kind"] == "CronJob"),
    "schedule": ({"policy": "Cron", "schedule": "@daily"}, lambda job: job["spec"]["schedule"] == "@daily"),
}
TTL: dict[str, Any] = {
    "ttlSecondsAfterFinished": (
        {"policy": "Cron", "schedule": "@daily", "ttlSecondsAfterFinished": 9},
        lambda job: job["spec"]["jobTemplate"]["spec"]["ttlSecondsAfterFinished"] == 9,
    )
}
RUN_AFTER: dict[str, Any] = {"runAfter": ({"runAfter": AFTER}, lambda job: places(job) & {"node", "ip-1"})}
FIELDS: dict[str, dict[str, Any]] = {
    "DataLoad": {
        **PODS,
        **POLICY,
        **TTL,
        **RUN_AFTER,
        "dataset": ({}, lambda job: job["metadata"]["labels"]["data.boundaryless.io/dataset"] == "llama"),
        "loadMetadata": ({"loadMetadata": True}, lambda job: True),  # a load lists the source anew anyway
        "target": (
            {"target": [{"path": "/sub", "replicas": 2}]},
            lambda job: (variable(job, "CACHE")["targets"], job["parts"]) == (["/sub"], 2),
        ),
        "options": ({"options": {"threads": "3"}}, lambda job: variable(job, "CACHE")["threads"] == 3),
    },
    "DataMigrate": {
        **PODS,
        **POLICY,
        **TTL,
        **RUN_AFTER,
        "from": ({}, lambda job: variable(job, "MIGRATION")["sources"][0]["url"] == "s3://models/llama"),
        "to": ({}, lambda job: pod_of(job)["volumes"][0]["persistentVolumeClaim"]["claimName"] == "c"),
        "block": (
            {"block": True},
            lambda job: Migrate().writes(operation("DataMigrate", {"block": True}), []),
        ),
        "runtimeType": ({"runtimeType": "local"}, lambda job: container_of(job)["image"] == "ours"),
        "options": ({"options": {"threads": "3"}}, lambda job: variable(job, "MIGRATION")["threads"] == 3),
        "image": ({"image": "x"}, lambda job: noted("image")),
        "imageTag": ({"imageTag": "x"}, lambda job: noted("imageTag")),
        "imagePullPolicy": (
            {"imagePullPolicy": "Always"},
            lambda job: container_of(job)["imagePullPolicy"] == "Always",
        ),
        "parallelism": (
            {"parallelism": 3},
            lambda job: (job["spec"]["completions"], variable(job, "PODS")) == (3, "3"),
        ),
        "parallelOptions": (
            {"parallelism": 2, "parallelOptions": {"sshSecretName": "s", "sshPort": "22"}},
            lambda job: noted("parallelOptions"),
        ),
    },
    "DataBackup": {
        **RUN_AFTER,
        "dataset": ({}, lambda job: variable(job, "DATASET_NAME") == "llama"),
        "backupPath": (
            {},
            lambda job: {"path": "/backup"}.items() <= pod_of(job)["volumes"][-1]["hostPath"].items(),
        ),
        "runAs": (
            {"runAs": {"uid": 1, "gid": 2, "user": "u", "group": "g"}},
            lambda job: variable(job, "OWNER") == "1:2",
        ),
        "ttlSecondsAfterFinished": ({"ttlSecondsAfterFinished": 5}, lambda job: True),  # the controller's
    },
    "DataProcess": {
        **POLICY,
        **TTL,
        **RUN_AFTER,
        "dataset": (
            {"dataset": {"name": "llama", "mountPath": "/data", "subPath": "sub"}},
            lambda job: (
                {"mountPath": "/data", "subPath": "sub"}.items()
                <= container_of(job)["volumeMounts"][-1].items()
            ),
        ),
        "processor": (
            {"processor": {"script": SCRIPT, "podMetadata": META, "serviceAccountName": "me"}},
            lambda job: (
                (
                    pod_of(job)["serviceAccountName"],
                    job["spec"]["template"]["metadata"]["labels"]["team"],
                    job["config"],
                )
                == ("me", "a", {"preprocess.sh": "true"})
            ),
        ),
    },
}


def places(job: Json) -> set[str]:
    """Names of nodes, and values of labels, that the pod's node affinity requires."""
    rule = pod_of(job)["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    (term,) = rule["nodeSelectorTerms"]
    asked = [*term.get("matchFields", []), *term.get("matchExpressions", [])]
    return {value for each in asked for value in each["values"]}


@pytest.mark.parametrize("kind", ["DataLoad", "DataBackup"])
def test_a_part_goes_to_its_node_by_name_whatever_the_machine_calls_itself(kind: str) -> None:
    job = made(kind)
    assert places(job) == {"node"}
    assert "ip-1" not in json.dumps(job)


def noted(field: str) -> bool:
    op = operation(
        "DataMigrate", {**BASE["DataMigrate"], field: {"sshPort": "22"} if "Options" in field else "x"}
    )
    return f"spec.{field}" in Migrate().notes(op)


@pytest.mark.parametrize("kind", [DataLoad, DataMigrate, DataBackup, DataProcess])
def test_no_field_is_forgotten(kind: type[Any]) -> None:
    spec = next(field.type for field in msgspec.structs.fields(kind) if field.name == "spec")
    assert set(FIELDS[kind.__name__]) == {field.encode_name for field in msgspec.structs.fields(spec)}


@pytest.mark.parametrize(("kind", "field"), [(k, f) for k, fields in FIELDS.items() for f in fields])
def test_a_field_is_honoured(kind: str, field: str) -> None:
    more, check = FIELDS[kind][field]
    assert check(made(kind, **more))


WRONG: list[tuple[str, Json, str]] = [
    ("DataLoad", {"dataset": {"name": "llama", "namespace": "x"}}, "spec.dataset.namespace: must be the"),
    ("DataLoad", {"target": [{"path": ""}]}, "spec.target[0].path: '' must be a path"),
    ("DataLoad", {"target": [{"path": "/../x"}]}, "spec.target[0].path"),
    ("DataLoad", {"target": [{"path": "/", "replicas": 3}]}, "spec.target[0].replicas: 3 copies need"),
    (
        "DataLoad",
        {"target": [{"path": "/", "replicas": -1}]},
        "spec.target[0].replicas: must not be negative",
    ),
    ("DataLoad", {"options": {"speed": "9"}}, "spec.options: unknown speed; known: threads"),
    ("DataLoad", {"options": {"threads": "many"}}, "spec.options.threads: 'many' must be a number"),
    ("DataLoad", {"policy": "Cron"}, "spec.schedule: policy Cron needs one"),
    ("DataLoad", {"schedule": "@daily"}, "spec.schedule: has no meaning with policy Once"),
    ("DataLoad", {"policy": "Cron", "schedule": "soon"}, "spec.schedule: 'soon' must be five fields"),
    ("DataLoad", {"policy": "OnEvent", "ttlSecondsAfterFinished": 1}, "spec.ttlSecondsAfterFinished: has no"),
    (
        "DataLoad",
        {"runAfter": {"kind": "DataLoad", "name": "op"}},
        "spec.runAfter: names the operation itself",
    ),
    (
        "DataLoad",
        {"runAfter": {**AFTER, "affinityStrategy": {"prefers": [{"name": "zone", "weight": 1}]}}},
        "spec.runAfter.affinityStrategy.prefers: has no meaning unless policy is Prefer",
    ),
    ("DataMigrate", {"from": {}}, "spec.from: give either dataset or externalStorage"),
    ("DataMigrate", {**ENDS}, "one of from and to must be a Dataset"),
    ("DataMigrate", {"to": INTO, "from": INTO | ENDS["from"]}, "spec.from: give either"),
    ("DataMigrate", {"to": {"externalStorage": {"uri": "ftp://x"}}}, "spec.to: 'ftp://x' must be"),
    ("DataMigrate", {"runtimeType": "alluxio"}, "spec.runtimeType: 'alluxio' is not the Dataset's"),
    ("DataMigrate", {"parallelOptions": {"speed": "1"}}, "spec.parallelOptions: unknown speed"),
    ("DataMigrate", {"options": {"speed": "1"}}, "spec.options: unknown speed"),
    ("DataBackup", {"dataset": ""}, "spec.dataset: is needed"),
    ("DataBackup", {"ttlSecondsAfterFinished": -1}, "spec.ttlSecondsAfterFinished: must not be negative"),
    (
        "DataBackup",
        {"backupPath": "s3://bucket"},
        "spec.backupPath: 's3://bucket' must be local:///directory",
    ),
    ("DataBackup", {"backupPath": "pvc://llama/x"}, "spec.backupPath: is the Dataset itself"),
    ("DataProcess", {"processor": {}}, "spec.processor: give job or script"),
    (
        "DataProcess",
        {"processor": {"script": SCRIPT, "job": {"podSpec": {"containers": [{}]}}}},
        "spec.processor: give either job or script, not both",
    ),
    (
        "DataProcess",
        {"dataset": {"name": "llama", "mountPath": "data"}},
        "spec.dataset.mountPath: 'data' must be",
    ),
    (
        "DataProcess",
        {"dataset": {"name": "llama", "mountPath": "/data", "subPath": "../x"}},
        "spec.dataset.subPath: must stay in the Dataset",
    ),
]


@pytest.mark.parametrize(("kind", "more", "text"), WRONG)
def test_what_cannot_work_is_refused_with_the_field(kind: str, more: Json, text: str) -> None:
    with pytest.raises(RefusedError) as refused:
        made(kind, **more)
    assert text in str(refused.value)
    assert f"{kind} demo/op" in str(refused.value)


def test_what_an_operation_asks_for_and_what_its_pipeline_does_are_both_required() -> None:
    own = {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [{"key": "gpu", "operator": "Exists"}]}]
            }
        }
    }
    job = made("DataMigrate", affinity=own, runAfter=AFTER)
    rule = pod_of(job)["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    (term,) = rule["nodeSelectorTerms"]
    assert [each["key"] for each in term["matchExpressions"]] == ["gpu", "kubernetes.io/hostname"]
