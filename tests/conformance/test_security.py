"""Who asks and whether they may: tokens, certificates, impersonation, RBAC, reviews."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from addon_framework.api.meta import Json
from addon_framework.api.time import parse_time
from addon_framework.testing import eventually
from tests.conformance.api import Api
from tests.conformance.objects import config_map, config_maps
from tests.conformance.rights import RBAC, acting_as, grant, rule, settled

AUTHZ = "/apis/authorization.k8s.io/v1"
AUTHN = "/apis/authentication.k8s.io/v1"

TokenApi = Callable[[str | None], Api]


async def token(api: Api, namespace: str, account: str = "default", **spec: object) -> Json:
    (await api.post(f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": account}}))
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
    status: Json = (await api.post(path, {"spec": {"audiences": [], **spec}})).ok(201)["status"]
    return status


async def test_38_service_account_tokens(api: Api, token_api: TokenApi, namespace: str) -> None:
    issued = await token(api, namespace, expirationSeconds=600)
    left = parse_time(issued["expirationTimestamp"]) - datetime.now(UTC)
    assert timedelta(minutes=8) < left < timedelta(minutes=11)
    review = (await token_api(issued["token"]).post(f"{AUTHN}/selfsubjectreviews", {})).ok(201)
    user = review["status"]["userInfo"]
    assert user["username"] == f"system:serviceaccount:{namespace}:default"
    wanted = {"system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"}
    assert wanted <= set(user["groups"])


async def test_38_tokens_of_other_audiences(api: Api, token_api: TokenApi, namespace: str) -> None:
    issued = await token(api, namespace, audiences=["elsewhere"])
    answer = await token_api(issued["token"]).get("/api/v1/namespaces")
    answer.is_status(401, "Unauthorized")
    for audiences, expected in ((["elsewhere"], True), (["nowhere"], False)):
        spec = {"token": issued["token"], "audiences": audiences}
        review = (await api.post(f"{AUTHN}/tokenreviews", {"spec": spec})).ok(201)
        assert review["status"].get("authenticated", False) is expected


async def test_38_a_token_ends_with_its_account(api: Api, token_api: TokenApi, namespace: str) -> None:
    issued = await token(api, namespace, "short-lived")
    mine = token_api(issued["token"])
    (await mine.post(f"{AUTHN}/selfsubjectreviews", {})).ok(201)
    await api.delete(f"/api/v1/namespaces/{namespace}/serviceaccounts/short-lived")

    async def refused() -> bool:
        return (await mine.get("/api/v1/namespaces")).code == 401

    await eventually(refused)


@pytest.mark.parametrize(
    "forged", ["nonsense", "a.b.c", "eyJhbGciOiJub25lIn0.e30.", "abcdef.0123456789abcdef"]
)
async def test_38_tokens_that_are_none(token_api: TokenApi, forged: str) -> None:
    (await token_api(forged).get("/api/v1/namespaces")).is_status(401, "Unauthorized")


@pytest.mark.parametrize(
    "ends",
    [
        {"expiration": "2020-01-01T00:00:00Z"},
        {"usage-bootstrap-authentication": "false"},
        {"token-secret": "fedcba9876543210"},
        {"token-id": "000000"},
        {"auth-extra-groups": "system:bootstrappers:fleet,system:masters"},
    ],
    ids=lambda ends: str(*ends),
)
async def test_38_bootstrap_tokens(api: Api, token_api: TokenApi, ends: dict[str, str]) -> None:
    identity, password = secrets.token_hex(3), secrets.token_hex(8)
    path, name = "/api/v1/namespaces/kube-system/secrets", f"bootstrap-token-{identity}"
    content = {
        "token-id": identity,
        "token-secret": password,
        "usage-bootstrap-authentication": "true",
        "auth-extra-groups": "system:bootstrappers:fleet",
        "expiration": (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    stored = {"metadata": {"name": name}, "type": "bootstrap.kubernetes.io/token", "stringData": content}
    (await api.post(path, stored)).ok(201)
    newcomer = token_api(f"{identity}.{password}")

    async def known() -> Json | None:
        answer = await newcomer.post(f"{AUTHN}/selfsubjectreviews", {})
        return dict(answer.body["status"]["userInfo"]) if answer.code == 201 else None

    user = await eventually(known)
    assert user["username"] == f"system:bootstrap:{identity}"
    assert set(user["groups"]) == {
        "system:bootstrappers",
        "system:bootstrappers:fleet",
        "system:authenticated",
    }
    (await newcomer.get("/api/v1/namespaces")).is_status(403, "Forbidden")
    (await api.patch(f"{path}/{name}", {"stringData": ends})).ok()

    async def refused() -> bool:
        return (await newcomer.get("/api/v1/namespaces")).code == 401

    await eventually(refused)
    await api.delete(f"{path}/{name}")


async def test_38_nobody(token_api: TokenApi) -> None:
    answer = await token_api(None).get("/api/v1/namespaces")
    assert answer.code in (401, 403)
    if answer.code == 403:
        assert '"system:anonymous"' in answer.is_status(403, "Forbidden")["message"]


async def test_38_acting_as_somebody(api: Api, namespace: str) -> None:
    review = await api.post(f"{AUTHN}/selfsubjectreviews", {}, headers=acting_as("jane", "devs"))
    user = review.ok(201)["status"]["userInfo"]
    assert (user["username"], user["groups"]) == ("jane", ["devs", "system:authenticated"])
    review = await api.post(
        f"{AUTHN}/selfsubjectreviews", {}, headers=acting_as(f"system:serviceaccount:{namespace}:bob")
    )
    groups = review.ok(201)["status"]["userInfo"]["groups"]
    assert f"system:serviceaccounts:{namespace}" in groups
    lonely = await api.get("/api/v1/namespaces", headers={"Impersonate-Group": "devs"})
    assert lonely.code in (400, 500)


async def test_38_not_everybody_may_act_as_others(api: Api, token_api: TokenApi, namespace: str) -> None:
    mine = token_api((await token(api, namespace))["token"])
    answer = await mine.get("/api/v1/namespaces", headers=acting_as("jane"))
    assert "cannot impersonate" in answer.is_status(403, "Forbidden")["message"]


async def test_39_roles(api: Api, namespace: str) -> None:
    for name in "ab":
        await api.post(config_maps(namespace), config_map(name))
    jane = acting_as("jane39")
    refused = (await api.get(config_maps(namespace), headers=jane)).is_status(403, "Forbidden")
    assert refused["message"] == (
        'configmaps is forbidden: User "jane39" cannot list resource "configmaps" in API group "" in the '
        f'namespace "{namespace}"'
    )
    await grant(api, namespace, "jane39", rule("get", "configmaps", names=["a"]), rule("list", "secrets"))
    await settled(api, namespace, "jane39", config_maps(namespace, "a"))
    (await api.get(config_maps(namespace, "b"), headers=jane)).is_status(403, "Forbidden")
    (await api.get(f"/api/v1/namespaces/{namespace}/secrets", headers=jane)).ok()
    (await api.get("/api/v1/secrets", headers=jane)).is_status(403, "Forbidden")
    (await api.delete(config_maps(namespace, "a"), headers=jane)).is_status(403, "Forbidden")
    (await api.get(config_maps("default", "a"), headers=jane)).is_status(403, "Forbidden")


async def test_39_subresources_are_rights_of_their_own(api: Api, namespace: str) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    user = f"sub-{secrets.token_hex(3)}"
    await grant(api, namespace, user, rule("get", "deployments/status deployments", "apps"))
    await settled(api, namespace, user, f"{path}/none/status", 404)
    (await api.get(f"{path}/none/scale", headers=acting_as(user))).is_status(403, "Forbidden")


async def test_39_nobody_grants_what_they_do_not_hold(api: Api, namespace: str) -> None:
    user = f"boss-{secrets.token_hex(3)}"
    manage = rule("create update patch get", "roles rolebindings", "rbac.authorization.k8s.io")
    await grant(api, namespace, user, manage, rule("get", "pods"))
    roles = f"{RBAC}/namespaces/{namespace}/roles"
    await settled(api, namespace, user, f"{roles}/none", 404)
    headers = acting_as(user)
    fine = {"metadata": {"name": "fine"}, "rules": [rule("get", "pods")]}
    (await api.post(roles, fine, headers=headers)).ok(201)
    more = {"metadata": {"name": "more"}, "rules": [rule("get delete", "pods")]}
    answer = await api.post(roles, more, headers=headers)
    assert (
        "attempting to grant RBAC permissions not currently held"
        in answer.is_status(403, "Forbidden")["message"]
    )
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}
    binding = {"metadata": {"name": "b"}, "roleRef": reference, "subjects": [subject]}
    answer = await api.post(f"{RBAC}/namespaces/{namespace}/rolebindings", binding, headers=headers)
    answer.is_status(403, "Forbidden")


async def test_39_the_role_of_a_binding_never_changes(api: Api, namespace: str) -> None:
    user = f"u-{secrets.token_hex(3)}"
    await grant(api, namespace, user, rule("get", "pods"))
    path = f"{RBAC}/namespaces/{namespace}/rolebindings"
    (binding,) = (await api.get(path)).ok()["items"]
    binding["roleRef"]["name"] = "other"
    answer = await api.put(f"{path}/{binding['metadata']['name']}", binding)
    answer.is_status(422, "Invalid")


async def test_39_aggregated_roles(api: Api, controllers: None) -> None:
    mark = secrets.token_hex(4)
    roles = f"{RBAC}/clusterroles"
    selector = {"clusterRoleSelectors": [{"matchLabels": {"aggregate": mark}}]}
    whole = {"metadata": {"name": f"whole-{mark}"}, "aggregationRule": selector, "rules": []}
    part = {
        "metadata": {"name": f"part-{mark}", "labels": {"aggregate": mark}},
        "rules": [rule("get", "pods")],
    }
    for role in (whole, part):
        (await api.post(roles, role)).ok(201)

    async def has_it() -> bool:
        return bool((await api.get(f"{roles}/whole-{mark}")).ok().get("rules") == part["rules"])

    await eventually(has_it)
    for role in (whole, part):
        await api.delete(f"{roles}/{role['metadata']['name']}")


async def test_39_paths_that_are_no_resources(api: Api, token_api: TokenApi, namespace: str) -> None:
    mine = token_api((await token(api, namespace))["token"])
    (await mine.get("/version")).ok()
    (await mine.get("/apis")).ok()
    (await mine.get("/metrics", accept="*/*")).is_status(403, "Forbidden")


async def test_40_access_reviews(api: Api, namespace: str) -> None:
    user = f"rev-{secrets.token_hex(3)}"
    await grant(api, namespace, user, rule("get", "pods"))

    async def allowed(verb: str, **who: object) -> bool:
        attributes = {"verb": verb, "resource": "pods", "namespace": namespace}
        review = {"spec": {"resourceAttributes": attributes, **(who or {"user": user})}}
        answer = await api.post(f"{AUTHZ}/subjectaccessreviews", review)
        return bool(answer.ok(201)["status"]["allowed"])

    async def known() -> bool:
        return await allowed("get")

    await eventually(known)
    assert not await allowed("delete")
    assert await allowed("delete", user="x", groups=["system:masters"])
    mine = {"spec": {"resourceAttributes": {"verb": "get", "resource": "pods", "namespace": namespace}}}
    answer = await api.post(f"{AUTHZ}/selfsubjectaccessreviews", mine, headers=acting_as(user))
    assert answer.ok(201)["status"]["allowed"]
    local = f"{AUTHZ}/namespaces/{namespace}/localsubjectaccessreviews"
    mine["spec"]["user"] = user  # type: ignore[assignment]
    assert (await api.post(local, mine)).ok(201)["status"]["allowed"]
    rules = {"spec": {"namespace": namespace}}
    answer = await api.post(f"{AUTHZ}/selfsubjectrulesreviews", rules, headers=acting_as(user))
    assert any("pods" in each["resources"] for each in answer.ok(201)["status"]["resourceRules"])


async def test_42_what_every_namespace_has(api: Api, namespace: str, controllers: None) -> None:
    (await api.get(f"/api/v1/namespaces/{namespace}/serviceaccounts/default")).ok()

    async def authority() -> bool:
        found = await api.get(config_maps(namespace, "kube-root-ca.crt"))
        return found.code == 200 and "BEGIN CERTIFICATE" in found.body["data"]["ca.crt"]

    await eventually(authority)
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/default"
    await api.delete(path)

    async def back() -> bool:
        return (await api.get(path)).code == 200

    await eventually(back)


async def test_42_tokens_bound_to_an_object(api: Api, token_api: TokenApi, namespace: str) -> None:
    secret = (await api.post(f"/api/v1/namespaces/{namespace}/secrets", {"metadata": {"name": "s"}})).ok(201)
    bound = {"kind": "Secret", "apiVersion": "v1", "name": "s", "uid": secret["metadata"]["uid"]}
    issued = await token(api, namespace, boundObjectRef=bound)
    mine = token_api(issued["token"])
    (await mine.post(f"{AUTHN}/selfsubjectreviews", {})).ok(201)
    await api.delete(f"/api/v1/namespaces/{namespace}/secrets/s")

    async def refused() -> bool:
        return (await mine.post(f"{AUTHN}/selfsubjectreviews", {})).code == 401

    await eventually(refused)


async def test_42_tokens_live_ten_minutes_at_least(api: Api, namespace: str) -> None:
    await token(api, namespace)
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/default/token"
    answer = await api.post(path, {"spec": {"audiences": [], "expirationSeconds": 60}})
    answer.is_status(422, "Invalid")
    assert "spec.expirationSeconds" in answer.causes
