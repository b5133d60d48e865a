"""Lists: what a selection holds, page by page, at which version."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from addon_framework.api.meta import Json
from addon_framework.kube.config import load_kubeconfig
from tests.conformance.api import Api
from tests.conformance.conftest import Define
from tests.conformance.objects import Custom, config_map, config_maps

Writes = list[tuple[str, str]]
WRITES = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["put", "put", "delete"])), min_size=1, max_size=25
)


def names(listed: Json) -> list[str]:
    return [each["metadata"]["name"] for each in listed["items"]]


@given(writes=WRITES, delay=st.floats(0, 0.02))
@settings(max_examples=20)
def test_07_list_and_watch_miss_nothing(
    kubeconfig: Path, writes: list[tuple[str, str]], delay: float
) -> None:
    asyncio.run(_list_and_watch(kubeconfig, writes, delay))


async def _list_and_watch(kubeconfig: Path, writes: Writes, delay: float) -> None:
    """The list, taken at any moment, and the events after it together are the final state."""
    api = Api(load_kubeconfig(kubeconfig))
    label = f"run={secrets.token_hex(4)}"
    end = secrets.token_hex(4)

    async def write() -> None:
        for count, (name, verb) in enumerate(writes):
            full = f"{name}-{label[4:]}"
            if verb == "delete":
                await api.delete(config_maps("default", full))
            else:
                obj = config_map(full, {"n": str(count)}, labels={"run": label[4:]})
                made = await api.post(config_maps("default"), obj)
                if made.code == 409:
                    await api.put(config_maps("default", full), obj)
        await api.post(config_maps("default"), config_map(end, labels={"run": label[4:]}))

    writing = asyncio.create_task(write())
    await asyncio.sleep(delay)  # the moment of the list is part of what is varied
    listed = (await api.get(config_maps("default"), labelSelector=label)).ok()
    state = {each["metadata"]["name"]: each["data"] for each in listed["items"] if "data" in each}
    version = listed["metadata"]["resourceVersion"]
    async with api.watch(config_maps("default"), resourceVersion=version, labelSelector=label) as events:
        while end not in state and end not in names(listed):
            event = await anext(events)
            metadata = event["object"]["metadata"]
            assert int(metadata["resourceVersion"]) > int(version)
            if event["type"] == "DELETED":
                del state[metadata["name"]]
            else:
                assert (event["type"] == "MODIFIED") == (metadata["name"] in state)
                state[metadata["name"]] = event["object"].get("data")
    await writing
    final = (await api.get(config_maps("default"), labelSelector=label)).ok()
    assert {n: d for n, d in state.items() if n != end} == {
        each["metadata"]["name"]: each["data"] for each in final["items"] if each["metadata"]["name"] != end
    }
    await api.delete(config_maps("default"), labelSelector=label)
    await api.close()


async def test_13_pages_are_of_one_moment(api: Api, namespace: str) -> None:
    for name in "abcdefg":
        await api.post(config_maps(namespace), config_map(name, labels={"l": "x"}))
    query = {"labelSelector": "l=x", "limit": 3}
    page = (await api.get(config_maps(namespace), **query)).ok()
    found, version = names(page), page["metadata"]["resourceVersion"]
    await api.delete(config_maps(namespace, "f"))
    await api.post(config_maps(namespace), config_map("ee", labels={"l": "x"}))
    while token := page["metadata"].get("continue"):
        page = (await api.get(config_maps(namespace), **query, **{"continue": token})).ok()
        assert page["metadata"]["resourceVersion"] == version
        found += names(page)
    assert found == list("abcdefg")


async def test_13_a_page_says_how_many_are_left(api: Api, namespace: str) -> None:
    total = len((await api.get(config_maps(namespace))).ok()["items"])
    for name in "abcde":
        await api.post(config_maps(namespace), config_map(name))
    page = (await api.get(config_maps(namespace), limit=2)).ok()
    assert len(page["items"]) == 2
    assert page["metadata"]["remainingItemCount"] == total + 3
    whole = (await api.get(config_maps(namespace), limit=500)).ok()
    assert "continue" not in whole["metadata"]
    assert "remainingItemCount" not in whole["metadata"]


async def test_13_a_token_that_is_none(api: Api, namespace: str) -> None:
    answer = await api.get(config_maps(namespace), limit=1, **{"continue": "bm8="})
    answer.is_status(400, "BadRequest")


async def test_13_a_token_shows_nothing_of_another_kind(api: Api, namespace: str) -> None:
    for name in ("hidden-a", "hidden-b"):
        await api.post(f"/api/v1/namespaces/{namespace}/secrets", {"metadata": {"name": name}})
    page = (await api.get(f"/api/v1/namespaces/{namespace}/secrets", limit=1)).ok()
    assert page["items"][0]["metadata"]["name"] == "hidden-a"
    token = page["metadata"]["continue"]
    answer = await api.get(config_maps(namespace), limit=1, **{"continue": token})
    assert b"hidden" not in answer.raw


async def test_14_reads_at_a_version(api: Api, namespace: str) -> None:
    await api.post(config_maps(namespace), config_map("a", labels={"l": "x"}))
    listed = (await api.get(config_maps(namespace))).ok()
    version = listed["metadata"]["resourceVersion"]
    (await api.get(config_maps(namespace), resourceVersion="0")).ok()
    for match in ("NotOlderThan", "Exact"):
        query = {"resourceVersion": version, "resourceVersionMatch": match, "labelSelector": "l=x"}
        again = (await api.get(config_maps(namespace), **query)).ok()
        assert names(again) == ["a"]


async def test_14_the_past_at_its_version(api: Api, namespace: str) -> None:
    path, query = config_maps(namespace), {"labelSelector": "l=x", "resourceVersionMatch": "Exact"}
    for name in "ab":
        made = (await api.post(path, config_map(name, {"n": "1"}, labels={"l": "x"}))).ok(201)
    version = made["metadata"]["resourceVersion"]
    await api.delete(config_maps(namespace, "a"))
    await api.patch(config_maps(namespace, "b"), {"data": {"n": "2"}})
    await api.post(path, config_map("c", labels={"l": "x"}))
    past = (await api.get(path, resourceVersion=version, **query)).ok()
    assert [(o["metadata"]["name"], o["data"]["n"]) for o in past["items"]] == [("a", "1"), ("b", "1")]
    assert past["metadata"]["resourceVersion"] == version


async def test_14_versions_that_make_no_sense(api: Api, namespace: str) -> None:
    path = config_maps(namespace)
    assert (await api.get(path, resourceVersion="x")).code == 400
    lonely = await api.get(path, resourceVersionMatch="Exact")
    lonely.is_status(422, "Invalid")
    assert lonely.causes == {"resourceVersionMatch": "FieldValueForbidden"}
    exact_zero = await api.get(path, resourceVersion="0", resourceVersionMatch="Exact")
    exact_zero.is_status(422, "Invalid")
    unknown = await api.get(path, resourceVersion="5", resourceVersionMatch="Nearly")
    unknown.is_status(422, "Invalid")
    future = await api.get(path, resourceVersion="999999999999", resourceVersionMatch="NotOlderThan")
    assert future.is_status(504, "Timeout")["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("", "abcd"),
        ("env=prod", "a"),
        ("env==prod", "a"),
        ("env!=prod", "bcd"),
        ("env in (prod, dev)", "ab"),
        ("env notin (prod,dev)", "cd"),
        ("env", "abc"),
        ("!env", "d"),
        ("env,tier", "ac"),
        ("env=prod,tier=front", "a"),
        ("tier in (front),env notin (prod)", "c"),
        ("env=", "c"),
        ("size>2", "b"),
        ("size<2", "a"),
        ("example.com/x=y", "d"),
    ],
)
async def test_15_label_selectors(api: Api, namespace: str, selector: str, expected: str) -> None:
    labels = {
        "a": {"env": "prod", "tier": "front", "size": "1"},
        "b": {"env": "dev", "size": "3"},
        "c": {"env": "", "tier": "front"},
        "d": {"example.com/x": "y"},
    }
    path = f"/api/v1/namespaces/{namespace}/secrets"
    for name, each in labels.items():
        secret = {"metadata": {"name": name, "labels": {"test": "15", **each}}}
        (await api.post(path, secret)).ok(201)
    text = ",".join(part for part in (selector, "test=15") if part)
    assert "".join(names((await api.get(path, labelSelector=text)).ok())) == expected


@pytest.mark.parametrize("selector", ["a in (", "a=b=c", "=x", "a in b", "a b", "a=%", "-a"])
async def test_15_bad_label_selectors(api: Api, namespace: str, selector: str) -> None:
    (await api.get(config_maps(namespace), labelSelector=selector)).is_status(400, "BadRequest")


async def test_16_fields_of_every_kind(api: Api, namespace: str) -> None:
    for name in "ab":
        await api.post(config_maps(namespace), config_map(name, labels={"l": namespace}))
    path = config_maps(namespace)
    assert names((await api.get(path, fieldSelector="metadata.name=a")).ok()) == ["a"]
    query = {"labelSelector": f"l={namespace}"}
    assert names((await api.get(path, fieldSelector="metadata.name!=a", **query)).ok()) == ["b"]
    everywhere = await api.get(
        "/api/v1/configmaps", fieldSelector=f"metadata.namespace={namespace},metadata.name=b"
    )
    assert names(everywhere.ok()) == ["b"]
    (await api.get(path, fieldSelector="data.k=x")).is_status(400, "BadRequest")
    (await api.get(path, fieldSelector="metadata.name")).is_status(400, "BadRequest")


async def test_16_fields_of_some_kinds(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/secrets"
    await api.post(path, {"metadata": {"name": "a"}, "type": "example.com/x"})
    await api.post(path, {"metadata": {"name": "b"}})
    assert names((await api.get(path, fieldSelector="type=example.com/x")).ok()) == ["a"]
    (await api.get(f"/api/v1/namespaces/{namespace}/pods", fieldSelector="spec.nodeName=n")).ok()
    (await api.get("/api/v1/namespaces", fieldSelector="status.phase=Active")).ok()


async def test_16_fields_that_a_crd_offers(api: Api, namespace: str, define: Define) -> None:
    schema = {"spec": {"type": "object", "properties": {"color": {"type": "string"}}}}
    custom = await define(Custom(schema, selectableFields=[{"jsonPath": ".spec.color"}]))
    for name, color in (("a", "red"), ("b", "blue")):
        (await api.post(custom.path(namespace), custom.object(name, spec={"color": color}))).ok(201)
    assert names((await api.get(custom.path(namespace), fieldSelector="spec.color=blue")).ok()) == ["b"]
    (await api.get(custom.path(namespace), fieldSelector="spec.size=1")).is_status(400, "BadRequest")


async def test_07_items_of_built_in_kinds_do_not_repeat_the_kind(
    api: Api, namespace: str, define: Define
) -> None:
    (await api.post(config_maps(namespace), config_map("a"))).ok(201)
    listed = (await api.get(config_maps(namespace))).ok()
    assert (listed["kind"], listed["apiVersion"]) == ("ConfigMapList", "v1")
    assert not any({"kind", "apiVersion"} & each.keys() for each in listed["items"])
    custom = await define(Custom({}))
    (await api.post(custom.path(namespace), custom.object("a"))).ok(201)
    (item,) = (await api.get(custom.path(namespace))).ok()["items"]
    assert (item["kind"], item["apiVersion"]) == (custom.kind, f"{custom.group}/v1")
