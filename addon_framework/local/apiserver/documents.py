"""Paths that are no resources: health, version, metrics, discovery, OpenAPI."""

from __future__ import annotations

import hashlib

import orjson
from aiohttp import web

from addon_framework.api.meta import Json
from addon_framework.local.apiserver import discovery, openapi, openapi2, openapiproto, status
from addon_framework.local.apiserver.answers import json_answer
from addon_framework.local.apiserver.authn import ISSUER, Tokens
from addon_framework.local.apiserver.call import Call
from addon_framework.local.apiserver.registry import Registry
from addon_framework.local.apiserver.store import Store

_AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
_PATHS = [
    "/.well-known/openid-configuration",
    "/api",
    "/apis",
    "/healthz",
    "/livez",
    "/metrics",
    "/openapi/v2",
    "/openapi/v3",
    "/openid/v1/jwks",
    "/readyz",
    "/version",
]
_VERSION: Json = {
    "major": "1",
    "minor": "37",
    "gitVersion": "v1.37.0+boundaryless",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "",
    "compiler": "",
    "platform": "linux/amd64",
}


class Documents:
    """Answers by path."""

    def __init__(self, store: Store, registry: Registry, tokens: Tokens, advertise: str) -> None:
        self._store, self._registry, self._tokens, self._advertise = store, registry, tokens, advertise

    def answer(self, call: Call, parts: list[str]) -> web.Response:
        """404 for what there is not."""
        registry, accept = self._registry, call.header("Accept")
        match parts:
            case ["healthz" | "livez" | "readyz"] | ["healthz" | "livez" | "readyz", "ping" | "etcd"]:
                checks = "[+]ping ok\n[+]store ok\n" if "verbose" in call.query else ""
                return web.Response(text=f"{checks}{parts[0]} check passed\n" if checks else "ok")
            case ["metrics"]:
                return web.Response(text=self._metrics())
            case [".well-known", "openid-configuration"]:
                return _for_all(self._issuer())
            case ["openid", "v1", "jwks"]:
                media = "application/jwk-set+json"
                if not any(each in (accept or "*/*") for each in ("*/*", "application/*", media)):
                    raise status.not_acceptable(f"406: Not Acceptable\n\nAvailable representations: {media}")
                return _for_all(self._tokens.key_set(), media)
            case ["version"]:
                return json_answer(call, _VERSION)
            case [""]:
                return json_answer(call, {"paths": _PATHS})
            case ["api"]:
                if "as=APIGroupDiscoveryList" in accept:
                    return self._aggregated(call, core=True)
                return json_answer(call, discovery.api_versions(self._advertise))
            case ["apis"]:
                if "as=APIGroupDiscoveryList" in accept:
                    return self._aggregated(call, core=False)
                return json_answer(call, discovery.group_list(registry))
            case ["api", version] if found := discovery.resource_list(registry, "", version):
                return json_answer(call, found)
            case ["apis", group] if group in registry.groups():
                return json_answer(call, discovery.group(registry, group))
            case ["apis", group, version] if found := discovery.resource_list(registry, group, version):
                return json_answer(call, found)
            case ["openapi", "v2"] if openapiproto.MEDIA_TYPE in accept:
                body = openapiproto.openapi_v2_protobuf(registry)
                return web.Response(body=body, headers={"Content-Type": openapiproto.CONTENT_TYPE})
            case ["openapi", "v2"]:
                return json_answer(call, openapi2.openapi_v2(registry))
            case ["openapi", "v3"]:
                return json_answer(call, openapi.openapi_v3_index(registry))
            case ["openapi", "v3", "api", version] if version in registry.groups()[""]:
                return json_answer(call, openapi.openapi_v3(registry, "", version))
            case ["openapi", "v3", "apis", group, version] if version in registry.groups().get(group, ()):
                return json_answer(call, openapi.openapi_v3(registry, group, version))
        served = parts[0] == "api" or (parts[0] == "apis" and parts[1] in registry.groups())
        raise status.no_route() if served else status.no_path()

    def _aggregated(self, call: Call, *, core: bool) -> web.Response:
        """All of discovery in one document, with an ETag, so that a client asks in vain for little."""
        body = discovery.aggregated(self._registry, core=core)
        etag = f'"{hashlib.sha256(orjson.dumps(body)).hexdigest()[:32].upper()}"'
        if call.header("If-None-Match") == etag:
            return web.Response(status=304, headers={"ETag": etag})
        answer = json_answer(call, body)
        answer.headers.update({"Content-Type": _AGGREGATED, "ETag": etag, "Vary": "Accept"})
        return answer

    def _issuer(self) -> Json:
        """https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/#service-account-issuer-discovery"""
        return {
            "issuer": ISSUER,
            "jwks_uri": f"https://{self._advertise}/openid/v1/jwks",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
        }

    def _metrics(self) -> str:
        lines = ["# TYPE apiserver_storage_objects gauge"]
        for kind in self._registry:
            count = self._store.count(kind.key)
            lines.append(f'apiserver_storage_objects{{resource="{kind.key}"}} {count}')
        return "\n".join(lines) + "\n"


def _for_all(document: Json, media: str = "application/json") -> web.Response:
    headers = {"Content-Type": media, "Cache-Control": "public, max-age=3600"}
    return web.Response(body=orjson.dumps(document), headers=headers)
