"""External scorers by the dynamic-scoring contract, over HTTP, published on a hub."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from addon_framework.api.cluster import AddOnPlacementScore
from addon_framework.api.core import CONFIGMAPS, NAMESPACES, SECRETS
from addon_framework.api.time import parse_time
from addon_framework.kube import AlreadyExists, Client, Manager, NotFound
from addon_framework.testing import EmbeddedApiServer, eventually
from addons.resource_scorer.external import CONFIG_NAME, CONFIG_NAMESPACE, ExternalScores
from addons.resource_scorer.publish import Publisher

Json = dict[str, Any]
SCORES = AddOnPlacementScore.RESOURCE
SERIES = {"metric": {"node": "n0"}, "values": [[1, "0.25"], [61, "0.5"]]}


@pytest.fixture
async def spoke(spoke_server: EmbeddedApiServer) -> AsyncIterator[Client]:
    async with Client.from_kubeconfig(spoke_server.kubeconfig) as client:
        try:
            namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": CONFIG_NAMESPACE}}
            await client.create(NAMESPACES, namespace)
        except AlreadyExists:
            pass
        yield client


class Scorer:
    """A scorer and its Prometheus on one port: what it was asked, and what it answers."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[web.Request] = []
        self.data: list[Json] = []
        self.results: list[Json] = [{"metric": {"node": "n0"}, "score": 41.6}]
        self.down = False

    def config(self, request: web.Request) -> Json:
        return {
            "name": "sample-scorer",
            "description": "By CPU.",
            "source": {
                "type": "Prometheus",
                "host": self.url,
                "path": "/api/v1/query_range",
                "params": {"query": "rate(cpu[1m]); rate(memory[1m])", "range": 3600, "step": 60},
            },
            "scoring": {"path": "/scoring", "params": {"name": "sample_my_score", "interval": 5}},
        }

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        async def config(request: web.Request) -> web.Response:
            return web.json_response(self.config(request))

        async def query(request: web.Request) -> web.Response:
            self.asked.append(request)
            return web.json_response({"status": "success", "data": {"result": [SERIES]}})

        async def score(request: web.Request) -> web.Response:
            self.asked.append(request)
            self.data = (await request.json())["data"]
            if self.down:
                raise web.HTTPServiceUnavailable
            return web.json_response({"results": self.results})

        app = web.Application()
        app.add_routes([web.get("/config", config), web.get("/api/v1/query_range", query)])
        app.add_routes([web.post("/scoring", score)])
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        try:
            yield
        finally:
            await runner.cleanup()


@pytest.fixture
async def scorer() -> AsyncIterator[Scorer]:
    found = Scorer()
    async with found.serving():
        yield found


class Scene:
    """A cluster's namespace on the hub, and the agent's part that asks scorers."""

    def __init__(self, hub: Client, spoke: Client, cluster: str) -> None:
        self.hub, self.spoke, self.cluster = hub, spoke, cluster

    @asynccontextmanager
    async def agent(self, *urls: str) -> AsyncIterator[None]:
        manager = Manager(self.hub, name="external")
        publisher = Publisher(self.hub, self.cluster)
        manager.add(ExternalScores(self.spoke, publisher, "default", urls))
        task = asyncio.create_task(manager.run())
        try:
            yield
        finally:
            assert not task.done()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def summaries(self, *summaries: Json) -> None:
        metadata = {"name": CONFIG_NAME, "namespace": CONFIG_NAMESPACE}
        config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
        await self.spoke.apply(config | {"data": {"summaries": json.dumps(summaries)}}, field_manager="test")

    async def until(self, name: str, scores: dict[str, int]) -> Json:
        async def published() -> Json | None:
            status = (await self.hub.get(SCORES, name, self.cluster)).get("status") or {}
            found = {entry["name"]: entry["value"] for entry in status.get("scores") or []}
            return status if found == scores else None

        return dict(await eventually(published, swallow=NotFound))


@pytest.fixture
async def scene(client: Client, crds_installed: None, namespace: str, spoke: Client) -> AsyncIterator[Scene]:
    yield Scene(client, spoke, namespace)
    try:
        await spoke.delete(CONFIGMAPS, CONFIG_NAME, CONFIG_NAMESPACE)
    except NotFound:
        pass


async def test_a_scorer_that_says_itself_what_it_needs(scene: Scene, scorer: Scorer) -> None:
    async with scene.agent(f"{scorer.url}/config"):
        status = await scene.until("sample-my-score", {"sample_my_score": 42})
        assert parse_time(status["validUntil"])
        assert scorer.data == [SERIES, SERIES]  # both queries, as Prometheus answered
        queries = [r.query for r in scorer.asked if r.method == "GET"][:2]
        assert [q["query"] for q in queries] == ["rate(cpu[1m])", "rate(memory[1m])"]
        assert {int(q["end"]) - int(q["start"]) for q in queries} == {3600}
        scorer.results = [{"metric": {}, "score": 1e9}]
        await scene.until("sample-my-score", {"sample_my_score": 100})


async def test_scorers_that_upstreams_hub_controller_lists(scene: Scene, scorer: Scorer) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token", "namespace": "default"}}
    token = {"data": {"token": base64.b64encode(b"s3cret").decode()}}
    await scene.spoke.apply(secret | token, field_manager="test", resource=SECRETS)
    summary = {
        "name": "perf",
        "scoreName": "Perf_Score",
        "sourceType": "None",
        "scoringEndpoint": f"{scorer.url}/scoring",
        "scoringInterval": 30,
        "scoringEndpointAuthName": "token",
        "scoringEndpointAuthKey": "token",
        "location": "External",
        "scoreDestination": "AddOnPlacementScore",
        "scoreDimensionFormat": "${app}-${device}",
    }
    scorer.results = [
        {"metric": {"app": "one", "device": "all"}, "score": 80},
        {"metric": {"app": "two", "device": "all"}, "score": -12.4},
    ]
    async with scene.agent():
        await scene.summaries(summary)
        await scene.until("perf-score", {"one-all": 80, "two-all": -12})
        assert scorer.data == []
        assert scorer.asked[-1].headers["Authorization"] == "Bearer s3cret"
        await scene.summaries()  # masked, or gone

        async def gone() -> bool:
            return not (await scene.hub.list(SCORES, scene.cluster))["items"]

        await eventually(gone)


async def test_a_scorer_that_fails_harms_no_other(scene: Scene, scorer: Scorer) -> None:
    other = Scorer()
    async with other.serving():
        other.down = True
        config = other.config
        other.config = lambda request: {**config(request), "scoring": {"path": "/nowhere", "params": {}}}  # type: ignore[method-assign]
        async with scene.agent(f"{other.url}/config", "http://127.0.0.1:9/config", f"{scorer.url}/config"):
            await scene.until("sample-my-score", {"sample_my_score": 42})
    assert [o["metadata"]["name"] for o in (await scene.hub.list(SCORES, scene.cluster))["items"]] == [
        "sample-my-score"
    ]
