"""Objects: versions, names, generation, status, what is immutable."""

from __future__ import annotations

import asyncio
import re
import secrets

import pytest

from tests.conformance.api import Answer, Api, take
from tests.conformance.conftest import Define
from tests.conformance.objects import Custom, config_map, config_maps, deployment, deployments
from tests.conformance.test_security import acting_as, grant, rule, settled

SPEC = {
    "spec": {"type": "object", "properties": {"n": {"type": "integer"}}},
    "status": {"type": "object", "properties": {"ready": {"type": "boolean"}}},
}


async def test_01_a_stale_update_conflicts(api: Api, namespace: str) -> None:
    first = (await api.post(config_maps(namespace), config_map("a"))).ok(201)
    second = (await api.put(config_maps(namespace, "a"), {**first, "data": {"k": "1"}})).ok()
    assert int(second["metadata"]["resourceVersion"]) > int(first["metadata"]["resourceVersion"])
    stale = await api.put(config_maps(namespace, "a"), {**first, "data": {"k": "2"}})
    body = stale.is_status(409, "Conflict")
    assert body["details"] == {"name": "a", "kind": "configmaps"}
    assert "the object has been modified" in body["message"]


async def test_01_one_of_two_writers_wins(api: Api, namespace: str) -> None:
    made = (await api.post(config_maps(namespace), config_map("a"))).ok(201)
    writes = [api.put(config_maps(namespace, "a"), {**made, "data": {"k": str(n)}}) for n in range(8)]
    codes = sorted([answer.code for answer in await asyncio.gather(*writes)])
    assert codes == [200] + [409] * 7


async def test_01_an_update_without_version_is_the_last_word(api: Api, namespace: str) -> None:
    await api.post(config_maps(namespace), config_map("a"))
    (await api.put(config_maps(namespace, "a"), config_map("a", {"k": "1"}))).ok()
    assert (await api.put(config_maps(namespace, "a"), config_map("a", {"k": "2"}))).ok()["data"]["k"] == "2"


async def test_01_custom_resources_want_the_version(api: Api, namespace: str, define: Define) -> None:
    custom = await define(Custom(SPEC))
    (await api.post(custom.path(namespace), custom.object("a"))).ok(201)
    answer = await api.put(custom.path(namespace, "a"), custom.object("a", spec={"n": 1}))
    answer.is_status(422, "Invalid")
    assert answer.causes == {"metadata.resourceVersion": "FieldValueInvalid"}


async def test_02_a_name_is_taken_once(api: Api, namespace: str) -> None:
    (await api.post(config_maps(namespace), config_map("a"))).ok(201)
    again = await api.post(config_maps(namespace), config_map("a"))
    assert again.is_status(409, "AlreadyExists")["message"] == 'configmaps "a" already exists'


async def test_02_an_update_makes_what_is_not_there_of_some_kinds(api: Api, namespace: str) -> None:
    leases = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
    lease = {"metadata": {"name": "a"}, "spec": {"holderIdentity": "me"}}
    (await api.put(f"{leases}/b", lease)).is_status(400, "BadRequest")
    other = {**lease, "metadata": {"name": "a", "uid": "of-another"}}
    (await api.put(f"{leases}/a", other)).is_status(409, "Conflict")
    was = {**lease, "metadata": {"name": "a", "resourceVersion": "1"}}
    (await api.put(f"{leases}/a", was, dryRun="All")).ok(201)
    (await api.put(f"{leases}/a", lease)).ok(201)
    assert (await api.get(f"{leases}/a")).ok()["spec"] == lease["spec"]
    (await api.put(config_maps(namespace, "a"), config_map("a"))).is_status(404, "NotFound")


async def test_02_to_make_by_an_update_is_to_create(api: Api, namespace: str) -> None:
    user, group = f"put-{secrets.token_hex(3)}", "coordination.k8s.io"
    leases = f"/apis/{group}/v1/namespaces/{namespace}/leases"
    await grant(api, namespace, user, rule("update get", "leases", group))
    await settled(api, namespace, user, f"{leases}/a", 404)

    async def put(name: str = "a") -> Answer:
        return await api.put(f"{leases}/a", {"metadata": {"name": name}}, headers=acting_as(user))

    (await put(name="")).is_status(400, "BadRequest")  # before it is asked who may
    (await put()).is_status(403, "Forbidden")
    await grant(api, namespace, user, rule("create list", "leases", group))
    await settled(api, namespace, user, leases)
    (await put()).ok(201)


