"""Forms of requests and answers: validation of fields, tables, discovery, OpenAPI, statuses, encodings."""

from __future__ import annotations

import gzip
from typing import Any

import pytest
import yaml

from addon_framework.api.meta import Json
from addon_framework.testing import eventually
from tests.conformance.api import Api
from tests.conformance.conftest import Define
from tests.conformance.objects import Custom, config_map, config_maps, deployment, deployments

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
METADATA = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
TWICE = b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"k":"1","k":"2"}}'


def odd(name: str) -> Json:
    obj = deployment(name)
    obj["spec"]["replicsa"] = 1
    return obj


async def test_29_unknown_fields(api: Api, namespace: str) -> None:
    path = deployments(namespace)
    strict = await api.post(path, odd("a"), fieldValidation="Strict")
    assert 'unknown field "spec.replicsa"' in strict.is_status(400, "BadRequest")["message"]
    warned = await api.post(path, odd("a"), fieldValidation="Warn")
    assert "replicsa" not in warned.ok(201)["spec"]
    assert 'unknown field \\"spec.replicsa\\"' in warned.headers["Warning"]
    ignored = await api.post(path, odd("b"), fieldValidation="Ignore")
    ignored.ok(201)
    assert "Warning" not in ignored.headers
    assert "Warning" in (await api.post(path, odd("c"))).headers
    bad = await api.post(path, odd("d"), fieldValidation="Sometimes")
    bad.is_status(422, "Invalid")


async def test_29_unknown_fields_of_custom_resources(api: Api, namespace: str, define: Define) -> None:
    schema = {"spec": {"type": "object", "properties": {"known": {"type": "string"}}}}
    custom = await define(Custom(schema))
    obj = custom.object("a", spec={"known": "x", "odd": 1})
    strict = await api.post(custom.path(namespace), obj, fieldValidation="Strict")
    assert 'unknown field "spec.odd"' in strict.is_status(400, "BadRequest")["message"]
    warned = await api.post(custom.path(namespace), obj)
    assert warned.ok(201)["spec"] == {"known": "x"}
    assert 'unknown field \\"spec.odd\\"' in warned.headers["Warning"]


async def test_29_fields_given_twice(api: Api, namespace: str) -> None:
    answer = await api.post(config_maps(namespace), TWICE, fieldValidation="Strict")
    assert 'duplicate field "data.k"' in answer.is_status(400, "BadRequest")["message"]
    (await api.post(config_maps(namespace), TWICE, fieldValidation="Ignore")).ok(201)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (
            {"replicas": "two"},
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas",
        ),
        ({"template": []}, "cannot unmarshal array"),
    ],
)
async def test_29_wrong_types_of_built_in_kinds(api: Api, namespace: str, spec: Json, said: str) -> None:
    obj = deployment("a")
    obj["spec"] |= spec
    assert said in (await api.post(deployments(namespace), obj)).is_status(400, "BadRequest")["message"]


async def test_29_missing_fields_of_built_in_kinds(api: Api, namespace: str) -> None:
    obj = deployment("a")
    del obj["spec"]["template"]["spec"]["containers"][0]["image"]
    del obj["spec"]["selector"]
    answer = await api.post(deployments(namespace), obj)
    answer.is_status(422, "Invalid")
    assert answer.causes["spec.template.spec.containers[0].image"] == "FieldValueRequired"
    assert answer.causes["spec.selector"] == "FieldValueRequired"


