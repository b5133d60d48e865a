"""The HTTP front: who asks, what for, whether they may, and the answer in the form they want."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
import structlog
import yaml
from aiohttp import web

from addon_framework.api.meta import Json
from addon_framework.api.time import now_rfc3339
from addon_framework.local.apiserver import discovery, openapi, openapiproto, protobuf, status
from addon_framework.local.apiserver.authn import ANONYMOUS, Tokens, User, user_from_certificate
from addon_framework.local.apiserver.kubelet import Kubelets
from addon_framework.local.apiserver.objects import Objects, Write
from addon_framework.local.apiserver.rbac import Access, Authorizer
from addon_framework.local.apiserver.reads import Reader, Selection
from addon_framework.local.apiserver.registry import Kind, Registry, Version
from addon_framework.local.apiserver.reviews import Reviews
from addon_framework.local.apiserver.status import StatusError
from addon_framework.local.apiserver.store import Store
from addon_framework.local.apiserver.subresources import Subresources
from addon_framework.local.apiserver.tables import to_table

log = structlog.get_logger(__name__)

MAX_BODY = 3 * 1024 * 1024
BODY_TYPES = ("application/json", "application/yaml", protobuf.MEDIA_TYPE)
PATCH_TYPES = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
)
_ACCEPTED = ("application/json", "application/*", "*/*", "application/yaml")
_FORMS = ("", "Table", "PartialObjectMetadata", "PartialObjectMetadataList")
VERSION: Json = {
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
_VERBS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


@dataclass
class Target:
    """What a path under /api or /apis names."""

    kind: Kind
    version: Version
    namespace: str = ""
    name: str = ""
    subresource: str = ""


@dataclass
class Call:
    """One request, decoded as far as it was needed."""

    request: web.Request
    user: User
    query: Mapping[str, str]
    warnings: list[str] = field(default_factory=list)


class Server:
    """Routes requests to the rooms behind it."""

    def __init__(
        self,
        store: Store,
        registry: Registry,
        objects: Objects,
        authorizer: Authorizer,
        tokens: Tokens,
        kubelets: Kubelets,
        advertise: str,
    ) -> None:
        self.store, self.registry, self.objects = store, registry, objects
        self.authorizer, self.tokens, self.kubelets, self.advertise = authorizer, tokens, kubelets, advertise
        self.reader = Reader(store)
        self.reviews = Reviews(authorizer, tokens)
        self.subresources = Subresources(store, registry, objects, tokens)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Any request; every failure is a Status."""
        assert isinstance(request, web.BaseRequest)
        try:
            user = self._impersonated(request, self._authenticate(request))
            call = Call(request, user, dict(request.query))  # type: ignore[arg-type]
            return await self._route(call)
        except StatusError as error:
            return self._failure(request, error)
        except web.HTTPRequestEntityTooLarge:
            return self._failure(
                request,
                StatusError(413, "RequestEntityTooLarge", f"Request entity too large: limit is {MAX_BODY}"),
            )
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception as error:
            log.exception("request failed", method=request.method, path=request.path)
            return self._failure(request, StatusError(500, "InternalError", f"Internal error: {error}"))

    # Who

    def _authenticate(self, request: web.BaseRequest) -> User:
        ssl = request.transport.get_extra_info("ssl_object") if request.transport else None
        if ssl is not None and (der := ssl.getpeercert(binary_form=True)):
            return user_from_certificate(der)
        header = request.headers.get("Authorization", "")
        if header.lower().startswith("bearer "):
            user = self.tokens.user(header[7:].strip())
            if user is None:
                raise status.unauthorized()
            return user
        return ANONYMOUS

    def _impersonated(self, request: web.BaseRequest, user: User) -> User:
        """https://kubernetes.io/docs/reference/access-authn-authz/user-impersonation/"""
        name = request.headers.get("Impersonate-User")
        groups = request.headers.getall("Impersonate-Group", [])
        if name is None:
            if groups:
                raise status.bad_request("requested groups without impersonating a user")
            return user
        wanted = [("users", name), *(("groups", group) for group in groups)]
        service_account = name.startswith("system:serviceaccount:") and name.count(":") == 3
        if service_account:
            _, _, namespace, account = name.split(":")
            wanted[0] = ("serviceaccounts", account)
        for resource, value in wanted:
            where = namespace if resource == "serviceaccounts" else ""
            if not self.authorizer.allowed(user, Access("impersonate", "", resource, "", where, value)):
                raise status.forbidden(
                    f'{resource} "{value}" is forbidden: User "{user.name}" cannot impersonate resource '
                    f'"{resource}" in API group "" at the cluster scope'
                )
        if service_account and not groups:
            groups = ["system:serviceaccounts", f"system:serviceaccounts:{namespace}"]
        if name != "system:anonymous" and "system:authenticated" not in groups:
            groups = [*groups, "system:authenticated"]
        return User(name, tuple(groups))

    # What

    async def _route(self, call: Call) -> web.StreamResponse:
        path = call.request.path
        if ".." in path or "//" in path:
            raise status.no_route()
        parts = path.strip("/").split("/")
        if (parts[0] == "api" and len(parts) > 2) or (parts[0] == "apis" and len(parts) > 3):
            return await self._resource(call, parts)
        if call.request.method not in ("GET", "HEAD"):
            raise status.method_not_allowed()
        if not self.authorizer.allowed(call.user, Access("get", path=path)):
            raise status.forbidden(f'User "{call.user.name}" cannot get path "{path}"')
        return self._document(call, parts)

    def _document(self, call: Call, parts: list[str]) -> web.Response:
        """Paths that are no resources."""
        accept = call.request.headers.get("Accept", "")
        wants_aggregated = "as=APIGroupDiscoveryList" in accept and "v=v2;" in accept.replace(" ", "") + ";"
        match parts:
            case ["healthz" | "livez" | "readyz", *_]:
                checks = "[+]ping ok\n[+]store ok\n" if "verbose" in call.query else ""
                return web.Response(text=f"{checks}{parts[0]} check passed\n" if checks else "ok")
            case ["version"]:
                return self._json(call, VERSION)
            case ["metrics"]:
                return web.Response(text=self._metrics())
            case [""]:
                paths = [
                    "/api",
                    "/apis",
                    "/healthz",
                    "/livez",
                    "/metrics",
                    "/openapi/v3",
                    "/readyz",
                    "/version",
                ]
                return self._json(call, {"paths": paths})
            case ["api"]:
                if wants_aggregated:
                    return self._discovery(call, discovery.aggregated(self.registry, core=True))
                return self._json(call, discovery.api_versions(self.advertise))
            case ["apis"]:
                if wants_aggregated:
                    return self._discovery(call, discovery.aggregated(self.registry, core=False))
                return self._json(call, discovery.group_list(self.registry))
            case ["api", version] if found := discovery.resource_list(self.registry, "", version):
                return self._json(call, found)
            case ["apis", group] if group in self.registry.groups():
                return self._json(call, discovery.group(self.registry, group))
            case ["apis", group, version] if found := discovery.resource_list(self.registry, group, version):
                return self._json(call, found)
            case ["openapi", "v2"] if openapiproto.MEDIA_TYPE in accept:
                body = openapiproto.openapi_v2_protobuf(self.registry)
                return web.Response(body=body, headers={"Content-Type": openapiproto.CONTENT_TYPE})
            case ["openapi", "v2"]:
                return self._json(call, openapi.openapi_v2(self.registry))
            case ["openapi", "v3"]:
                return self._json(call, openapi.openapi_v3_index(self.registry))
            case ["openapi", "v3", "api", version]:
                return self._json(call, self._openapi("", version))
            case ["openapi", "v3", "apis", group, version]:
                return self._json(call, self._openapi(group, version))
        raise status.no_route()

    def _openapi(self, group: str, version: str) -> Json:
        document = openapi.openapi_v3(self.registry, group, version)
        if document is None:
            raise status.no_route()
        return document

    def _target(self, parts: list[str]) -> Target:
        """/api/v1/... and /apis/GROUP/VERSION/..."""
        group, version, *rest = ["", *parts[1:]] if parts[0] == "api" else parts[1:]
        namespace = ""
        if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in ("status", "finalize"):
            namespace, rest = rest[1], rest[2:]
        found = self.registry.find(group, version, rest[0])
        if found is None or len(rest) > 3 or not all(rest):
            raise status.no_route()
        kind, served = found
        if bool(namespace) and not kind.namespaced:
            raise status.no_route()
        name, sub = (rest[1] if len(rest) > 1 else ""), (rest[2] if len(rest) > 2 else "")
        if name and kind.namespaced and not namespace:
            raise status.no_route()
        offered = kind.subresources
        if kind.custom:
            offered = tuple(
                s for s in offered if (served.status if s == "status" else served.scale is not None)
            )
        if sub and sub not in offered:
            raise status.no_route()
        return Target(kind, served, namespace, name, sub)

    async def _resource(self, call: Call, parts: list[str]) -> web.StreamResponse:
        target, request = self._target(parts), call.request
        verb = self._verb(call, target)
        self._authorize(call.user, verb, target)
        if target.subresource in ("log", "exec", "attach", "portforward"):
            return await self.kubelets.proxy(request, target.namespace, target.name, target.subresource)
        if verb not in target.kind.verbs and not target.subresource:
            raise status.method_not_allowed()
        if verb in ("list", "watch"):
            selection = Selection.of(target.kind, target.version, target.namespace, target.name, call.query)
            if verb == "watch":
                return await self._watch(call, target, selection)
            objects, metadata = self.reader.page(selection, call.query)
            return self._objects(call, target, objects, metadata)
        if verb == "get":
            return self._present(call, target, self.subresources.read(self._stored(target), target))
        if verb == "deletecollection":
            return await self._delete_collection(call, target)
        body = await self._body(request)
        return self._write(call, target, verb, body)

    def _verb(self, call: Call, target: Target) -> str:
        method = "GET" if call.request.method == "HEAD" else call.request.method
        verb = _VERBS.get(method, "")
        if verb == "get" and not target.subresource:
            if call.query.get("watch") in ("true", "1"):
                return "watch"
            return "get" if target.name else "list"
        if verb == "delete" and not target.name:
            return "deletecollection"
        named = {"get", "update", "patch", "delete"}
        if (not verb or (verb in named and not target.name)) and not target.subresource:
            raise status.method_not_allowed()
        if verb == "create" and target.name and not target.subresource:
            raise status.method_not_allowed()
        return verb

    def _authorize(self, user: User, verb: str, target: Target) -> None:
        kind = target.kind
        access = Access(verb, kind.group, kind.plural, target.subresource, target.namespace, target.name)
        if self.authorizer.allowed(user, access):
            return
        where = f'in the namespace "{target.namespace}"' if target.namespace else "at the cluster scope"
        named = f' "{target.name}"' if target.name else ""
        raise status.forbidden(
            f'{kind.key}{named} is forbidden: User "{user.name}" cannot {verb} resource "{access.what()}" in '
            f'API group "{kind.group}" {where}',
            kind,
            target.name,
        )

    # Doing it

    def _stored(self, target: Target) -> Json:
        key = (target.namespace, target.name)
        found = self.store.get(target.kind.key, key)
        if found is None:
            raise status.not_found(target.kind, target.name)
        return found

    def _write(self, call: Call, target: Target, verb: str, body: bytes) -> web.Response:
        kind, request = target.kind, call.request
        media = request.content_type
        options = self._delete_options(call, body, media) if verb == "delete" else {}
        if verb != "delete":
            accepted = PATCH_TYPES if verb == "patch" else BODY_TYPES
            if media not in accepted:
                raise status.unsupported_media_type(media, accepted)
            if media == "application/strategic-merge-patch+json" and kind.custom:
                raise status.unsupported_media_type(media, [p for p in PATCH_TYPES if "strategic" not in p])
        sent = None if verb == "delete" else self._decode(body, media)
        write = self._new_write(call, target, media)
        code = 200
        if kind.verbs == ("create",):
            review = self._object(sent)
            answer = self.reviews.answer(call.user, kind.kind, target.namespace, review)
            return self._json(call, answer, 201)
        if target.subresource and not (target.subresource in ("status", "approval") and verb != "create"):
            answer, code = self.subresources.write(write, verb, media, sent)
            return self._json(call, answer, code)
        if verb == "create":
            stored, code = self.objects.create(write, self._object(sent)), 201
        elif verb == "update":
            stored = self.objects.update(write, self._object(sent))
        elif verb == "delete":
            write.dry_run = write.dry_run or bool(options.get("dryRun"))
            stored, gone = self.objects.delete(write, options)
            if gone and kind.key != "pods":
                return self._json(call, _deleted(kind, stored))
        elif media == "application/apply-patch+yaml":
            if "fieldManager" not in call.query:
                raise StatusError(
                    422,
                    "Invalid",
                    'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for '
                    "apply patch",
                )
            stored, new = self.objects.apply(write, self._object(sent))
            code = 201 if new else 200
        else:
            if call.query.get("force"):
                raise StatusError(
                    422,
                    "Invalid",
                    'PatchOptions.meta.k8s.io "" is invalid: force: Forbidden: may not be specified for '
                    "non-apply patch",
                )
            stored = self.objects.patch(write, media, sent)
        call.warnings += write.warnings
        return self._present(call, target, stored, code)

    def _new_write(self, call: Call, target: Target, media: str) -> Write:
        query = call.query
        manager = query.get("fieldManager") or call.request.headers.get("User-Agent", "unknown").split("/")[0]
        if len(manager) > 128:
            raise StatusError(422, "Invalid", "fieldManager: Too long: may not be more than 128 bytes")
        dry_run = query.get("dryRun", "")
        if dry_run not in ("", "All"):
            raise StatusError(
                422, "Invalid", f'dryRun: Unsupported value: "{dry_run}": supported values: "All"'
            )
        validation = query.get("fieldValidation") or ("Strict" if "apply-patch" in media else "Warn")
        if validation not in ("Ignore", "Warn", "Strict"):
            raise StatusError(
                422,
                "Invalid",
                f'fieldValidation: Unsupported value: "{validation}": supported values: "Ignore", "Strict", '
                '"Warn"',
            )
        return Write(
            call.user,
            target.kind,
            target.version,
            target.namespace,
            target.name,
            target.subresource,
            manager=manager,
            force=query.get("force") in ("true", "1"),
            dry_run=dry_run == "All",
            field_validation=validation,
        )

    async def _delete_collection(self, call: Call, target: Target) -> web.Response:
        options = self._delete_options(call, await self._body(call.request), call.request.content_type)
        selection = Selection.of(target.kind, target.version, target.namespace, "", call.query)
        objects, metadata = self.reader.page(selection, {})
        deleted = []
        for obj in objects:
            write = self._new_write(call, target, "")
            write.namespace, write.name = obj["metadata"].get("namespace", ""), obj["metadata"]["name"]
            try:
                deleted.append(self.objects.delete(write, options)[0])
            except StatusError as error:
                if error.code != 404:
                    raise
        return self._objects(call, target, deleted, metadata)

    def _delete_options(self, call: Call, body: bytes, media: str) -> Json:
        options = self._object(self._decode(body, media or "application/json")) if body.strip() else {}
        for name in ("propagationPolicy", "gracePeriodSeconds", "orphanDependents"):
            if name in call.query and name not in options:
                value: Any = call.query[name]
                if name == "gracePeriodSeconds":
                    value = int(value) if value.lstrip("-").isdigit() else 0
                options[name] = value == "true" if name == "orphanDependents" else value
        return options

    # Bodies

    async def _body(self, request: web.Request) -> bytes:
        body = await request.read()
        if len(body) > MAX_BODY:
            raise StatusError(413, "RequestEntityTooLarge", f"Request entity too large: limit is {MAX_BODY}")
        return body

    def _decode(self, body: bytes, media: str) -> Any:
        try:
            if media == protobuf.MEDIA_TYPE:
                return protobuf.decode(body)
            if media.endswith("yaml"):
                # YAML's own tags and anchors are not data; JSON is the common case and much faster.
                if body.lstrip()[:1] == b"{":
                    return orjson.loads(body)
                return yaml.load(body, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
            return orjson.loads(body)
        except protobuf.UnknownKindError as error:
            raise StatusError(415, "UnsupportedMediaType", str(error)) from None
        except (orjson.JSONDecodeError, yaml.YAMLError, RecursionError, ValueError) as error:
            raise status.bad_request(f"the body cannot be read as {media}: {error}") from None

    def _object(self, sent: Any) -> Json:
        if not isinstance(sent, dict):
            raise status.bad_request("the body must be an object")
        return sent

    # Answers

    def _failure(self, request: web.BaseRequest, error: StatusError) -> web.Response:
        response = web.json_response(
            error.body(), status=error.code, dumps=lambda b: orjson.dumps(b).decode()
        )
        if error.code in (429, 503, 504):
            response.headers["Retry-After"] = "1"
        return response

    def _json(self, call: Call, body: Json, code: int = 200) -> web.Response:
        data = orjson.dumps(body)
        headers = {"Content-Type": "application/json"}
        if len(data) > 128 * 1024 and "gzip" in call.request.headers.get("Accept-Encoding", ""):
            data = gzip.compress(data, 1)
            headers["Content-Encoding"] = "gzip"
        response = web.Response(body=data, status=code, headers=headers)
        for warning in dict.fromkeys(call.warnings):
            text = warning.replace("\\", "\\\\").replace('"', '\\"')
            response.headers.add("Warning", f'299 - "{text}"')
        return response

    def _discovery(self, call: Call, body: Json) -> web.Response:
        response = self._json(call, body)
        response.headers["Content-Type"] = (
            "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
        )
        return response

    def _presenter(self, call: Call, target: Target) -> tuple[str, Callable[[Json], Json]]:
        """The form the client asked for: "", "Table" or "PartialObjectMetadata", and how to give it."""
        accept = call.request.headers.get("Accept", "") or "*/*"
        form = ""
        for choice in accept.split(","):
            media, *parameters = (part.strip() for part in choice.split(";"))
            settings = dict(p.split("=", 1) for p in parameters if "=" in p)
            wanted = settings.get("as", "")
            if media in _ACCEPTED and wanted in _FORMS:
                form = wanted.removesuffix("List")
                break
        else:
            raise status.not_acceptable()

        def plain(obj: Json) -> Json:
            wanted = target.kind.api_version(target.version.name)
            return obj if obj.get("apiVersion") == wanted else {**obj, "apiVersion": wanted}

        def partial(obj: Json) -> Json:
            return {
                "kind": "PartialObjectMetadata",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": obj["metadata"],
            }

        def table(obj: Json) -> Json:
            return self._table(call, target, [plain(obj)])

        return form, {"": plain, "Table": table, "PartialObjectMetadata": partial}[form]

    def _table(self, call: Call, target: Target, objects: list[Json]) -> Json:
        columns = list(target.version.columns) if target.version.columns else None
        include = call.query.get("includeObject") or "Metadata"
        return to_table(target.kind, objects, columns, include, now_rfc3339())

    def _present(self, call: Call, target: Target, obj: Json, code: int = 200) -> web.Response:
        form, present = self._presenter(call, target)
        if form == "Table" and obj.get("kind") != target.kind.kind:
            return self._json(call, obj, code)
        if target.subresource not in ("", "status", "approval", "finalize"):
            return self._json(call, obj, code)
        return self._json(call, present(obj), code)

    def _objects(self, call: Call, target: Target, objects: list[Json], metadata: Json) -> web.Response:
        form, present = self._presenter(call, target)
        if form == "Table":
            table = self._table(
                call, target, [{**o, "apiVersion": self._api_version(target)} for o in objects]
            )
            table["metadata"] = metadata
            return self._json(call, table)
        items = [present(obj) for obj in objects]
        kind, version = target.kind.list_kind, self._api_version(target)
        if form == "PartialObjectMetadata":
            kind, version = "PartialObjectMetadataList", "meta.k8s.io/v1"
        return self._json(call, {"kind": kind, "apiVersion": version, "metadata": metadata, "items": items})

    def _api_version(self, target: Target) -> str:
        return target.kind.api_version(target.version.name)

    async def _watch(self, call: Call, target: Target, selection: Selection) -> web.StreamResponse:
        _, present = self._presenter(call, target)
        lines = self.reader.watch(selection, call.query, present)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        prepared = False
        first = asyncio.ensure_future(anext(lines, b""))
        try:
            # An answer of 410 is possible until the stream begins, and it must begin at once otherwise.
            await asyncio.wait({first}, timeout=0.01)
            if first.done():
                first.result()
            await response.prepare(call.request)
            prepared = True
            if line := await first:
                await response.write(line)
                async for more in lines:
                    await response.write(more)
            await response.write_eof()
        except (ConnectionResetError, asyncio.CancelledError):
            if not prepared:
                raise
        finally:
            if not first.done():
                first.cancel()
                await asyncio.gather(first, return_exceptions=True)
            await lines.aclose()  # type: ignore[attr-defined]
        return response

    def _metrics(self) -> str:
        lines = ["# TYPE apiserver_storage_objects gauge"]
        lines += [
            f'apiserver_storage_objects{{resource="{kind.key}"}} {self.store.count(kind.key)}'
            for kind in self.registry
        ]
        return "\n".join(lines) + "\n"


def _deleted(kind: Kind, obj: Json) -> Json:
    details = {"name": obj["metadata"]["name"], "kind": kind.plural, "uid": obj["metadata"]["uid"]}
    if kind.group:
        details["group"] = kind.group
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