async def test_02_the_server_sets_identity(api: Api, namespace: str) -> None:
    forged = config_map("a", uid="u", creationTimestamp="2001-01-01T00:00:00Z", generation=7)
    metadata = (await api.post(config_maps(namespace), forged)).ok(201)["metadata"]
    assert len(metadata["uid"]) == 36
    assert not metadata["creationTimestamp"].startswith("2001")
    assert metadata["namespace"] == namespace
    made = (await api.post(deployments(namespace), deployment("d"))).ok(201)
    assert made["metadata"]["generation"] == 1


async def test_03_generated_names(api: Api, namespace: str) -> None:
    obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "it-"}}
    names = {(await api.post(config_maps(namespace), obj)).ok(201)["metadata"]["name"] for _ in range(5)}
    assert len(names) == 5
    assert all(name.startswith("it-") and len(name) == 8 for name in names)


async def test_03_who_is_refused_before_it_has_a_name(api: Api, namespace: str, controllers: None) -> None:
    path, metadata = f"/api/v1/namespaces/{namespace}/pods", {"generateName": "web-"}
    spec = {"serviceAccountName": "nobody", "containers": [{"name": "c", "image": "i"}]}
    nobody = (await api.post(path, {"metadata": metadata, "spec": spec})).is_status(403, "Forbidden")
    assert nobody["message"].startswith('pods "web-" is forbidden: error looking up service account')
    assert nobody["details"] == {"name": "web-", "kind": "pods"}
    wrong = await api.post(path, {"metadata": metadata, "spec": {"containers": []}})
    said = wrong.is_status(422, "Invalid")
    assert re.match(r'Pod "web-\w{5}" is invalid: spec.containers: Required', said["message"])


async def test_03_a_name_is_required(api: Api, namespace: str) -> None:
    answer = await api.post(config_maps(namespace), {"apiVersion": "v1", "kind": "ConfigMap"})
    answer.is_status(422, "Invalid")
    assert answer.causes == {"metadata.name": "FieldValueRequired"}


async def test_04_generation_counts_changes_of_spec(api: Api, namespace: str) -> None:
    path = deployments(namespace, "d")
    (await api.post(deployments(namespace), deployment("d"))).ok(201)
    assert (await api.patch(path, {"spec": {"replicas": 2}})).ok()["metadata"]["generation"] == 2
    assert (await api.patch(path, {"metadata": {"labels": {"a": "b"}}})).ok()["metadata"]["generation"] == 2
    status = {"status": {"observedGeneration": 2}}
    assert (await api.patch(f"{path}/status", status)).ok()["metadata"]["generation"] == 2


@pytest.mark.parametrize("subresources", [{}, {"status": {}}])
async def test_04_generation_of_custom_resources(
    api: Api, namespace: str, define: Define, subresources: dict[str, dict[str, str]]
) -> None:
    custom = await define(Custom(SPEC, subresources=subresources))
    path = custom.path(namespace, "a")
    made = (await api.post(custom.path(namespace), custom.object("a", spec={"n": 1}))).ok(201)
    assert made["metadata"]["generation"] == 1
    assert (await api.patch(path, {"spec": {"n": 2}})).ok()["metadata"]["generation"] == 2
    assert (await api.patch(path, {"metadata": {"labels": {"a": "b"}}})).ok()["metadata"]["generation"] == 2
    changed = await api.patch(f"{path}/status" if subresources else path, {"status": {"ready": True}})
    assert changed.ok()["metadata"]["generation"] == (2 if subresources else 3)


async def test_05_a_write_that_changes_nothing_is_none(api: Api, namespace: str) -> None:
    made = (await api.post(config_maps(namespace), config_map("a", {"k": "1"}))).ok(201)
    version = made["metadata"]["resourceVersion"]
    async with api.watch(config_maps(namespace), resourceVersion=version) as events:
        assert (await api.put(config_maps(namespace, "a"), made)).ok()["metadata"][
            "resourceVersion"
        ] == version
        same = await api.patch(config_maps(namespace, "a"), {"data": {"k": "1"}})
        assert same.ok()["metadata"]["resourceVersion"] == version
        await api.post(config_maps(namespace), config_map("b"))
        ((kind, obj),) = await take(events, 1)
    assert (kind, obj["metadata"]["name"]) == ("ADDED", "b")


