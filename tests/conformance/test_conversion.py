"""Versions of custom resources that a webhook converts."""

from __future__ import annotations

from addon_framework.api.meta import Json
from tests.conformance.api import Api
from tests.conformance.conftest import Define, Kubectl
from tests.conformance.hookserver import HookServer
from tests.conformance.objects import Custom


async def test_27_versions_converted_by_a_webhook(
    api: Api, namespace: str, define: Define, hooks: HookServer, kubectl: Kubectl
) -> None:
    def convert(request: Json) -> Json:
        converted = []
        for obj in request["objects"]:
            spec = obj["spec"]
            if request["desiredAPIVersion"].endswith("/v2"):
                first, _, last = spec["name"].partition(" ")
                spec = {"first": first, "last": last}
            else:
                spec = {"name": f"{spec['first']} {spec['last']}"}
            converted.append({**obj, "apiVersion": request["desiredAPIVersion"], "spec": spec})
        return {"result": {"status": "Success"}, "convertedObjects": converted}

    hooks.answers["convert"] = convert
    text = {"type": "string"}
    custom = Custom({"spec": {"type": "object", "properties": {"name": text}}})
    schema = {"spec": {"type": "object", "properties": {"first": text, "last": text}}}
    custom.versions.append({
        "name": "v2", "served": True, "storage": False,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": schema}},
    })  # fmt: skip
    custom.conversion = {
        "strategy": "Webhook",
        "webhook": {"clientConfig": hooks.url("convert"), "conversionReviewVersions": ["v1"]},
    }
    await define(custom)
    old, new = custom.path(namespace), custom.path(namespace, version="v2")
    for name in ("ada", "bob"):
        (await api.post(old, custom.object(name, spec={"name": f"{name} x"}))).ok(201)
    start = (await api.get(new)).ok()["metadata"]["resourceVersion"]
    items = (await api.get(new)).ok()["items"]
    assert [item["spec"] for item in items] == [{"first": "ada", "last": "x"}, {"first": "bob", "last": "x"}]
    assert {item["apiVersion"] for item in items} == {f"{custom.group}/v2"}
    made = (await api.post(new, custom.object("eve", "v2", spec={"first": "eve", "last": "y"}))).ok(201)
    assert made["spec"] == {"first": "eve", "last": "y"}
    assert (await api.get(custom.path(namespace, "eve"))).ok()["spec"] == {"name": "eve y"}
    changed = (await api.patch(custom.path(namespace, "eve", "v2"), {"spec": {"last": "z"}})).ok()
    assert changed["spec"] == {"first": "eve", "last": "z"}
    assert changed["metadata"]["generation"] == 2
    applied = {"apiVersion": f"{custom.group}/v2", "kind": custom.kind, "spec": {"last": "w"}}
    (await api.apply(custom.path(namespace, "eve", "v2"), applied, force="true")).ok()
    assert (await api.get(custom.path(namespace, "eve"))).ok()["spec"] == {"name": "eve w"}
    async with api.watch(new, resourceVersion=start) as events:
        event = await anext(events)
        assert (event["object"]["apiVersion"], event["object"]["spec"]["first"]) == (
            f"{custom.group}/v2",
            "eve",
        )
    shown = await kubectl(
        "get", f"{custom.plural}.v2.{custom.group}", "-n", namespace, "-o", "jsonpath={..first}"
    )
    assert shown == "ada bob eve"
    hooks.answers["convert"] = lambda request: {"result": {"status": "Failed", "message": "cannot"}}
    (await api.patch(custom.path(namespace, "bob"), {"spec": {"name": "b c"}})).ok()
    said = await api.get(custom.path(namespace, "bob", "v2"))
    assert (said.code, said.body["kind"], "reason" in said.body) == (500, "Status", False)
    assert "conversion webhook for" in said.body["message"]
    assert "cannot" in said.body["message"]
    hooks.answers["convert"] = convert
