"""Built-in kinds: defaults, and what the server refuses, by field and words."""

# ruff: noqa: E501 - a table of cases reads best with the wanted message on one line

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from addon_framework.api.meta import Json
from addon_framework.local.apiserver.schemas import builtin_schema, copy_json, decode_error, unknown_fields
from addon_framework.local.apiserver.validation import default_builtin, validate_builtin


def made(api_version: str, kind: str, **body: Any) -> Json:
    obj: Json = {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {"name": "x", "namespace": "ns"},
        **body,
    }
    default_builtin(obj)
    group, _, version = api_version.rpartition("/")
    schema = builtin_schema(group, version, kind)
    assert schema is not None
    assert decode_error(obj, schema) is None
    assert unknown_fields(obj, schema) == [], "defaults are fields that exist"
    return obj


def pod_spec(**more: Any) -> Json:
    return {"containers": [{"name": "c", "image": "i:1"}], **more}


def template(**more: Any) -> Json:
    return {"metadata": {"labels": {"a": "b"}}, "spec": pod_spec(**more)}


SELECTOR = {"matchLabels": {"a": "b"}}
VALID: dict[str, Callable[[], Json]] = {
    "Pod": lambda: made("v1", "Pod", spec=pod_spec()),
    "Deployment": lambda: made("apps/v1", "Deployment", spec={"selector": SELECTOR, "template": template()}),
    "ReplicaSet": lambda: made("apps/v1", "ReplicaSet", spec={"selector": SELECTOR, "template": template()}),
    "DaemonSet": lambda: made("apps/v1", "DaemonSet", spec={"selector": SELECTOR, "template": template()}),
    "StatefulSet": lambda: made(
        "apps/v1", "StatefulSet", spec={"selector": SELECTOR, "template": template()}
    ),
    "Job": lambda: made(
        "batch/v1",
        "Job",
        metadata={"name": "x", "namespace": "ns", "uid": "u1"},
        spec={"template": template(restartPolicy="Never")},
    ),
    "CronJob": lambda: made(
        "batch/v1",
        "CronJob",
        spec={
            "schedule": "*/5 * * * *",
            "jobTemplate": {"spec": {"template": template(restartPolicy="Never")}},
        },
    ),
    "Service": lambda: made("v1", "Service", spec={"ports": [{"port": 80}], "clusterIP": "127.1.0.1"}),
    "Secret": lambda: made("v1", "Secret", stringData={"k": "v"}),
    "ConfigMap": lambda: made("v1", "ConfigMap", data={"k": "v"}),
    "PersistentVolume": lambda: made(
        "v1",
        "PersistentVolume",
        spec={"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteMany"], "hostPath": {"path": "/x"}},
    ),
    "PersistentVolumeClaim": lambda: made(
        "v1",
        "PersistentVolumeClaim",
        spec={"accessModes": ["ReadOnlyMany"], "resources": {"requests": {"storage": "1Gi"}}},
    ),
    "Namespace": lambda: made("v1", "Namespace"),
    "ServiceAccount": lambda: made("v1", "ServiceAccount"),
    "Lease": lambda: made("coordination.k8s.io/v1", "Lease", spec={"leaseDurationSeconds": 60}),
    "Role": lambda: made(
        "rbac.authorization.k8s.io/v1",
        "Role",
        rules=[{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}],
    ),
    "RoleBinding": lambda: made(
        "rbac.authorization.k8s.io/v1",
        "RoleBinding",
        roleRef={"kind": "Role", "name": "r"},
        subjects=[{"kind": "Group", "name": "g"}],
    ),
    "Node": lambda: made(
        "v1", "Node", status={"capacity": {"cpu": "2", "pods": "110", "nvidia.com/gpu": "4"}}
    ),
    "Event": lambda: made("v1", "Event", involvedObject={"kind": "Pod", "name": "p", "namespace": "ns"}),
}


@pytest.mark.parametrize("kind", VALID)
def test_good_objects_pass_and_defaulting_is_idempotent(kind: str) -> None:
    obj = VALID[kind]()
    assert validate_builtin(obj, None) == []
    again = copy_json(obj)
    default_builtin(again)
    assert again == obj
    assert validate_builtin(again, obj) == []


def edit(obj: Json, path: str, value: Any) -> Json:
    """A copy with one field set; None removes it."""
    out: Json = copy_json(obj)
    at: Any = out
    *parents, last = path.split("/")
    for part in parents:
        at = at[int(part)] if isinstance(at, list) else at.setdefault(part, {})
    if value is None:
        at.pop(last, None)
    else:
        at[int(last) if isinstance(at, list) else last] = value
    return out