async def test_06_status_is_written_by_its_own_endpoint(api: Api, namespace: str, define: Define) -> None:
    custom = await define(Custom(SPEC, subresources={"status": {}}))
    path = custom.path(namespace, "a")
    obj = custom.object("a", spec={"n": 1}, status={"ready": True})
    made = (await api.post(custom.path(namespace), obj)).ok(201)
    assert "status" not in made
    made = (await api.put(f"{path}/status", {**made, "spec": {"n": 5}, "status": {"ready": True}})).ok()
    assert (made["spec"], made["status"]) == ({"n": 1}, {"ready": True})
    made = (await api.put(path, {**made, "spec": {"n": 2}, "status": {"ready": False}})).ok()
    assert (made["spec"], made["status"]) == ({"n": 2}, {"ready": True})
    assert (await api.get(f"{path}/status")).ok()["status"] == {"ready": True}


async def test_06_status_of_built_in_kinds(api: Api, namespace: str) -> None:
    path = deployments(namespace, "d")
    made = (await api.post(deployments(namespace), {**deployment("d"), "status": {"replicas": 7}})).ok(201)
    assert not made.get("status")
    patch = {"spec": {"replicas": 9}, "status": {"replicas": 1}}
    made = (await api.patch(f"{path}/status", patch)).ok()
    assert (made["spec"]["replicas"], made["status"]["replicas"]) == (1, 1)
    made = (await api.patch(path, patch | {"status": {"replicas": 3}})).ok()
    assert (made["spec"]["replicas"], made["status"]["replicas"]) == (9, 1)


@pytest.mark.parametrize("name", ["Upper", "under_score", "-a", "a" * 254, "a/b"])
async def test_30_names_are_dns_names(api: Api, namespace: str, name: str) -> None:
    answer = await api.post(config_maps(namespace), config_map(name))
    answer.is_status(422, "Invalid")
    assert answer.causes["metadata.name"] == "FieldValueInvalid"


@pytest.mark.parametrize(
    ("metadata", "field"),
    [
        ({"labels": {"a": "x" * 64}}, "metadata.labels"),
        ({"labels": {"a b": "x"}}, "metadata.labels"),
        ({"labels": {"a": "-x"}}, "metadata.labels"),
        ({"annotations": {"a/b/c": "x"}}, "metadata.annotations"),
        ({"finalizers": ["no domain or slash!"]}, "metadata.finalizers"),
    ],
)
async def test_30_metadata_is_validated(
    api: Api, namespace: str, metadata: dict[str, str], field: str
) -> None:
    answer = await api.post(config_maps(namespace), config_map("a", **metadata))
    answer.is_status(422, "Invalid")
    assert any(at.startswith(field) for at in answer.causes), answer.causes


async def test_30_some_fields_never_change(api: Api, namespace: str) -> None:
    (await api.post(deployments(namespace), deployment("d"))).ok(201)
    labels = {"app": "other"}
    patch = {"spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}}}}
    answer = await api.patch(deployments(namespace, "d"), patch)
    assert "field is immutable" in answer.is_status(422, "Invalid")["message"]
    assert answer.causes == {"spec.selector": "FieldValueInvalid"}


async def test_30_body_and_path_agree(api: Api, namespace: str) -> None:
    path = config_maps(namespace, "a")
    (await api.post(config_maps(namespace), config_map("a"))).ok(201)
    (await api.put(path, config_map("b"))).is_status(400, "BadRequest")
    (await api.put(path, config_map("a", namespace="other"))).is_status(400, "BadRequest")
    (await api.put(path, {**config_map("a"), "kind": "Secret"})).is_status(400, "BadRequest")
    (await api.put(path, {**config_map("a"), "apiVersion": "v2"})).is_status(400, "BadRequest")
    (await api.put(config_maps(namespace, "none"), config_map("none"))).is_status(404, "NotFound")