async def test_32_tables(api: Api, namespace: str) -> None:
    await api.post(deployments(namespace), deployment("d", replicas=3))
    table = (await api.get(deployments(namespace), accept=TABLE)).ok()
    assert (table["kind"], table["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    assert table["metadata"]["resourceVersion"]
    named = [column["name"] for column in table["columnDefinitions"]]
    assert named[:5] == ["Name", "Ready", "Up-to-date", "Available", "Age"]
    (row,) = table["rows"]
    assert row["cells"][:2] == ["d", "0/3"]
    assert row["object"]["kind"] == "PartialObjectMetadata"
    whole = (await api.get(deployments(namespace), accept=TABLE, includeObject="Object")).ok()
    assert whole["rows"][0]["object"]["kind"] == "Deployment"
    bare = (await api.get(deployments(namespace, "d"), accept=TABLE, includeObject="None")).ok()
    assert not bare["rows"][0].get("object")


async def test_32_metadata_alone(api: Api, namespace: str) -> None:
    await api.post(config_maps(namespace), config_map("a", {"k": "1"}, labels={"l": "x"}))
    one = (await api.get(config_maps(namespace, "a"), accept=METADATA)).ok()
    assert (one["kind"], one["metadata"]["labels"]) == ("PartialObjectMetadata", {"l": "x"})
    assert "data" not in one
    many = (await api.get(config_maps(namespace), accept=METADATA_LIST, labelSelector="l=x")).ok()
    assert many["kind"] == "PartialObjectMetadataList"
    assert [each["metadata"]["name"] for each in many["items"]] == ["a"]


async def test_33_discovery(api: Api, define: Define) -> None:
    custom = await define(Custom({}, subresources={"status": {}}))
    assert "v1" in (await api.get("/api")).ok()["versions"]
    groups = {group["name"]: group for group in (await api.get("/apis")).ok()["groups"]}
    assert groups["apps"]["preferredVersion"] == {"groupVersion": "apps/v1", "version": "v1"}
    assert custom.group in groups
    assert (await api.get("/apis/apps")).ok()["kind"] == "APIGroup"
    core = {each["name"]: each for each in (await api.get("/api/v1")).ok()["resources"]}
    assert core["pods"]["shortNames"] == ["po"]
    assert (core["pods"]["namespaced"], core["nodes"]["namespaced"]) == (True, False)
    assert {"get", "list", "watch", "create"} <= set(core["pods"]["verbs"])
    assert core["pods/status"]["kind"] == "Pod"
    apps = {each["name"]: each for each in (await api.get("/apis/apps/v1")).ok()["resources"]}
    assert apps["deployments"]["categories"] == ["all"]
    assert apps["deployments/scale"]["kind"] == "Scale"
    ours = (await api.get(f"/apis/{custom.group}/v1")).ok()["resources"]
    assert [each["name"] for each in ours] == ["widgets", "widgets/status"]
    assert ours[0]["singularName"] == "widget"


async def test_33_aggregated_discovery(api: Api, define: Define) -> None:
    custom = await define(Custom({}))
    answer = await api.get("/apis", accept=AGGREGATED)
    assert "as=APIGroupDiscoveryList" in answer.headers["Content-Type"]
    groups = {item["metadata"]["name"]: item for item in answer.ok()["items"]}
    resources = groups[custom.group]["versions"][0]["resources"]
    assert resources[0]["resource"] == "widgets"
    assert resources[0]["scope"] == "Namespaced"
    again = await api.get("/apis", accept=AGGREGATED, headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.code, again.raw) == (304, b"")
    core = (await api.get("/api", accept=AGGREGATED)).ok()
    assert core["items"][0]["versions"][0]["version"] == "v1"


async def test_34_openapi(api: Api, define: Define) -> None:
    schema = {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}}
    custom = await define(Custom(schema))
    paths = (await api.get("/openapi/v3")).ok()["paths"]
    assert "hash=" in paths["api/v1"]["serverRelativeURL"]
    apps = (await api.get("/openapi/v3/apis/apps/v1")).ok()
    kind = apps["components"]["schemas"]["io.k8s.api.apps.v1.Deployment"]
    gvk = {"group": "apps", "version": "v1", "kind": "Deployment"}
    assert gvk in kind["x-kubernetes-group-version-kind"]
    core = (await api.get("/openapi/v3/api/v1")).ok()
    containers = core["components"]["schemas"]["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"]
    assert containers["x-kubernetes-list-map-keys"] == ["name"]

    async def published() -> bool:
        return (await api.get(f"/openapi/v3/apis/{custom.group}/v1")).code == 200

    await eventually(published)
    ours = (await api.get(f"/openapi/v3/apis/{custom.group}/v1")).ok()["components"]["schemas"]
    (mine,) = [s for name, s in ours.items() if name.endswith("Widget")]
    assert mine["properties"]["spec"]["properties"]["size"]["type"] == "integer"


async def test_34_openapi_of_old_clients(api: Api) -> None:
    document = (await api.get("/openapi/v2")).ok()
    assert document["swagger"] == "2.0"
    kind = document["definitions"]["io.k8s.api.apps.v1.Deployment"]
    assert kind["properties"]["spec"]["$ref"] == "#/definitions/io.k8s.api.apps.v1.DeploymentSpec"
    assert "patch" in document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]