@pytest.mark.parametrize(
    ("kind", "path", "value", "wanted"),
    [
        ("Pod", "metadata/name", None, "metadata.name: Required value: name or generateName is required"),
        (
            "Pod",
            "metadata/labels",
            {"a b": "c"},
            'metadata.labels: Invalid value: "a b": name part must consist of',
        ),
        (
            "Pod",
            "metadata/labels",
            {"a": "c d"},
            'metadata.labels: Invalid value: "c d": a valid label must be',
        ),
        (
            "Pod",
            "metadata/finalizers",
            ["x"],
            'metadata.finalizers[0]: Invalid value: "x": name is neither a standard finalizer name nor is it fully qualified',
        ),
        (
            "Pod",
            "metadata/ownerReferences",
            [{"kind": "X"}],
            'metadata.ownerReferences.uid: Invalid value: "": uid must not be empty',
        ),
        ("Pod", "spec/containers/0/image", None, "spec.containers[0].image: Required value"),
        (
            "Pod",
            "spec/containers/0/name",
            "A",
            'spec.containers[0].name: Invalid value: "A": a lowercase RFC 1123 label',
        ),
        (
            "Pod",
            "spec/containers/0/volumeMounts",
            [{"name": "v", "mountPath": "/x"}],
            'spec.containers[0].volumeMounts[0].name: Not found: "v"',
        ),
        (
            "Pod",
            "spec/restartPolicy",
            "Sometimes",
            'spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "Never", "OnFailure"',
        ),
        (
            "Pod",
            "spec/volumes",
            [{"name": "v", "emptyDir": {}, "hostPath": {"path": "/"}}],
            "spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type",
        ),
        (
            "Pod",
            "spec/containers/0/resources",
            {"limits": {"cpu": "1"}, "requests": {"cpu": "2"}},
            'spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1',
        ),
        (
            "Pod",
            "spec/containers/0/resources",
            {"requests": {"nvidia.com/gpu": "1"}},
            "spec.containers[0].resources.limits: Required value: Limit must be set for non overcommitable resources",
        ),
        (
            "Pod",
            "spec/containers/0/ports",
            [{"containerPort": 99999}],
            "spec.containers[0].ports[0].containerPort: Invalid value: 99999: must be between 1 and 65535, inclusive",
        ),
        (
            "Pod",
            "spec/containers/0/livenessProbe",
            {},
            "spec.containers[0].livenessProbe: Required value: must specify a handler type",
        ),
        (
            "Deployment",
            "spec/selector",
            {"matchLabels": {"q": "r"}},
            'spec.template.metadata.labels: Invalid value: {"a":"b"}: `selector` does not match template `labels`',
        ),
        (
            "Deployment",
            "spec/replicas",
            -1,
            "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
        ),
        (
            "Deployment",
            "spec/strategy",
            {"type": "Recreate", "rollingUpdate": {}},
            "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'",
        ),
        (
            "Deployment",
            "spec/template/spec/restartPolicy",
            "Never",
            'spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"',
        ),
        (
            "Job",
            "spec/template/spec/restartPolicy",
            "Always",
            'spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"',
        ),
        (
            "CronJob",
            "spec/schedule",
            "often",
            'spec.schedule: Invalid value: "often": expected exactly 5 fields, found 1: [often]',
        ),
        ("Service", "spec/ports", None, "spec.ports: Required value"),
        (
            "Service",
            "spec/type",
            "Magic",
            'spec.type: Unsupported value: "Magic": supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"',
        ),
        (
            "Secret",
            "data",
            {"a/b": "eA=="},
            'data[a/b]: Invalid value: "a/b": a valid config key must consist of',
        ),
        ("Secret", "type", "kubernetes.io/tls", "data[tls.crt]: Required value"),
        ("PersistentVolume", "spec/hostPath", None, "spec: Required value: must specify a volume type"),
        (
            "PersistentVolumeClaim",
            "spec/accessModes",
            ["Any"],
            'spec.accessModes: Unsupported value: "Any": supported values: ',
        ),
        (
            "Namespace",
            "metadata/name",
            "a.b",
            'metadata.name: Invalid value: "a.b": a lowercase RFC 1123 label',
        ),
        (
            "Lease",
            "spec/leaseDurationSeconds",
            0,
            "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0",
        ),
        (
            "Role",
            "rules/0/verbs",
            [],
            "rules[0].verbs: Required value: verbs must contain at least one value",
        ),
        (
            "RoleBinding",
            "roleRef/kind",
            "Nope",
            'roleRef.kind: Unsupported value: "Nope": supported values: "Role", "ClusterRole"',
        ),
    ],
)
def test_bad_objects_are_refused_by_field(kind: str, path: str, value: Any, wanted: str) -> None:
    found = [str(each) for each in validate_builtin(edit(VALID[kind](), path, value), None)]
    assert any(each.startswith(wanted) for each in found), found


