"""OpenAPI documents: complete, and with what kubectl looks for."""

from __future__ import annotations

import re

import orjson

from addon_framework.api.meta import Json
from addon_framework.local.apiserver.openapi import openapi_v3, openapi_v3_index
from addon_framework.local.apiserver.registry import Kind, Version

DEPLOYMENTS = Kind(
    group="apps",
    plural="deployments",
    kind="Deployment",
    versions=(Version("v1"),),
    storage="v1",
    subresources=("status", "scale"),
)
SCHEMA: Json = {
    "type": "object",
    "description": "A thing.",
    "properties": {"spec": {"type": "object", "properties": {"n": {"type": "integer", "nullable": True}}}},
}
THINGS = Kind(
    group="e.com",
    plural="things",
    kind="Thing",
    versions=(Version("v1", openapi=SCHEMA),),
    storage="v1",
    custom=True,
    subresources=("status",),
)


def references(document: Json) -> set[str]:
    return set(re.findall(r'"\$ref":"#/components/schemas/([^"]+)"', orjson.dumps(document).decode()))


def test_the_index_changes_with_what_is_served() -> None:
    index = openapi_v3_index([DEPLOYMENTS, THINGS])["paths"]
    assert set(index) == {"apis/apps/v1", "apis/e.com/v1"}
    assert index["apis/e.com/v1"]["serverRelativeURL"].startswith("/openapi/v3/apis/e.com/v1?hash=")
    changed = Kind(
        group="e.com",
        plural="things",
        kind="Thing",
        storage="v1",
        custom=True,
        versions=(Version("v1", openapi={"type": "object"}),),
    )
    assert openapi_v3_index([changed])["paths"] != {"apis/e.com/v1": index["apis/e.com/v1"]}


def test_every_reference_is_there() -> None:
    for document in (openapi_v3([DEPLOYMENTS], "apps", "v1"), openapi_v3([THINGS], "e.com", "v1")):
        assert references(document) <= set(document["components"]["schemas"])


def test_builtin_kinds_carry_merge_keys_and_their_patch_types() -> None:
    document = openapi_v3([DEPLOYMENTS, THINGS], "apps", "v1")
    pod_spec = document["components"]["schemas"]["io.k8s.api.core.v1.PodSpec"]
    assert pod_spec["properties"]["containers"]["x-kubernetes-patch-merge-key"] == "name"
    assert pod_spec["properties"]["containers"]["type"] == "array"
    patch = document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"]
    assert patch["x-kubernetes-group-version-kind"] == {
        "group": "apps",
        "version": "v1",
        "kind": "Deployment",
    }
    assert "fieldValidation" in {each["name"] for each in patch["parameters"]}
    assert "application/strategic-merge-patch+json" in patch["requestBody"]["content"]


def test_custom_kinds_are_described_without_strategic_merge() -> None:
    document = openapi_v3([THINGS], "e.com", "v1")
    schema = document["components"]["schemas"]["com.e.v1.Thing"]
    assert schema["description"] == "A thing."
    assert set(schema["properties"]) == {"apiVersion", "kind", "metadata", "spec"}
    assert schema["x-kubernetes-group-version-kind"] == [{"group": "e.com", "version": "v1", "kind": "Thing"}]
    patch = document["paths"]["/apis/e.com/v1/namespaces/{namespace}/things/{name}"]["patch"]
    assert "application/strategic-merge-patch+json" not in patch["requestBody"]["content"]