async def test_35_health_and_version(api: Api) -> None:
    for path in ("/healthz", "/livez", "/readyz"):
        answer = await api.get(path)
        assert (answer.code, answer.raw) == (200, b"ok")
    assert b"check passed" in (await api.get("/readyz", verbose="")).raw
    version = (await api.get("/version")).ok()
    assert (version["major"], version["gitVersion"][:3]) == ("1", "v1.")
    assert (await api.get("/metrics", accept="*/*")).code == 200


@pytest.mark.parametrize(
    ("method", "path", "code", "reason"),
    [
        ("GET", "/api/v1/nothings", 404, "NotFound"),
        ("GET", "/apis/apps/v9/deployments", 404, "NotFound"),
        ("GET", "/apis/apps/v9", 404, "NotFound"),
        ("GET", "/api/v1/namespaces/default/pods/none", 404, "NotFound"),
        ("GET", "/api/v1/namespaces/default/configmaps/none/status", 404, "NotFound"),
        ("POST", "/api/v1/namespaces/default/configmaps/name", 405, "MethodNotAllowed"),
        ("PUT", "/api/v1/namespaces/default/configmaps", 405, "MethodNotAllowed"),
        ("PATCH", "/api/v1/namespaces/default/configmaps", 405, "MethodNotAllowed"),
        ("DELETE", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", 405, "MethodNotAllowed"),
    ],
)
async def test_36_what_is_not_there(api: Api, method: str, path: str, code: int, reason: str) -> None:
    answer = await api.send(method, path, None if method in ("GET", "DELETE") else {})
    answer.is_status(code, reason)


@pytest.mark.parametrize("path", ["/apis/none.example.com/v1/things", "/apis/none", "/nothing"])
async def test_36_paths_of_nobody_are_answered_in_plain_text(api: Api, path: str) -> None:
    answer = await api.get(path)
    assert (answer.code, answer.raw) == (404, b"404 page not found\n")


async def test_36_two_kinds_of_not_found(api: Api) -> None:
    no_object = (await api.get("/api/v1/namespaces/default/secrets/none")).is_status(404, "NotFound")
    assert no_object["message"] == 'secrets "none" not found'
    assert no_object["details"] == {"name": "none", "kind": "secrets"}
    no_resource = (await api.get("/apis/apps/v1/namespaces/default/none")).code
    assert no_resource == 404


async def test_54_what_a_client_accepts(api: Api, namespace: str) -> None:
    path = config_maps(namespace)
    for accept in ("*/*", "application/vnd.kubernetes.protobuf, application/json", TABLE):
        answer = await api.get(path, accept=accept)
        assert answer.code == 200, answer.raw
    fallback = await api.get(path, accept=f"{METADATA_LIST.replace('json', 'xml')},application/json")
    assert fallback.ok()["kind"] == "ConfigMapList"
    for accept in ("application/xml", "application/*"):
        (await api.get(path, accept=accept)).is_status(406, "NotAcceptable")
    shown = await api.get(path, accept="application/yaml")
    assert yaml.safe_load(shown.raw)["kind"] == "ConfigMapList"


async def test_54_long_answers_are_compressed(api: Api, namespace: str) -> None:
    for number in range(4):
        await api.post(config_maps(namespace), config_map(f"c{number}", {"k": "x" * 50_000}))
    plain = await api.get(config_maps(namespace), headers={"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in plain.headers
    packed = await api.get(config_maps(namespace), headers={"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert packed.body["items"] == plain.body["items"]  # the client has unpacked it
    assert len(gzip.compress(plain.raw)) < len(plain.raw)


async def test_54_yaml_bodies(api: Api, namespace: str) -> None:
    text = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {k: v}\n"
    made: Any = await api.post(config_maps(namespace), text, content_type="application/yaml")
    assert made.ok(201)["data"] == {"k": "v"}
