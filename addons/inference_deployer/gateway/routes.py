"""Which model is where, and Envoy's routes, clusters and endpoints for that. Pure.

Field names are Envoy's: https://www.envoyproxy.io/docs/envoy/latest/api-v3/api
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from addon_framework.api.meta import Json
from addon_framework.api.time import parse_time

MODEL_HEADER = "x-boundaryless-model"
ROUTES = "models"
TYPE = "type.googleapis.com/envoy"
_RETRY = f"{TYPE}.extensions.retry"


@dataclass(frozen=True)
class Place:
    """Where a model answers, on one cluster."""

    cluster: str
    host: str
    port: int


@dataclass(frozen=True)
class Model:
    """One InferenceDeployment, as a gateway sees it. The first place is preferred."""

    namespace: str
    name: str
    model: str
    created: datetime
    places: Sequence[Place]

    @property
    def key(self) -> str:
        """The name of its Envoy cluster, and its path."""
        return f"{self.namespace}/{self.name}"


def model_of(deployment: Json) -> Model:
    """Only clusters with a ready replica and an address are places."""
    meta = deployment["metadata"]
    places = []
    for cluster in (deployment.get("status") or {}).get("clusters") or []:
        url = urlsplit(str(cluster.get("endpoint") or ""))
        if cluster.get("readyReplicas") and url.hostname:
            places.append(Place(cluster["name"], url.hostname, url.port or 80))
    name = str((deployment["spec"].get("model") or {}).get("name") or meta["name"])
    return Model(meta["namespace"], meta["name"], name, parse_time(meta["creationTimestamp"]), places)


def by_name(models: Iterable[Model]) -> dict[str, Model]:
    """Who answers to a model's name: the oldest of those that claim it. The others have their path."""
    chosen: dict[str, Model] = {}
    for model in sorted(models, key=lambda model: (model.created, model.key)):
        chosen.setdefault(model.model, model)
    return chosen


def route_configuration(models: Sequence[Model]) -> Json:
    """/NAMESPACE/NAME/v1/... and its /health, /v1/... by the request's model, and /v1/models."""
    named = by_name(models)
    routes = [
        _answer({"path": "/healthz"}, 200, "ok"),
        _answer({"path": "/v1/models", **_method("GET")}, 200, _listing(named.values())),
    ]
    for model in sorted(models, key=lambda model: model.key):
        health: Json = {"path": f"/{model.key}/health"}
        routes.append(_route(health, model, rewrite="/health"))
        match: Json = {"prefix": f"/{model.key}/v1/"}
        routes.append(_route(match, model, rewrite="/v1/"))
    for name, model in sorted(named.items()):
        header = {"name": MODEL_HEADER, "string_match": {"exact": name}}
        routes.append(_route({"prefix": "/v1/", "headers": [header]}, model))
    have = ", ".join(sorted(named)) or "none"
    unknown = f'No deployment serves the "model" of this request; there are: {have}'
    routes.append(_answer({"prefix": "/v1/"}, 404, _error(unknown, "model_not_found")))
    nothing = "Nothing is here; use /v1/... with a model, or /NAMESPACE/NAME/v1/..."
    routes.append(_answer({"prefix": "/"}, 404, _error(nothing, "not_found")))
    return {
        "@type": f"{TYPE}.config.route.v3.RouteConfiguration",
        "name": ROUTES,
        "virtual_hosts": [{"name": ROUTES, "domains": ["*"], "routes": routes}],
        "request_headers_to_remove": [MODEL_HEADER],
        # What an answer says may be long: the list of all models.
        "max_direct_response_body_size_bytes": 1 << 20,
    }


