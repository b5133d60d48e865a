"""Requests that make no sense, one by one: each is refused, and in which words a client can rely on."""

from __future__ import annotations

from typing import Any

import pytest

from addon_framework.api.meta import Json
from addon_framework.testing import eventually
from tests.conformance.api import APPLY, JSON_PATCH, MERGE, STRATEGIC, Answer, Api
from tests.conformance.objects import config_map, config_maps, deployment, deployments

ONE = "/api/v1/namespaces/{}/configmaps/a"
ALL = "/api/v1/namespaces/{}/configmaps"
WEB = "/apis/apps/v1/namespaces/{}/deployments/web"
POD = "/api/v1/namespaces/{}/pods/p"
TOKEN = "/api/v1/namespaces/{}/serviceaccounts/default/token"
REVIEWS = "/apis/authorization.k8s.io/v1"
Causes = dict[str, str]
INVALID, FORBIDDEN = "FieldValueInvalid", "FieldValueForbidden"
UNSUPPORTED, REQUIRED = "FieldValueNotSupported", "FieldValueRequired"


@pytest.fixture
async def things(api: Api, namespace: str) -> str:
    """A namespace with a ConfigMap, a Deployment and a pod."""
    (await api.post(config_maps(namespace), config_map("a", {"k": "v"}))).ok(201)
    (await api.post(deployments(namespace), deployment("web", 0))).ok(201)
    (await api.post(POD.format(namespace).rpartition("/")[0], pod("p"))).ok(201)
    return namespace


def pod(name: str, **spec: Any) -> Json:
    labels = {"app": "x"}
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {"containers": [{"name": "c", "image": "i"}], **spec},
    }


def refused(answer: Answer, code: int, causes: Causes | None = None) -> None:
    assert answer.code == code, answer.raw[:1000]
    assert answer.body["kind"] == "Status"
    if causes is not None:
        assert answer.causes == causes


@pytest.mark.parametrize(
    ("body", "query", "code", "causes"),
    [
        ({"propagationPolicy": "x"}, {}, 422, {"propagationPolicy": UNSUPPORTED}),
        ({"propagationPolicy": "Orphan", "orphanDependents": True}, {}, 422, {"propagationPolicy": INVALID}),
        ({"dryRun": ["x"]}, {}, 422, {"dryRun": UNSUPPORTED}),
        ({"dryRun": "All"}, {}, 400, None),
        ({"orphanDependents": "x"}, {}, 400, None),
        ({"preconditions": []}, {}, 400, None),
        ({"preconditions": {"uid": ""}}, {}, 409, None),
        (b" ", {}, 400, None),
        (None, {"dryRun": ""}, 422, {"dryRun": UNSUPPORTED}),
        (None, {"dryRun": "x"}, 422, {"dryRun": UNSUPPORTED}),
        (None, {"gracePeriodSeconds": "x"}, 400, None),
        (
            None,
            {"orphanDependents": "true", "propagationPolicy": "Orphan"},
            422,
            {"propagationPolicy": INVALID},
        ),
    ],
)
async def test_19_options_of_deletions(
    api: Api, things: str, body: Any, query: dict[str, str], code: int, causes: Causes | None
) -> None:
    refused(await api.delete(ONE.format(things), body, **query), code, causes)
    (await api.get(ONE.format(things))).ok()
    if body != {"preconditions": {"uid": ""}}:  # of a collection, before anything is looked for
        none = {"labelSelector": "nobody=has-it"}
        refused(await api.delete(ALL.format(things), body, **query, **none), code, causes)