@pytest.mark.parametrize(
    ("kind", "path", "value", "wanted"),
    [
        (
            "Pod",
            "spec/nodeSelector",
            {"a": "b"},
            "spec: Forbidden: pod updates may not change fields other than",
        ),
        ("Deployment", "spec/selector", {"matchLabels": {"q": "r"}}, "field is immutable"),
        (
            "StatefulSet",
            "spec/serviceName",
            "other",
            "spec: Forbidden: updates to statefulset spec for fields other than",
        ),
        ("Job", "spec/template/spec/containers/0/image", "other", "spec.template: Invalid value:"),
        (
            "Service",
            "spec/clusterIP",
            "127.1.0.9",
            'spec.clusterIPs[0]: Invalid value: ["127.1.0.9"]: may not change once set',
        ),
        ("Secret", "type", "other/type", 'type: Invalid value: "other/type": field is immutable'),
        (
            "PersistentVolume",
            "spec/hostPath/path",
            "/y",
            "spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation",
        ),
        (
            "PersistentVolumeClaim",
            "spec/accessModes",
            ["ReadWriteMany"],
            "spec: Forbidden: spec is immutable after creation",
        ),
        ("RoleBinding", "roleRef/name", "other", "roleRef: Invalid value: "),
    ],
)
def test_some_fields_never_change(kind: str, path: str, value: Any, wanted: str) -> None:
    old = VALID[kind]()
    found = [str(each) for each in validate_builtin(edit(old, path, value), old)]
    assert any(wanted in each for each in found), found


def test_some_fields_of_a_pod_may_change() -> None:
    old = VALID["Pod"]()
    assert validate_builtin(edit(old, "spec/containers/0/image", "other:2"), old) == []
    assert validate_builtin(edit(old, "spec/tolerations", [{"key": "k", "operator": "Exists"}]), old) == []
    assert validate_builtin(edit(old, "status/phase", "Running"), old) == []


def test_frozen_secrets_stay() -> None:
    old = edit(VALID["Secret"](), "immutable", True)
    found = [str(each) for each in validate_builtin(edit(old, "data", {}), old)]
    assert found == ["data: Forbidden: field is immutable when `immutable` is set"]


def test_string_data_becomes_data() -> None:
    assert VALID["Secret"]() == {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "x", "namespace": "ns"},
        "data": {"k": "dg=="},
        "type": "Opaque",
    }


def test_finalizers_cannot_be_added_to_what_is_going() -> None:
    old = edit(VALID["ConfigMap"](), "metadata/deletionTimestamp", "2026-01-01T00:00:00Z")
    found = [str(each) for each in validate_builtin(edit(old, "metadata/finalizers", ["a.b/c"]), old)]
    assert found == [
        "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, "
        'found new finalizers []string{"a.b/c"}'
    ]


def test_a_job_selects_its_pods_by_its_uid() -> None:
    job = VALID["Job"]()
    job["metadata"]["uid"] = "u1"
    default_builtin(job)
    assert job["spec"]["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": "u1"}}
    labels = job["spec"]["template"]["metadata"]["labels"]
    assert labels["job-name"] == "x"
    assert labels["batch.kubernetes.io/controller-uid"] == "u1"


def definition(**spec: Any) -> Json:
    schema = {"type": "object", "properties": {"spec": {"type": "object"}}}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    obj = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.e.com"},
        "spec": {
            "group": "e.com",
            "scope": "Namespaced",
            "names": {"plural": "things", "kind": "Thing"},
            "versions": [version],
            **spec,
        },
    }
    default_builtin(obj)
    return obj


def test_definitions() -> None:
    good = definition()
    assert good["spec"]["names"] == {
        "plural": "things",
        "kind": "Thing",
        "singular": "thing",
        "listKind": "ThingList",
    }
    assert validate_builtin(good, None) == []
    assert [str(each) for each in validate_builtin(definition(group="f.com"), None)] == [
        'metadata.name: Invalid value: "things.e.com": must be spec.names.plural+"."+spec.group'
    ]
    no_storage = edit(good, "spec/versions/0/storage", False)
    assert (
        "must have exactly one version marked as storage version"
        in validate_builtin(no_storage, None)[0].message
    )
    no_schema = edit(good, "spec/versions/0/schema", None)
    assert [str(each) for each in validate_builtin(no_schema, None)] == [
        "spec.versions[0].schema.openAPIV3Schema: Required value: schemas are required"
    ]
    wrong = edit(good, "spec/versions/0/schema/openAPIV3Schema/properties/spec", {})
    assert validate_builtin(wrong, None)[0].field == "spec.validation.openAPIV3Schema.properties[spec].type"


def test_custom_resources_are_judged_by_metadata_only() -> None:
    thing = {"apiVersion": "e.com/v1", "kind": "Thing", "metadata": {"name": "x", "finalizers": ["plain"]}}
    assert validate_builtin(thing, None) == []
    assert validate_builtin({**thing, "metadata": {"name": "X"}}, None) != []
