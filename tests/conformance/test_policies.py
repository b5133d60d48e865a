"""ValidatingAdmissionPolicy: expressions that judge writes, without a webhook."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from addon_framework.api.meta import Json
from addon_framework.testing import eventually
from tests.conformance.api import MERGE, Api
from tests.conformance.objects import config_map, config_maps

ADMISSION = "/apis/admissionregistration.k8s.io/v1"
Enforce = Callable[..., Awaitable[str]]
CONFIG_MAPS = {
    "operations": ["CREATE", "UPDATE", "DELETE"],
    "apiGroups": [""],
    "apiVersions": ["v1"],
    "resources": ["configmaps"],
}


@pytest.fixture
async def enforce(api: Api, namespace: str) -> AsyncIterator[Enforce]:
    """Puts a policy in force for ConfigMaps of the namespace, and removes it afterwards."""
    made: list[str] = []

    async def create(*validations: Json, actions: tuple[str, ...] = ("Deny",), **spec: object) -> str:
        name = f"p{secrets.token_hex(4)}.example.com"
        selector = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
        constraints = {"resourceRules": [CONFIG_MAPS], "namespaceSelector": selector}
        # The last validation tells when a real server has taken note.
        labelled = "has(object.metadata.labels) && 'probe' in object.metadata.labels"
        probe = {"expression": f"object == null || !({labelled})"}
        policy = {"matchConstraints": constraints, "validations": [*validations, probe], **spec}
        binding = {"policyName": name, "validationActions": list(actions)}
        for plural, body in (("policies", policy), ("policybindings", binding)):
            path = f"{ADMISSION}/validatingadmission{plural}"
            (await api.post(path, {"metadata": {"name": name}, "spec": body})).ok(201)
            made.append(f"{path}/{name}")

        async def in_force() -> bool:
            labelled = config_map("probe")
            labelled["metadata"]["labels"] = {"probe": ""}
            answer = await api.post(config_maps(namespace), labelled, dryRun="All")
            return answer.code == 422 or "Warning" in answer.headers

        await eventually(in_force)
        return name

    yield create
    for path in reversed(made):
        await api.delete(path)


async def test_what_a_policy_denies_is_refused_in_its_words(
    api: Api, namespace: str, enforce: Enforce
) -> None:
    message = "'no ' + object.data.colour + ' by ' + variables.who"
    name = await enforce(
        {"expression": "request.operation == 'DELETE' || !has(object.data) || !has(object.data.colour) || "
         "object.data.colour != 'red'", "messageExpression": message, "reason": "Forbidden"},
        {"expression": "request.operation != 'UPDATE' || object.data == oldObject.data",
         "message": "data stays"},
        {"expression": "request.operation != 'DELETE' || oldObject.metadata.name != 'kept'"},
        variables=[{"name": "who", "expression": "request.userInfo.username"}],
    )  # fmt: skip
    said = f"ValidatingAdmissionPolicy '{name}' with binding '{name}' denied request: "
    answer = await api.post(config_maps(namespace), config_map("red", {"colour": "red"}))
    status = answer.is_status(403, "Forbidden")
    assert status["message"].startswith(f'configmaps "red" is forbidden: {said}no red by ')
    (await api.post(config_maps(namespace), config_map("kept", {"colour": "blue"}))).ok(201)
    answer = await api.patch(config_maps(namespace, "kept"), {"data": {"colour": "green"}}, MERGE)
    assert answer.is_status(422, "Invalid")["message"] == f'configmaps "kept" is forbidden: {said}data stays'
    answer = await api.delete(config_maps(namespace, "kept"))
    assert "failed expression: request.operation != 'DELETE'" in answer.is_status(422, "Invalid")["message"]


async def test_rights_can_be_asked_for(api: Api, namespace: str, enforce: Enforce) -> None:
    asked = "authorizer.group('example.com').resource('things').subresource('stand').name('a').check('take')"
    account = "authorizer.group('').resource('configmaps').namespace(object.metadata.namespace).check('get')"
    await enforce({"expression": f"{asked}.allowed() && {account}.allowed()"}, matchConditions=[
        {"name": "not-gone", "expression": "request.operation != 'DELETE'"},
    ])  # fmt: skip
    (await api.post(config_maps(namespace), config_map("mine"))).ok(201)  # an administrator may everything


async def test_a_policy_may_warn_only(api: Api, namespace: str, enforce: Enforce) -> None:
    await enforce({"expression": "object.metadata.name != 'odd'", "message": "odd"}, actions=("Warn",))
    answer = await api.post(config_maps(namespace), config_map("odd"))
    answer.ok(201)
    assert "odd" in answer.headers["Warning"]


async def test_an_expression_that_fails_denies_unless_the_policy_ignores_it(
    api: Api, namespace: str, enforce: Enforce
) -> None:
    name = await enforce({"expression": "object.data.missing == ''"})
    answer = await api.post(config_maps(namespace), config_map("a", {"other": "b"}))
    assert name in answer.is_status(422, "Invalid")["message"]


async def test_an_expression_that_runs_away_is_stopped(api: Api, namespace: str, enforce: Enforce) -> None:
    await enforce({"expression": "object.data.all(x, object.data.all(y, x != '' || y != ''))"})
    small = config_map("small", {f"k{n}": "v" for n in range(50)})
    (await api.post(config_maps(namespace), small)).ok(201)
    large = config_map("large", {f"k{n}": "v" for n in range(1000)})
    said = (await api.post(config_maps(namespace), large)).is_status(422, "Invalid")["message"]
    assert "operation cancelled: actual cost limit exceeded" in said


async def test_all_that_a_policy_says_has_one_budget(api: Api, namespace: str, enforce: Enforce) -> None:
    slow = "object.data.all(x, object.data.all(y, x != '' || y != ''))"
    await enforce(*({"expression": f"{slow} && {n} < 60"} for n in range(60)))
    small = config_map("small", {f"k{n}": "v" for n in range(60)})
    (await api.post(config_maps(namespace), small, dryRun="All")).ok(201)
    large = config_map("large", {f"k{n}": "v" for n in range(400)})  # each alone may cost that much
    said = (await api.post(config_maps(namespace), large, dryRun="All")).is_status(422, "Invalid")["message"]
    assert "cost" in said


async def test_policies_are_checked(api: Api) -> None:
    path = f"{ADMISSION}/validatingadmissionpolicies"
    constraints = {"resourceRules": [CONFIG_MAPS]}
    bad = {"expression": "object.metadata.name ==", "reason": "Because"}
    spec = {"matchConstraints": constraints, "validations": [bad]}
    answer = await api.post(path, {"metadata": {"name": "bad"}, "spec": spec}, dryRun="All")
    answer.is_status(422, "Invalid")
    assert {"spec.validations[0].expression", "spec.validations[0].reason"} <= answer.causes.keys()
    good = {"matchConstraints": constraints, "validations": [{"expression": "true"}]}
    shown = (await api.post(path, {"metadata": {"name": "good"}, "spec": good}, dryRun="All")).ok(201)["spec"]
    assert shown["failurePolicy"] == "Fail"
    assert shown["matchConstraints"]["matchPolicy"] == "Equivalent"
    path = f"{ADMISSION}/validatingadmissionpolicybindings"
    binding = {"policyName": "good", "validationActions": ["Refuse"]}
    answer = await api.post(path, {"metadata": {"name": "bad"}, "spec": binding}, dryRun="All")
    answer.is_status(422, "Invalid")
    assert "spec.validationActions[0]" in answer.causes