@pytest.mark.parametrize(
    ("query", "code", "causes"),
    [
        ({"limit": "x"}, 400, None),
        ({"limit": "99999999999999999999"}, 400, None),
        ({"timeoutSeconds": "x"}, 400, None),
        ({"sendInitialEvents": "true"}, 422, {"sendInitialEvents": FORBIDDEN}),
        ({"fieldSelector": "metadata.name=a=b"}, 400, None),
        ({"fieldSelector": "metadata.name=a\\"}, 400, None),
        ({"labelSelector": "x" * 64}, 400, None),
        ({"labelSelector": "a=" + "x" * 64}, 400, None),
        ({"labelSelector": "a in (-)"}, 400, None),
        ({"labelSelector": "a in (b c)"}, 400, None),
    ],
)
async def test_13_options_of_lists(
    api: Api, namespace: str, query: dict[str, str], code: int, causes: Causes | None
) -> None:
    refused(await api.get(ALL.format(namespace), **query), code, causes)


async def test_14_an_object_of_the_future(api: Api, things: str) -> None:
    answer = await api.get(ONE.format(things), resourceVersion="999999999999")
    assert answer.is_status(504, "Timeout")["details"]["retryAfterSeconds"] == 1


async def test_16_escaped_values_and_fields_by_group(api: Api, namespace: str) -> None:
    escaped = await api.get(ALL.format(namespace), fieldSelector="metadata.name=a\\,b")
    assert escaped.ok()["items"] == []
    for path, right, wrong in (
        ("/api/v1/events", "involvedObject.name=none", "regarding.name=none"),
        ("/apis/events.k8s.io/v1/events", "regarding.name=none", "involvedObject.name=none"),
        ("/api/v1/replicationcontrollers", "status.replicas=7", "spec.replicas=7"),
        ("/apis/apps/v1/deployments", "metadata.name=none", "status.replicas=7"),
        ("/apis/apps/v1/replicasets", "metadata.name=none", "status.replicas=7"),
    ):
        assert (await api.get(path, fieldSelector=right)).ok()["items"] == []
        (await api.get(path, fieldSelector=wrong)).is_status(400, "BadRequest")


@pytest.mark.parametrize(
    ("form", "path"),
    [
        ("as=Table", ONE),
        ("as=Table;g=meta.k8s.io;v=v2", ONE),
        ("as=Table;g=example.com;v=v1", ALL),
        ("as=PartialObjectMetadata;g=meta.k8s.io;v=v1", ALL),
        ("as=PartialObjectMetadataList;g=meta.k8s.io;v=v1", ONE),
    ],
)
async def test_32_forms_that_are_none(api: Api, things: str, form: str, path: str) -> None:
    (await api.get(path.format(things), accept=f"application/json;{form}")).is_status(406, "NotAcceptable")


async def test_32_what_a_table_may_include(api: Api, things: str) -> None:
    table = "application/json;as=Table;g=meta.k8s.io;v=v1"
    (await api.get(ONE.format(things), accept=table, includeObject="x")).is_status(400, "BadRequest")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v1/namespaces/{}/finalize"),
        ("PATCH", "/api/v1/namespaces/{}/finalize"),
        ("GET", POD + "/eviction"),
        ("PUT", POD + "/eviction"),
        ("GET", POD + "/binding"),
        ("POST", WEB + "/scale"),
        ("DELETE", WEB + "/status"),
        ("GET", f"{REVIEWS}/selfsubjectaccessreviews"),
        ("POST", "/api/v1/configmaps"),
        ("DELETE", "/api/v1/pods"),
        ("DELETE", "/api/v1/namespaces"),
    ],
)
async def test_36_methods_that_a_resource_does_not_have(
    api: Api, things: str, method: str, path: str
) -> None:
    body: Json | None = {} if method in ("POST", "PUT", "PATCH") else None
    answer = await api.send(
        method, path.format(things), body, content_type=MERGE if method == "PATCH" else ""
    )
    answer.is_status(405, "MethodNotAllowed")


async def test_36_documents_of_nobody(api: Api) -> None:
    for path in (
        "/openapi/v3/apis/example.com/v1",
        "/openapi/v3/api/v2",
        "/readyz/nothing",
        "/livez/nothing",
    ):
        assert (await api.get(path)).code == 404, path


