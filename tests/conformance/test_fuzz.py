"""Whatever the OpenAPI documents offer, with values that nobody expects: a Status, and soon."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Iterator
from typing import Any

from addon_framework.api.meta import Json
from tests.conformance.api import APPLY, JSON_PATCH, MERGE, STRATEGIC, Api

GROUPS = (
    "api/v1", "apis/apps/v1", "apis/batch/v1", "apis/rbac.authorization.k8s.io/v1", "apis/policy/v1",
    "apis/coordination.k8s.io/v1", "apis/certificates.k8s.io/v1", "apis/apiextensions.k8s.io/v1",
    "apis/admissionregistration.k8s.io/v1", "apis/authorization.k8s.io/v1", "apis/networking.k8s.io/v1",
    "apis/authentication.k8s.io/v1", "apis/storage.k8s.io/v1", "apis/discovery.k8s.io/v1",
    "apis/events.k8s.io/v1", "apis/autoscaling/v2",
)  # fmt: skip
MEDIA = (MERGE, STRATEGIC, JSON_PATCH, APPLY, "application/json", "application/yaml")
STREAMS = ("/log", "/exec", "/attach", "/portforward", "/proxy", "/proxy/{path}")
SECONDS, REQUESTS = 20.0, 1000
ODD: tuple[Any, ...] = (
    None, True, 0, -1, 2**31, 2**63, 1.5, 1e300, "", "a", "-", "A b", "\u0000", "\U0001f600", "x" * 300,
    "10Gi", "1e9999", "2020-01-01T00:00:00Z", "$(X)", "/", "..", "*", "=", "a=b", [], [None], [1], ["a", "a"],
    [[]], [{}], {}, {"a": None}, {"": ""}, {"name": 1}, {"matchLabels": 3}, {"name": "a", "key": "a"},
)  # fmt: skip


class Fuzzer:
    """Makes objects that follow a schema here and break it there."""

    def __init__(self, schemas: Json, chance: random.Random) -> None:
        self._schemas, self._chance = schemas, chance

    def value(self, schema: Any, depth: int = 0) -> Any:
        """Something for a schema."""
        chance = self._chance
        while isinstance(schema, dict) and ("$ref" in schema or "allOf" in schema):
            reference = schema.get("$ref") or schema["allOf"][0].get("$ref", "")
            schema = self._schemas.get(reference.rsplit("/", 1)[-1], {})
        if not isinstance(schema, dict) or depth > 7 or chance.random() < 0.06:
            return chance.choice(ODD)
        if properties := schema.get("properties"):
            required = set(schema.get("required") or ())
            share = 0.5 if depth < 2 else 0.25
            return {
                name: self.value(below, depth + 1)
                for name, below in properties.items()
                if name in required or chance.random() < share
            }
        match schema.get("type"):
            case "array":
                items = schema.get("items") or {}
                return [self.value(items, depth + 1) for _ in range(chance.choice((0, 1, 1, 2)))]
            case "object":
                return {
                    chance.choice(("a", "b.c/d", "")): self.value(
                        schema.get("additionalProperties"), depth + 1
                    )
                }
            case "integer" | "number":
                return chance.choice((0, 1, 2, 80, 100, -1, 70000))
            case "boolean":
                return chance.random() < 0.5
        return chance.choice(schema.get("enum") or ("a", "b", "name", "Always", "x.y/z", "10", "1Gi"))


def operations(document: Json) -> Iterator[tuple[str, str, Json]]:
    """Path, method and body schema of all that a document offers, but what streams."""
    for path, item in document["paths"].items():
        for method in ("get", "post", "put", "patch", "delete"):
            if method not in item or "/watch/" in path or path.endswith(STREAMS):
                continue
            content = (item[method].get("requestBody") or {}).get("content") or {}
            schema = next((each.get("schema") or {} for each in content.values()), {})
            yield path, method, schema


async def test_36_odd_requests_to_all_that_is_offered(api: Api, namespace: str) -> None:
    documents = [(await api.get(f"/openapi/v3/{group}")).ok() for group in GROUPS]
    failures: list[tuple[Any, ...]] = []

    async def work(seed: int) -> None:
        chance = random.Random(seed)
        offered = [
            (*operation, Fuzzer(document["components"]["schemas"], chance))
            for document in documents
            for operation in operations(document)
        ]
        assert len(offered) > 100
        deadline = asyncio.get_running_loop().time() + SECONDS
        for _ in range(REQUESTS):
            if asyncio.get_running_loop().time() > deadline:
                return
            failures.extend(await ask(api, namespace, chance, *chance.choice(offered)))

    await asyncio.gather(*(work(seed) for seed in range(4)))
    assert not failures, f"{len(failures)}: {failures[:3]}"
    (await api.get("/version")).ok()


async def ask(
    api: Api, namespace: str, chance: random.Random, path: str, method: str, schema: Json, fuzzer: Fuzzer
) -> list[tuple[Any, ...]]:
    """One request, and what is wrong with its answer."""
    names = {"namespace": namespace, "name": chance.choice(("a", "b", "name"))}
    path = re.sub(r"\{(\w+)\}", lambda match: names.get(match[1], "x"), path)
    body = fuzzer.value(schema) if method != "get" and chance.random() < 0.95 else None
    if isinstance(body, dict) and chance.random() < 0.9:
        metadata = body.get("metadata")
        body["metadata"] = {**(metadata if isinstance(metadata, dict) else {}), "name": names["name"]}
        for name in ("apiVersion", "kind"):
            body.pop(name, None)
    if method == "delete" and isinstance(body, dict):
        body["dryRun"] = ["All"]  # parameters do not count beside a body
    query = {"dryRun": "All"} if method != "get" else {"limit": chance.choice(("1", "-1", "x", "0"))}
    if chance.random() < 0.2:
        key = chance.choice(("fieldSelector", "labelSelector", "resourceVersion", "continue", "pretty"))
        query[key] = chance.choice(("", "a", "a=b", "!", "a in (", "-1", "\u0000", "metadata.name=a"))
    media = chance.choice(MEDIA) if method == "patch" else "application/json"
    if media == APPLY:
        query["fieldManager"] = "fuzz"
    async with asyncio.timeout(60):
        answer = await api.send(method.upper(), path, body, content_type=media, **query)
    wrong = answer.code >= 500 and answer.code not in (501, 504)
    if b"resourceVersion: Invalid value" in answer.raw or path.endswith("/binding"):
        wrong = False  # what kube-apiserver itself has no better answer to
    if wrong or (answer.code >= 400 and answer.body["kind"] != "Status"):
        return [(method, path, query, answer.raw[:400], body)]
    return []
