"""Objects of built-in kinds that a server refuses although their schemas would take them."""

from __future__ import annotations

import secrets
from typing import Any

import pytest

from addon_framework.api.meta import Json
from tests.conformance.api import Api
from tests.conformance.conftest import CRDS
from tests.conformance.objects import Custom

INVALID, DUPLICATE, REQUIRED = "FieldValueInvalid", "FieldValueDuplicate", "FieldValueRequired"
HOOKS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
LOG = "/api/v1/namespaces/{}/pods/p/log"


@pytest.mark.parametrize(
    ("topologies", "wrong"),
    [
        ([{}], [0]),
        ([{"matchLabelExpressions": []}], [0]),
        ([{"matchLabelExpressions": [{"key": "a", "values": ["b"]}]}], []),
        (
            [{"matchLabelExpressions": [{"key": "a", "values": each}]} for each in (["b", "c"], ["c", "b"])],
            [1],
        ),
    ],
)
async def test_30_topologies_are_said_once(api: Api, topologies: list[Json], wrong: list[int]) -> None:
    obj = {"metadata": {"name": secrets.token_hex(4)}, "provisioner": "a.example.com/b"}
    path = "/apis/storage.k8s.io/v1/storageclasses"
    answer = await api.post(path, {**obj, "allowedTopologies": topologies}, dryRun="All")
    where = {f"allowedTopologies[{index}].matchLabelExpressions": DUPLICATE for index in wrong}
    assert (answer.causes if wrong else answer.ok(201) and {}) == where


async def test_30_an_autoscaler_without_policies(api: Api, namespace: str) -> None:
    spec: Json = {
        "maxReplicas": 2,
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"},
    }
    path = f"/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers"
    body = {"metadata": {"name": "h"}, "spec": {**spec, "behavior": {"scaleUp": {"policies": []}}}}
    assert (await api.post(path, body)).causes == {"spec.behavior.scaleUp.policies": REQUIRED}
    body["spec"]["behavior"]["scaleUp"] = {}
    made = (await api.post(path, body)).ok(201)["spec"]
    assert made["minReplicas"] == 1
    assert made["metrics"][0]["resource"]["target"] == {"type": "Utilization", "averageUtilization": 80}
    assert [each["value"] for each in made["behavior"]["scaleUp"]["policies"]] == [4, 100]


def hook(**fields: Any) -> Json:
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    rule |= {"resources": fields.pop("resources")} if "resources" in fields else {}
    made = {"name": "a.example.com", "clientConfig": {"url": "https://localhost/"}, "rules": [rule]}
    made |= {"admissionReviewVersions": ["v1"], "sideEffects": "None", **fields}
    return {"metadata": {"name": secrets.token_hex(4)}, "webhooks": [made]}


@pytest.mark.parametrize(
    ("resources", "wrong"),
    [
        (["*/*", "*/*"], ["", "[1]"]),
        (["*/*", "pods"], [""]),
        (["pods/*", "pods/log"], ["[1]"]),
        (["*/status", "pods/status"], ["[1]"]),
        (["*", "pods"], [""]),
        (["*", "pods/log"], []),
    ],
)
async def test_51_resources_that_others_cover(api: Api, resources: list[str], wrong: list[str]) -> None:
    answer = await api.post(HOOKS, hook(resources=resources), dryRun="All")
    where = {f"webhooks[0].rules[0].resources{each}": INVALID for each in wrong}
    assert (answer.causes if wrong else answer.ok(201) and {}) == where


@pytest.mark.parametrize(
    ("expression", "good"),
    [("1", False), ("'a' + 'b'", False), ("size(request.name)", False), ("request.name == 'a'", True)],
)
async def test_51_conditions_hold_or_do_not(api: Api, expression: str, good: bool) -> None:
    conditions = [{"name": "c", "expression": expression}]
    answer = await api.post(HOOKS, hook(matchConditions=conditions), dryRun="All")
    where = {} if good else {"webhooks[0].matchConditions[0].expression": INVALID}
    assert (answer.ok(201) and {} if good else answer.causes) == where


@pytest.mark.parametrize(
    ("rule", "wrong"),
    [
        ({"rule": "self.n"}, "rule"),
        ({"rule": "self.n > 1 ? 1 : 2"}, "rule"),
        ({"rule": "self.n > 1", "messageExpression": "self.n"}, "messageExpression"),
        ({"rule": "self.b", "messageExpression": "self.n > 1 ? 'many' : 'few'"}, ""),
    ],
)
async def test_26_rules_hold_or_do_not(api: Api, rule: Json, wrong: str) -> None:
    properties = {"n": {"type": "integer"}, "b": {"type": "boolean"}}
    schema = {"type": "object", "properties": properties, "x-kubernetes-validations": [rule]}
    answer = await api.post(CRDS, Custom({"spec": schema}).definition(), dryRun="All")
    at = "spec.validation.openAPIV3Schema.properties[spec].x-kubernetes-validations[0]"
    assert (answer.causes if wrong else answer.ok(201) and {}) == (
        {f"{at}.{wrong}": INVALID} if wrong else {}
    )


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({}, 204),
        ({"follow": "true", "tailLines": "0"}, 204),
        ({"container": "other"}, 400),
        ({"tailLines": "x"}, 400),
        ({"sinceTime": "x"}, 400),
        ({"tailLines": "-1"}, 422),
        ({"limitBytes": "0"}, 422),
        ({"stream": "Stdout"}, 422),
        ({"sinceSeconds": "1", "sinceTime": "2020-01-01T00:00:00Z"}, 422),
    ],
)
async def test_52_the_log_of_a_pod_without_a_node(
    api: Api, namespace: str, query: dict[str, str], code: int
) -> None:
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    (await api.post(f"/api/v1/namespaces/{namespace}/pods", pod)).ok(201)
    assert (await api.get(LOG.format(namespace), **query)).code == code


async def test_52_the_log_of_a_pod_on_a_node_that_is_not_there(api: Api, namespace: str) -> None:
    spec = {"nodeName": "nowhere", "containers": [{"name": "c", "image": "i"}]}
    (await api.post(f"/api/v1/namespaces/{namespace}/pods", {"metadata": {"name": "p"}, "spec": spec})).ok(
        201
    )
    (await api.get(LOG.format(namespace))).is_status(404, "NotFound")