@pytest.mark.parametrize(
    ("body", "media", "code"),
    [
        ([{"op": "remove", "path": "/metadata/name"}], JSON_PATCH, 400),
        ([{"op": "replace", "path": "", "value": {}}], JSON_PATCH, 400),
        ([{"op": "add", "path": "/data/x", "value": "1"}] * 10_001, JSON_PATCH, 413),
        ({"metadata": None}, MERGE, 400),
        ({"metadata": None}, STRATEGIC, 400),
        ({"metadata": {"name": "b"}}, MERGE, 400),
        ({"metadata": {"uid": "other"}}, MERGE, 422),
        ({"metadata": {"deletionTimestamp": "2020-01-01T00:00:00Z"}}, MERGE, 422),
    ],
)
async def test_21_patches_keep_the_identity(api: Api, things: str, body: Any, media: str, code: int) -> None:
    refused(await api.patch(ONE.format(things), body, media), code)


async def test_22_an_order_that_the_patch_does_not_follow(api: Api, things: str) -> None:
    for order in ([{"name": "x"}], "x"):
        spec = {"containers": [{"name": "c", "image": "j"}], "$setElementOrder/containers": order}
        answer = await api.patch(WEB.format(things), {"spec": {"template": {"spec": spec}}}, STRATEGIC)
        assert answer.code >= 400


async def test_22_new_items_come_first(api: Api, things: str) -> None:
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "new", "image": "j"}]}}}}
    changed = (await api.patch(WEB.format(things), patch, STRATEGIC)).ok()
    assert [each["name"] for each in changed["spec"]["template"]["spec"]["containers"]] == ["new", "c"]


@pytest.mark.parametrize(
    ("config", "query", "code"),
    [
        ({"metadata": {"name": "n"}}, {}, 400),
        ({"apiVersion": "v1", "metadata": {"name": "n"}}, {}, 400),
        ({"apiVersion": "v1", "kind": "ConfigMap"}, {}, 400),
        ({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "other"}}, {}, 400),
        ({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "n", "managedFields": []}}, {}, 400),
        ({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "n", "uid": "u"}}, {}, 409),
        ({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "n"}}, {"fieldManager": ""}, 422),
        ({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "n"}}, {"fieldManager": "\x01"}, 422),
        ({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "n"}, "zz": 1}, {}, 500),
    ],
)
async def test_23_configurations_that_say_too_little_or_too_much(
    api: Api, namespace: str, config: Json, query: dict[str, str], code: int
) -> None:
    options = {"fieldManager": "a", "fieldValidation": "Ignore", **query}
    refused(await api.patch(config_maps(namespace, "n"), config, APPLY, **options), code)
    assert (await api.get(config_maps(namespace, "n"))).code == 404


async def test_23_no_item_is_applied_twice(api: Api, things: str) -> None:
    ports = [{"containerPort": 1}, {"containerPort": 1, "protocol": "TCP"}]
    spec = {"template": {"spec": {"containers": [{"name": "c", "ports": ports}]}}}
    config = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}
    answer = await api.apply(WEB.format(things), config)
    assert answer.code == 500
    assert "duplicate entries for key" in answer.body["message"]


async def test_23_replicas_have_an_owner_too(api: Api, things: str) -> None:
    config = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}}
    (await api.apply(WEB.format(things), {**config, "spec": {"replicas": 0}}, "first")).ok()
    scale = {
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": {"name": "web"},
        "spec": {"replicas": 1},
    }
    conflict = await api.apply(WEB.format(things) + "/scale", scale, "second")
    assert conflict.is_status(409, "Conflict")["details"]["causes"][0]["field"] == ".spec.replicas"
    (await api.apply(WEB.format(things) + "/scale", scale, "second", force="true")).ok()
    fields = (await api.get(WEB.format(things))).ok()["metadata"]["managedFields"]
    assert [each["manager"] for each in fields if each.get("subresource") == "scale"] == ["second"]


