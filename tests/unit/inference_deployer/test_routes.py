"""Envoy's configuration from InferenceDeployments, as far as it can be seen without Envoy."""

from __future__ import annotations

import json

from addons.inference_deployer.gateway.controller import write_configuration
from addons.inference_deployer.gateway.routes import (
    MODEL_HEADER,
    by_name,
    load_assignment,
    model_of,
    route_configuration,
)
from tests.unit.inference_deployer.objects import Json, deployment


def served(name: str, *clusters: Json, model: str = "llama", created: str = "2026-01-01T00:00:00Z") -> Json:
    obj = deployment(model={"name": model, "source": "s3://m/x"})
    obj["metadata"] |= {"name": name, "creationTimestamp": created}
    return {**obj, "status": {"clusters": list(clusters)}}


def place(name: str, url: str, ready: int = 1) -> Json:
    return {"name": name, "readyReplicas": ready, "endpoint": url}


def test_places_in_order_as_priorities_and_only_the_ready():
    model = model_of(
        served(
            "demo",
            place("c1", "http://192.0.2.1:8000"),
            place("c2", "http://192.0.2.2:8000", ready=0),
            place("c3", "http://[fd00::3]:8000"),
        )
    )
    endpoints = load_assignment(model)["endpoints"]
    assert [(e["priority"], e["locality"]["region"]) for e in endpoints] == [(0, "c1"), (1, "c3")]
    assert endpoints[1]["lb_endpoints"][0]["endpoint"]["address"]["socket_address"]["address"] == "fd00::3"


def test_the_oldest_has_the_name_and_the_others_their_path():
    models = [
        model_of(served("young", place("c1", "http://192.0.2.1:1"), created="2026-02-01T00:00:00Z")),
        model_of(served("old", place("c1", "http://192.0.2.2:1"))),
    ]
    assert by_name(models)["llama"].name == "old"
    routes = route_configuration(models)["virtual_hosts"][0]["routes"]
    assert [r["route"]["cluster"] for r in routes if r["match"].get("prefix") == "/team/young/v1/"] == [
        "team/young"
    ]


def test_a_model_that_is_not_ready_is_said_to_be_so_and_not_listed():
    routes = route_configuration([model_of(served("demo"))])["virtual_hosts"][0]["routes"]
    named = next(r for r in routes if r["match"].get("headers", [{}])[0].get("name") == MODEL_HEADER)
    assert named["direct_response"]["status"] == 503
    listing = next(r for r in routes if r["match"].get("path") == "/v1/models")
    assert json.loads(listing["direct_response"]["body"]["inline_string"])["data"] == []


def test_files_change_only_when_they_say_something_else(tmp_path):
    first = model_of(served("demo", place("c1", "http://192.0.2.1:8000")))
    assert write_configuration(tmp_path, [first])
    assert not write_configuration(tmp_path, [first])
    assert len(list(tmp_path.glob("eds-*.json"))) == 1
    assert write_configuration(tmp_path, [])
    assert not list(tmp_path.glob("eds-*.json"))


def test_a_load_balancer_with_a_name_is_resolved_by_envoy(tmp_path):
    write_configuration(tmp_path, [model_of(served("demo", place("c1", "http://lb.example.com:8000")))])
    cluster = json.loads((tmp_path / "cds.json").read_text())["resources"][0]
    assert cluster["type"] == "STRICT_DNS"