def cluster(model: Model, endpoints: Json | None) -> Json:
    """An Envoy cluster; `endpoints` is where its addresses are read from, None to resolve names by DNS."""
    timeout = {"connect_timeout": "2s", "lb_policy": "LEAST_REQUEST"}
    result: Json = {
        "@type": f"{TYPE}.config.cluster.v3.Cluster",
        "name": model.key,
        **timeout,
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        # The hub may hear late, or never, that a cluster is gone.
        "health_checks": [
            {
                "timeout": "5s",
                "interval": "5s",
                "no_traffic_interval": "5s",
                "unhealthy_interval": "1s",
                "unhealthy_threshold": 3,
                "healthy_threshold": 1,
                "http_health_check": {"path": "/health"},
            }
        ],
        "outlier_detection": {
            "consecutive_gateway_failure": 3,
            "enforcing_consecutive_gateway_failure": 100,
            "enforcing_consecutive_5xx": 0,
            "base_ejection_time": "5s",
            "max_ejection_percent": 100,
        },
        # No limits of our own: an engine queues what it cannot serve at once.
        "circuit_breakers": {
            "thresholds": [
                dict.fromkeys(("max_connections", "max_pending_requests", "max_requests"), 1 << 20)
                | {"max_retries": 1024}
            ]
        },
        # Engines close idle connections after five seconds; be first, or a request meets a closing one.
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": f"{TYPE}.extensions.upstreams.http.v3.HttpProtocolOptions",
                "common_http_protocol_options": {"idle_timeout": "4s"},
                "explicit_http_config": {"http_protocol_options": {}},
            }
        },
    }
    if endpoints is not None:
        source = {"service_name": model.key, "eds_config": endpoints}
        return {**result, "type": "EDS", "eds_cluster_config": source}
    assignment = {name: value for name, value in load_assignment(model).items() if name != "@type"}
    return {**result, "type": "STRICT_DNS", "dns_lookup_family": "ALL", "load_assignment": assignment}


def needs_dns(model: Model) -> bool:
    """Whether a place is a host name, as load balancers of some clouds are."""
    try:
        for place in model.places:
            ipaddress.ip_address(place.host)
    except ValueError:
        return True
    return False


def load_assignment(model: Model) -> Json:
    """The places of a model, each of a lower priority than the one before."""
    return {
        "@type": f"{TYPE}.config.endpoint.v3.ClusterLoadAssignment",
        "cluster_name": model.key,
        "endpoints": [
            {
                "priority": priority,
                "locality": {"region": place.cluster},
                "lb_endpoints": [{"endpoint": {"address": socket_address(place.host, place.port)}}],
            }
            for priority, place in enumerate(model.places)
        ],
    }


def socket_address(host: str, port: int) -> Json:
    """Envoy's Address."""
    return {"socket_address": {"address": host, "port_value": port}}


def _route(match: Json, model: Model, rewrite: str = "") -> Json:
    if not model.places:
        text = f"Model {model.model} (InferenceDeployment {model.key}) is not ready on any cluster"
        return _answer(match, 503, _error(text, "model_not_ready"))
    action: Json = {
        "cluster": model.key,
        "timeout": "0s",  # an answer takes as long as it takes, and may stream
        "idle_timeout": "900s",
        "retry_policy": {
            # Nothing has been sent to the client yet when one of these happens.
            "retry_on": "connect-failure,refused-stream,reset,retriable-status-codes",
            "retriable_status_codes": [503],
            "num_retries": 2,
            "retry_host_predicate": [
                {
                    "name": "envoy.retry_host_predicates.previous_hosts",
                    "typed_config": {"@type": f"{_RETRY}.host.previous_hosts.v3.PreviousHostsPredicate"},
                }
            ],
            "retry_priority": {
                "name": "envoy.retry_priorities.previous_priorities",
                "typed_config": {
                    "@type": f"{_RETRY}.priority.previous_priorities.v3.PreviousPrioritiesConfig",
                    "update_frequency": 1,
                },
            },
            "host_selection_retry_max_attempts": 3,
        },
    }
    if rewrite:
        action["prefix_rewrite"] = rewrite
    return {"match": match, "route": action}


def _method(name: str) -> Json:
    return {"headers": [{"name": ":method", "string_match": {"exact": name}}]}


def _answer(match: Json, status: int, text: str) -> Json:
    kind = "application/json" if text.startswith("{") else "text/plain"
    header = {"header": {"key": "content-type", "value": kind}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
    return {
        "match": match,
        "direct_response": {"status": status, "body": {"inline_string": text}},
        "response_headers_to_add": [header],
    }


def _listing(models: Iterable[Model]) -> str:
    """As OpenAI's GET /v1/models."""
    ready = sorted((model for model in models if model.places), key=lambda model: model.model)
    data = [
        {"id": m.model, "object": "model", "created": int(m.created.timestamp()), "owned_by": m.key}
        for m in ready
    ]
    return json.dumps({"object": "list", "data": data})


def _error(message: str, code: str) -> str:
    """As OpenAI's API words errors."""
    return json.dumps(
        {"error": {"message": message, "type": "invalid_request_error", "param": "model", "code": code}}
    )
