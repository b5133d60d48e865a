"""Envoy's bootstrap and its listener: reads the request's "model" and routes by it. Pure."""

from __future__ import annotations

from pathlib import Path

from addon_framework.api.meta import Json
from addons.inference_deployer.gateway.routes import MODEL_HEADER, ROUTES, TYPE, socket_address

SERVER = "boundaryless"
BUFFER = 64 << 20  # a request is held until its model is known, and for a retry: images are large
_NAMESPACE = "boundaryless"
# The header is ours alone: whatever a client sends in it is dropped before a route is chosen.
_ROUTE_BY_MODEL = f"""
function envoy_on_request(handle)
  local headers = handle:headers()
  headers:remove("{MODEL_HEADER}")
  local found = handle:streamInfo():dynamicMetadata():get("{_NAMESPACE}")
  local model = found and found["model"]
  if type(model) == "string" and #model <= 253 and model:match("^%w[%w%._:/@%+%-]*$") then
    headers:add("{MODEL_HEADER}", model)
  end
  handle:clearRouteCache()
end
"""


def files(directory: Path, name: str) -> Json:
    """A ConfigSource: Envoy reads the file again whenever another one is moved into its place."""
    return {"resource_api_version": "V3", "path_config_source": {"path": str(directory / name)}}


def bootstrap(directory: Path) -> Json:
    """What Envoy is started with; it never changes."""
    return {
        "node": {"id": "boundaryless-gateway", "cluster": "boundaryless-gateway"},
        "dynamic_resources": {
            "lds_config": files(directory, "lds.json"),
            "cds_config": files(directory, "cds.json"),
        },
    }


def listener(directory: Path, address: str, port: int) -> Json:
    """One listener for all models."""
    return {
        "@type": f"{TYPE}.config.listener.v3.Listener",
        "name": ROUTES,
        "address": socket_address(address, port),
        "per_connection_buffer_limit_bytes": BUFFER,
        "filter_chains": [
            {
                "filters": [
                    {
                        "name": "envoy.filters.network.http_connection_manager",
                        "typed_config": _connection_manager(directory),
                    }
                ]
            }
        ],
    }


def _connection_manager(directory: Path) -> Json:
    extensions = f"{TYPE}.extensions.filters"
    return {
        "@type": f"{extensions}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "gateway",
        "server_name": SERVER,
        "use_remote_address": True,
        "normalize_path": True,
        "request_headers_timeout": "10s",
        "stream_idle_timeout": "900s",
        "rds": {"route_config_name": ROUTES, "config_source": files(directory, "rds.json")},
        "http_filters": [
            _filter("json_to_metadata", f"{extensions}.http.json_to_metadata.v3.JsonToMetadata", _MODEL_RULE),
            _filter(
                "lua",
                f"{extensions}.http.lua.v3.Lua",
                {"default_source_code": {"inline_string": _ROUTE_BY_MODEL}},
            ),
            _filter("router", f"{extensions}.http.router.v3.Router", {}),
        ],
        "local_reply_config": {"mappers": [{"filter": _TROUBLE, "body_format_override": _ERROR}]},
    }


# What Envoy itself answers (no healthy upstream, too large, ...) in the words of OpenAI's API; the answers
# that stand in the routes have no flag and are in them already.
_TROUBLE: Json = {
    "or_filter": {
        "filters": [
            {"response_flag_filter": {}},
            {
                "status_code_filter": {
                    "comparison": {
                        "op": "EQ",
                        "value": {"default_value": 413, "runtime_key": "gateway.too_large"},
                    }
                }
            },
        ]
    }
}
_ERROR: Json = {
    "json_format": {
        "error": {"message": "%LOCAL_REPLY_BODY%", "type": "gateway_error", "code": "%RESPONSE_CODE%"}
    }
}
_MODEL_RULE: Json = {
    "request_rules": {
        "rules": [
            {
                "selectors": [{"key": "model"}],
                "on_present": {"metadata_namespace": _NAMESPACE, "key": "model"},
            }
        ],
        "allow_empty_content_type": True,
    }
}


def _filter(name: str, type_: str, config: Json) -> Json:
    return {"name": f"envoy.filters.http.{name}", "typed_config": {"@type": type_, **config}}
