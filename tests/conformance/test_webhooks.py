"""Admission and conversion by webhooks. The webhook runs here, so the API server has to reach 127.0.0.1."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from addon_framework.api.meta import Json
from addon_framework.testing import eventually
from addon_framework.testing.servers import free_port
from tests.conformance.api import JSON_PATCH, Api
from tests.conformance.hookserver import HookServer, patch, serve
from tests.conformance.objects import config_map, config_maps

ADMISSION = "/apis/admissionregistration.k8s.io/v1"
Configure = Callable[..., Awaitable[str]]


@pytest.fixture
async def configure(api: Api, namespace: str) -> AsyncIterator[Configure]:
    """Creates a configuration of one webhook for ConfigMaps of the namespace, and removes it afterwards."""
    made: list[str] = []

    async def create(kind: str, config: Json, order: str = "w", **more: object) -> str:
        """Configurations are asked in the order of their names."""
        name = f"{order}{secrets.token_hex(4)}.example.com"
        rule = {
            "operations": ["CREATE", "UPDATE", "DELETE"],
            "apiGroups": [""],
            "apiVersions": ["v1"],
            "resources": ["configmaps"],
        }
        selector = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
        hook = {
            "name": f"hook.{name}", "rules": [rule], "clientConfig": config, "sideEffects": "None",
            "admissionReviewVersions": ["v1"], "namespaceSelector": selector, **more,
        }  # fmt: skip
        path = f"{ADMISSION}/{kind.lower()}webhookconfigurations"
        body = {"metadata": {"name": name}, "webhooks": [hook]}
        (await api.post(path, body)).ok(201)
        made.append(f"{path}/{name}")
        return str(hook["name"])

    yield create
    for path in made:
        await api.delete(path)


async def works(api: Api, namespace: str, hooks: HookServer) -> None:
    """A real API server takes a moment to know of a configuration."""

    async def asked() -> bool:
        await api.post(config_maps(namespace), config_map("probe"), dryRun="All")
        return bool(hooks.asked)

    await eventually(asked)
    hooks.asked.clear()


async def test_51_a_validating_webhook(
    api: Api, namespace: str, hooks: HookServer, configure: Configure
) -> None:
    def judge(request: Json) -> Json:
        name = request["name"]
        if name.startswith("bad"):
            return {"allowed": False, "status": {"code": 403, "reason": "Forbidden", "message": f"no {name}"}}
        return {"allowed": True, "warnings": ["take care"]}

    hooks.answers["judge"] = judge
    name = await configure("Validating", hooks.url("judge"))
    await works(api, namespace, hooks)
    made = await api.post(config_maps(namespace), config_map("good", {"a": "b"}), fieldManager="me")
    made.ok(201)
    assert made.headers["Warning"] == '299 - "take care"'
    request = hooks.asked[-1]["request"]
    assert request["operation"] == "CREATE"
    assert request["kind"] == {"group": "", "version": "v1", "kind": "ConfigMap"}
    assert request["resource"] == {"group": "", "version": "v1", "resource": "configmaps"}
    assert (request["name"], request["namespace"], request["dryRun"]) == ("good", namespace, False)
    assert "system:masters" in request["userInfo"]["groups"]
    assert request["object"]["data"] == {"a": "b"}
    assert request["object"]["metadata"]["uid"] == made.body["metadata"]["uid"]
    assert request["oldObject"] is None
    assert request["options"]["fieldManager"] == "me"

    refused = (await api.post(config_maps(namespace), config_map("bad"))).is_status(403, "Forbidden")
    assert f'admission webhook "{name}" denied the request: no bad' in refused["message"]
    (await api.get(config_maps(namespace, "bad"))).is_status(404, "NotFound")

    (await api.patch(config_maps(namespace, "good"), {"data": {"a": "c"}})).ok()
    request = hooks.asked[-1]["request"]
    assert request["operation"] == "UPDATE"
    assert (request["oldObject"]["data"], request["object"]["data"]) == ({"a": "b"}, {"a": "c"})
    (await api.delete(config_maps(namespace, "good"))).ok()
    request = hooks.asked[-1]["request"]
    assert (request["operation"], request["object"]) == ("DELETE", None)
    assert request["oldObject"]["data"] == {"a": "c"}


async def test_51_a_mutating_webhook(
    api: Api, namespace: str, hooks: HookServer, configure: Configure
) -> None:
    hooks.answers["label"] = lambda request: patch(
        {"op": "add", "path": "/metadata/labels", "value": {"by": "hook"}},
        {"op": "add", "path": "/data/seen", "value": str(len(request["object"].get("data") or {}))},
    )
    seen: list[Json] = []

    def watch(request: Json) -> Json:
        seen.append(request["object"])
        return {"allowed": True}

    hooks.answers["see"] = watch
    rules = [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["*"], "resources": ["*"]}]
    await configure("Mutating", hooks.url("label"), rules=rules)
    await configure("Validating", hooks.url("see"), rules=rules)
    await works(api, namespace, hooks)
    made = (await api.post(config_maps(namespace), config_map("a", {"k": "v"}))).ok(201)
    assert made["metadata"]["labels"] == {"by": "hook"}
    assert made["data"] == {"k": "v", "seen": "1"}
    assert seen[-1]["data"] == made["data"]  # those that judge see what those that change have made
    fresh = {"metadata": {"generateName": "g-"}, "data": {"k": "v"}}
    made = (await api.post(config_maps(namespace), fresh)).ok(201)
    assert made["metadata"]["name"].startswith("g-")
    assert made["data"]["seen"] == "1"
    applied = await api.apply(config_maps(namespace, "b"), config_map("b", {"k": "v"}))
    assert applied.ok(201)["data"] == {"k": "v", "seen": "1"}


async def test_51_a_webhook_may_see_once_more_what_others_change(
    api: Api, namespace: str, hooks: HookServer, configure: Configure
) -> None:
    seen: dict[str, list[Json]] = {"if-needed": [], "never": []}

    def watch(path: str) -> Callable[[Json], Json]:
        def answer(request: Json) -> Json:
            seen[path].append(request["object"].get("data") or {})
            return patch({"op": "add", "path": "/metadata/labels", "value": {path: "y"}})

        return answer

    def late(request: Json) -> Json:
        count = len(request["object"].get("data") or {})
        return patch({"op": "add", "path": f"/data/{count}", "value": "late"})

    hooks.answers.update({"if-needed": watch("if-needed"), "never": watch("never"), "late": late})
    for path, order, policy in (
        ("if-needed", "a", "IfNeeded"),
        ("never", "b", "Never"),
        ("late", "c", "Never"),
    ):
        await configure("Mutating", hooks.url(path), order=order, reinvocationPolicy=policy)
    await works(api, namespace, hooks)
    for calls in seen.values():
        calls.clear()
    made = (await api.post(config_maps(namespace), config_map("a", {"k": "v"}))).ok(201)
    assert made["data"] == {"k": "v", "1": "late"}
    assert seen == {"if-needed": [{"k": "v"}, {"k": "v", "1": "late"}], "never": [{"k": "v"}]}


async def test_51_streams_into_pods(
    api: Api, namespace: str, hooks: HookServer, configure: Configure
) -> None:
    hooks.answers["no"] = lambda request: {"allowed": False, "status": {"message": "nobody may look in"}}
    streams = {
        "operations": ["CONNECT"],
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "resources": ["pods/exec", "pods/portforward"],
    }
    name = await configure("Validating", hooks.url("no"), rules=[streams])
    path = f"/api/v1/namespaces/{namespace}/pods/a/"

    async def refused() -> str:
        answer = await api.get(f"{path}exec?command=cat&command=/etc/hosts&stdout=true&container=main")
        return str(answer.body["message"]) if hooks.asked else ""

    assert await eventually(refused) == f'admission webhook "{name}" denied the request: nobody may look in'
    request = hooks.asked[-1]["request"]
    assert (request["operation"], request["subResource"], request["name"]) == ("CONNECT", "exec", "a")
    assert request["kind"] == {"group": "", "version": "v1", "kind": "PodExecOptions"}
    assert request["resource"]["resource"] == "pods"
    assert request["object"] == {
        "kind": "PodExecOptions",
        "apiVersion": "v1",
        "stdout": True,
        "container": "main",
        "command": ["cat", "/etc/hosts"],
    }
    assert (request.get("oldObject"), request.get("options")) == (None, None)
    assert "denied" in (await api.get(f"{path}portforward?ports=80")).body["message"]
    assert hooks.asked[-1]["request"]["object"]["ports"] == [80]
    assert "denied" not in (await api.get(f"{path}attach?stdout=true")).body["message"]


async def test_51_failures_are_fatal_or_not(
    api: Api, namespace: str, hooks: HookServer, configure: Configure
) -> None:
    hooks.answers["yes"] = lambda request: {"allowed": True}
    hooks.answers["other"] = lambda request: {"allowed": True, "uid": "of another"}
    await configure("Validating", hooks.url("yes"))
    for path in ("missing", "slow", "other"):
        await configure("Validating", hooks.url(path), failurePolicy="Ignore", timeoutSeconds=1)
    await configure("Validating", hooks.url("yes", caBundle=""), failurePolicy="Ignore")
    await works(api, namespace, hooks)
    (await api.post(config_maps(namespace), config_map("a"))).ok(201)
    name = await configure("Validating", hooks.url("missing"))

    async def refuses() -> Json | None:
        answer = await api.post(config_maps(namespace), config_map("b"), dryRun="All")
        return answer.is_status(500, "InternalError") if answer.code == 500 else None

    said = await eventually(refuses)
    assert f'failed calling webhook "{name}"' in said["message"]


async def test_51_selectors_and_conditions(
    api: Api, namespace: str, hooks: HookServer, configure: Configure
) -> None:
    hooks.answers["no"] = lambda request: {"allowed": False}
    hooks.answers["yes"] = lambda request: {"allowed": True}
    await configure("Validating", hooks.url("yes"))
    chosen = {"matchLabels": {"judged": "yes"}}
    conditions = [
        {"name": "named", "expression": "object.metadata.name != 'spared' && request.operation == 'CREATE'"}
    ]
    await configure("Validating", hooks.url("no"), objectSelector=chosen, matchConditions=conditions)
    await works(api, namespace, hooks)

    async def refused() -> bool:
        answer = await api.post(
            config_maps(namespace), config_map("b", labels={"judged": "yes"}), dryRun="All"
        )
        return answer.code >= 400 and "denied the request without explanation" in answer.body["message"]

    await eventually(refused)
    (await api.post(config_maps(namespace), config_map("a"))).ok(201)
    (await api.post(config_maps(namespace), config_map("spared", labels={"judged": "yes"}))).ok(201)


async def test_51_conditions_that_fail_or_cost_too_much(
    api: Api, namespace: str, hooks: HookServer, configure: Configure
) -> None:
    hooks.answers["yes"] = lambda request: {"allowed": True}
    hooks.answers["no"] = lambda request: {"allowed": False}
    await configure("Validating", hooks.url("yes"))
    await works(api, namespace, hooks)
    fails = {"name": "fails", "expression": "object.data.missing == 'x'"}
    spared = {"name": "spared", "expression": "object.metadata.name != 'spared'"}
    may = "authorizer.group('').resource('configmaps').namespace(object.metadata.namespace).check('get')"
    asks = {"name": "asks", "expression": f"!{may}.allowed()"}  # an administrator may everything
    await configure("Validating", hooks.url("no"), matchConditions=[asks])
    await configure("Validating", hooks.url("no"), matchConditions=[fails, spared])

    async def refused() -> str | None:
        answer = await api.post(config_maps(namespace), config_map("b"), dryRun="All")
        return answer.is_status(403, "Forbidden")["message"] if answer.code == 403 else None

    assert f"expression '{fails['expression']}' resulted in error" in await eventually(refused)
    (await api.post(config_maps(namespace), config_map("spared"))).ok(201)  # what is not so decides
    loop = "object.data.all(x, object.data.all(y, x != '' || y != ''))"
    slow = [{"name": f"n{n}", "expression": f"{loop} && {n} < 60"} for n in range(30)]
    await configure("Validating", hooks.url("yes"), matchConditions=[spared, *slow])
    data = {"missing": "y", **{f"k{n}": "v" for n in range(400)}}  # each alone may cost that much

    async def expensive() -> str | None:
        answer = await api.post(config_maps(namespace), config_map("large", data), dryRun="All")
        return answer.is_status(403, "Forbidden")["message"] if answer.code == 403 else None

    assert "cost" in await eventually(expensive)


async def test_51_dry_run_wants_no_side_effects(
    api: Api, namespace: str, hooks: HookServer, configure: Configure
) -> None:
    hooks.answers["yes"] = lambda request: {"allowed": True}
    await configure("Validating", hooks.url("yes"), sideEffects="NoneOnDryRun")
    await works(api, namespace, hooks)
    (await api.post(config_maps(namespace), config_map("a"), dryRun="All")).ok(201)
    assert hooks.asked[-1]["request"]["dryRun"] is True
    (await api.get(config_maps(namespace, "a"))).is_status(404, "NotFound")


async def test_51_while_a_webhook_thinks_others_write(
    api: Api, namespace: str, hooks: HookServer, configure: Configure
) -> None:
    (await api.post(config_maps(namespace), config_map("a", {"n": "0"}))).ok(201)
    hooks.answers["slow"] = lambda request: {"allowed": True}
    rules = [
        {"operations": ["UPDATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}
    ]
    conditions = [{"name": "slow", "expression": "'slow' in object.data"}]
    await configure("Validating", hooks.url("slow"), rules=rules, matchConditions=conditions)

    async def slowly() -> None:
        (await api.patch(config_maps(namespace, "a"), {"data": {"slow": "x"}})).ok()

    async def asked() -> bool:
        return bool(hooks.asked)

    writing = asyncio.create_task(slowly())
    await eventually(asked)
    (await api.patch(config_maps(namespace, "a"), {"data": {"n": "1"}})).ok()
    hooks.held.set()
    await writing
    assert (await api.get(config_maps(namespace, "a"))).ok()["data"] == {"n": "1", "slow": "x"}
    seen = [review["request"]["object"]["data"] for review in hooks.asked]
    assert seen[-1] == {"n": "1", "slow": "x"}  # what was stored is what was judged


async def test_51_configurations_are_checked(api: Api) -> None:
    hook = {"name": "short", "clientConfig": {"url": "http://127.0.0.1/"}, "timeoutSeconds": 60}
    body = {"metadata": {"name": "bad"}, "webhooks": [hook]}
    answer = await api.post(f"{ADMISSION}/validatingwebhookconfigurations", body)
    answer.is_status(422, "Invalid")
    assert {
        "webhooks[0].name",
        "webhooks[0].sideEffects",
        "webhooks[0].admissionReviewVersions",
    } <= answer.causes.keys()
    good = {
        "name": "a.b.c",
        "clientConfig": {"url": "https://127.0.0.1/"},
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }
    body = {"metadata": {"name": "good"}, "webhooks": [good]}
    made = (await api.post(f"{ADMISSION}/mutatingwebhookconfigurations", body, dryRun="All")).ok(201)
    (shown,) = made["webhooks"]
    assert (shown["failurePolicy"], shown["timeoutSeconds"], shown["matchPolicy"]) == (
        "Fail",
        10,
        "Equivalent",
    )


async def test_51_by_service(
    api: Api, namespace: str, tmp_path: Path, configure: Configure, api_server: object
) -> None:
    if api_server is None:
        pytest.skip("addresses of services lead to this machine with the servers of tests only")
    port = free_port()
    service = {"metadata": {"name": "hook"}, "spec": {"ports": [{"port": port}]}}
    made = (await api.post(f"/api/v1/namespaces/{namespace}/services", service)).ok(201)
    url, path = f"https://hook.{namespace}.svc:{port}/x?timeout=10s", config_maps(namespace)
    reference = {"namespace": namespace, "name": "hook", "path": "/x", "port": port}
    async with serve(tmp_path, f"hook.{namespace}.svc", host=made["spec"]["clusterIP"], port=port) as hooks:
        hooks.answers["x"] = lambda request: {"allowed": True}
        name = await configure("Validating", {"service": reference, "caBundle": hooks.bundle})
        await works(api, namespace, hooks)
        (await api.post(path, config_map("a"))).ok(201)
        assert hooks.asked[-1]["request"]["name"] == "a"
    answer = (await api.post(path, config_map("b"))).is_status(500, "InternalError")
    assert f'failed calling webhook "{name}": failed to call webhook: Post "{url}": ' in answer["message"]
    configuration = f"{ADMISSION}/validatingwebhookconfigurations/{name.removeprefix('hook.')}"
    other = {"op": "replace", "path": "/webhooks/0/clientConfig/service/port", "value": 1}
    (await api.patch(configuration, [other], JSON_PATCH)).ok()

    async def refused() -> bool:
        answer = (await api.post(path, config_map("b"))).is_status(500, "InternalError")
        return 'no service port 1 found for service "hook"' in str(answer["message"])

    await eventually(refused)
