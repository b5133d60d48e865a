"""One request as the rest of the server sees it: who asks, and what the path names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from aiohttp import web

from addon_framework.local.apiserver import status
from addon_framework.local.apiserver.authn import User
from addon_framework.local.apiserver.registry import SUBRESOURCE_VERBS, Kind, Registry, Version

_IN_ONE = ("create", "deletecollection")  # of a namespaced kind, in one namespace only
_VERBS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


@dataclass
class Call:
    """One request, and the warnings that its answer will carry."""

    request: web.BaseRequest
    user: User
    query: Mapping[str, str]
    warnings: list[str] = field(default_factory=list)

    def header(self, name: str) -> str:
        """A header of the request; empty when it is not there."""
        return self.request.headers.get(name, "")

    @property
    def media(self) -> str:
        """The form of the body; JSON where the client says nothing."""
        return self.request.content_type if self.header("Content-Type") else "application/json"

    def flag(self, name: str) -> bool:
        """A boolean parameter."""
        return is_true(self.query, name)


def is_true(query: Mapping[str, str], name: str) -> bool:
    """Whatever is not false is true, as the API server has it."""
    return name in query and query[name].lower() not in ("false", "0")


@dataclass(frozen=True)
class Target:
    """What a path under /api or /apis names."""

    kind: Kind
    version: Version
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    path: str = ""  # behind a proxy

    @property
    def api_version(self) -> str:
        """As objects spell it."""
        return self.kind.api_version(self.version.name)


def is_resource(parts: Sequence[str]) -> bool:
    """Whether a path leads below a group's version."""
    return (parts[0] == "api" and len(parts) > 2) or (parts[0] == "apis" and len(parts) > 3)


def find_target(registry: Registry, parts: Sequence[str]) -> Target:
    """Of /api/v1/... or /apis/GROUP/VERSION/...; 404 when nothing is there."""
    group, version, *rest = ["", *parts[1:]] if parts[0] == "api" else parts[1:]
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in ("status", "finalize"):
        namespace, rest = rest[1], rest[2:]
    found = registry.find(group, version, rest[0])
    rest, path = (rest[:3], rest[3:]) if rest[2:3] == ["proxy"] else (rest, [])
    if found is None or len(rest) > 3 or not all(rest):
        raise status.no_route() if group in registry.groups() else status.no_path()
    kind, served = found
    if namespace and not kind.namespaced:
        raise status.no_route()
    name, sub = (rest[1] if len(rest) > 1 else ""), (rest[2] if len(rest) > 2 else "")
    if name and kind.namespaced and not namespace:
        raise status.no_route()
    if sub and sub not in kind.subresources_of(served):
        raise status.no_route()
    return Target(kind, served, namespace, name, sub, "/".join(path))


def find_verb(call: Call, target: Target) -> str:
    """What the method means for the target, whether it has that or not; 405 for methods nothing has."""
    verb = _VERBS.get(call.request.method)
    if verb is None:
        raise status.method_not_allowed()
    if target.subresource:
        return verb
    if verb == "get" and call.flag("watch"):
        return "watch"
    return verb if target.name else {"get": "list", "delete": "deletecollection"}.get(verb, verb)


def check_verb(verb: str, target: Target) -> None:
    """405 for what the target does not have. (Rights are asked for first.)"""
    verbs, named = target.kind.verbs, bool(target.name)
    if target.subresource:
        allowed = verb in SUBRESOURCE_VERBS[target.subresource]
    else:
        misplaced = named if verb == "create" else not named and verb in ("update", "patch")
        everywhere = target.kind.namespaced and not target.namespace
        allowed = verb in verbs and not misplaced and not (everywhere and verb in _IN_ONE)
    if not allowed:
        raise status.method_not_allowed()