async def test_29_fields_that_a_patch_gives_twice(api: Api, things: str) -> None:
    body = b'{"data":{"k":"1","k":"2"}}'
    refused(await api.patch(ONE.format(things), body, MERGE, fieldValidation="Strict"), 422)
    refused(await api.post(ALL.format(things), b"{", fieldValidation="Strict"), 400)


async def test_06_no_part_of_a_status_is_more_than_the_whole(api: Api, things: str) -> None:
    for state, field in (
        ({"replicas": 1, "readyReplicas": 2}, "status.readyReplicas"),
        ({"replicas": -1}, "status.replicas"),
    ):
        answer = await api.patch(WEB.format(things) + "/status", {"status": state})
        answer.is_status(422, "Invalid")
        assert answer.causes[field] == INVALID


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Impersonate-Uid": "1"}, 400),
        ({"Impersonate-Extra-scopes": "x"}, 400),
        ({"Impersonate-User": "jane", "Impersonate-Uid": "1"}, 403),
        ({"Impersonate-User": "jane", "Impersonate-Extra-scopes": "no"}, 403),
        ({"Impersonate-User": "jane", "Impersonate-Extra-scopes": "ok"}, 201),
    ],
)
async def test_38_all_that_is_impersonated_needs_a_right(
    api: Api, token_api: Any, namespace: str, headers: dict[str, str], code: int
) -> None:
    rbac, role = "/apis/rbac.authorization.k8s.io/v1", f"impersonator-{namespace}"
    rules = [
        {"verbs": ["impersonate"], "apiGroups": [""], "resources": ["users"]},
        {
            "verbs": ["impersonate"], "apiGroups": ["authentication.k8s.io"],
            "resources": ["userextras/scopes"], "resourceNames": ["ok"],
        },
    ]  # fmt: skip
    (await api.post(f"{rbac}/clusterroles", {"metadata": {"name": role}, "rules": rules})).ok(201)
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}
    subject = {"kind": "ServiceAccount", "name": "default", "namespace": namespace}
    binding = {"metadata": {"name": role}, "roleRef": reference, "subjects": [subject]}
    (await api.post(f"{rbac}/clusterrolebindings", binding)).ok(201)
    token = (await api.post(TOKEN.format(namespace), {"spec": {}})).ok(201)["status"]["token"]
    who = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    try:

        async def asked() -> Answer | None:
            answer = await token_api(token).post(who, {}, headers=headers)
            return answer if answer.code == code else None

        answer = await eventually(asked)  # once the authorizer has heard of the binding
        if code == 201:
            assert answer.ok(201)["status"]["userInfo"]["extra"] == {"scopes": ["ok"]}
    finally:
        for plural in ("clusterroles", "clusterrolebindings"):
            (await api.delete(f"{rbac}/{plural}/{role}")).ok()


@pytest.mark.parametrize(
    ("path", "body", "code", "causes"),
    [
        ("selfsubjectaccessreviews", {}, 422, {"spec.resourceAttributes": INVALID}),
        (
            "selfsubjectaccessreviews",
            {"resourceAttributes": {}, "nonResourceAttributes": {}},
            422,
            {"spec.nonResourceAttributes": INVALID},
        ),
        ("subjectaccessreviews", {"resourceAttributes": {}}, 422, {"spec.user": INVALID}),
        ("selfsubjectrulesreviews", {}, 400, None),
        (
            "namespaces/default/localsubjectaccessreviews",
            {"user": "x", "resourceAttributes": {"namespace": "other"}},
            422,
            {"spec.resourceAttributes.namespace": INVALID},
        ),
        (
            "namespaces/default/localsubjectaccessreviews",
            {"user": "x", "nonResourceAttributes": {"path": "/"}},
            422,
            {"spec.nonResourceAttributes": INVALID},
        ),
    ],
)
async def test_40_reviews_that_ask_nothing(
    api: Api, path: str, body: Json, code: int, causes: Causes | None
) -> None:
    refused(await api.post(f"{REVIEWS}/{path}", {"spec": body}), code, causes)


async def test_40_a_token_review_needs_a_token(api: Api) -> None:
    answer = await api.post("/apis/authentication.k8s.io/v1/tokenreviews", {"spec": {"token": ""}})
    answer.is_status(400, "BadRequest")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"spec": {"boundObjectRef": {}}}, 400),
        ({"spec": {"boundObjectRef": {"kind": "ConfigMap", "apiVersion": "v1", "name": "a"}}}, 400),
        ({"metadata": {"name": "other"}, "spec": {}}, 422),
        ({"metadata": {"namespace": "other"}, "spec": {}}, 400),
        ({"kind": "Pod", "spec": {}}, 400),
    ],
)
async def test_42_tokens_of_nothing(api: Api, namespace: str, body: Json, code: int) -> None:
    refused(await api.post(TOKEN.format(namespace), body), code)


@pytest.mark.parametrize(
    ("spec", "code"),
    [
        ({"priority": 5}, 403),
        ({"priorityClassName": "none-such"}, 403),
        ({"preemptionPolicy": "Never"}, 403),
        ({"runtimeClassName": "none-such"}, 403),
        ({"overhead": {"cpu": "1"}}, 403),
        ({"ephemeralContainers": [{"name": "e", "image": "i"}]}, 422),
        ({"resourceClaims": [{"name": "a"}]}, 422),
        ({"volumes": [{"name": "v", "ephemeral": {}}]}, 422),
        ({"initContainers": [{"name": "i", "image": "i", "lifecycle": {}}]}, 422),
    ],
)
async def test_46_pods_that_admission_refuses(api: Api, namespace: str, spec: Json, code: int) -> None:
    refused(await api.post(f"/api/v1/namespaces/{namespace}/pods", pod("p", **spec)), code)


async def test_50_system_pods_have_their_priority(api: Api, namespace: str) -> None:
    body = pod("p", priorityClassName="system-node-critical")
    made = (await api.post(f"/api/v1/namespaces/{namespace}/pods", body, dryRun="All")).ok(201)
    assert made["spec"]["priority"] == 2_000_001_000


async def test_52_bindings_and_evictions_name_their_pod(api: Api, things: str) -> None:
    path, target = POD.format(things), {"kind": "Node", "name": "none"}
    for body in ({"target": target}, {"metadata": {"name": "q"}, "target": target}):
        (await api.post(f"{path}/binding", body)).is_status(400, "BadRequest")
        (await api.post(f"{path}/eviction", {**body, "target": None})).is_status(400, "BadRequest")
    other = {"metadata": {"name": "p", "uid": "other"}, "target": target}
    (await api.post(f"{path}/binding", other)).is_status(409, "Conflict")
    dry = await api.post(f"{path}/binding", {"metadata": {"name": "p"}, "target": target}, dryRun="All")
    assert dry.code == 201
    assert "nodeName" not in (await api.get(path)).ok()["spec"]


async def test_52_a_budget_keeps_pods(api: Api, things: str) -> None:
    path = POD.format(things)
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": "x"}}}
    budgets = f"/apis/policy/v1/namespaces/{things}/poddisruptionbudgets"
    (await api.post(budgets, {"metadata": {"name": "b"}, "spec": spec})).ok(201)
    binding = {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "none"}}
    assert (await api.post(f"{path}/binding", binding)).code == 201
    ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    (await api.patch(f"{path}/status", {"status": ready})).ok()
    answer = await api.post(f"{path}/eviction", {"metadata": {"name": "p"}})
    answer.is_status(429, "TooManyRequests")
    assert answer.headers["Retry-After"] == "10"
    assert "deletionTimestamp" not in (await api.get(path)).ok()["metadata"]


async def test_39_rights_come_before_methods(token_api: Any) -> None:
    for path in ("/api/v1/namespaces", "/api/v1/namespaces/default/pods/p/status"):
        (await token_api(None).delete(path)).is_status(403, "Forbidden")
