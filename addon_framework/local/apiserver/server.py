"""The HTTP front: who asks, what for, whether they may, and the answer in the form they want."""

from __future__ import annotations

import asyncio
import functools
from dataclasses import replace

import structlog
from aiohttp import web

from addon_framework.api.meta import Json
from addon_framework.local.apiserver import status
from addon_framework.local.apiserver.answers import (
    failure,
    json_answer,
    list_answer,
    object_answer,
    presenter,
)
from addon_framework.local.apiserver.authn import Tokens, User
from addon_framework.local.apiserver.bodies import (
    check_decoded,
    check_media_type,
    decode,
    decode_object,
    delete_options,
    duplicate_fields,
    read_body,
    write_of,
)
from addon_framework.local.apiserver.call import Call, Target, check_verb, find_target, find_verb, is_resource
from addon_framework.local.apiserver.documents import Documents
from addon_framework.local.apiserver.hooks import answered
from addon_framework.local.apiserver.identity import identify
from addon_framework.local.apiserver.kubelet import Kubelets, stream_options
from addon_framework.local.apiserver.objects import Objects
from addon_framework.local.apiserver.patches import APPLY, MERGE, STRATEGIC
from addon_framework.local.apiserver.proxies import Proxies
from addon_framework.local.apiserver.rbac import Access, Authorizer
from addon_framework.local.apiserver.reads import Reader, Selection
from addon_framework.local.apiserver.registry import Registry
from addon_framework.local.apiserver.reviews import Reviews
from addon_framework.local.apiserver.selectors import exact_name
from addon_framework.local.apiserver.status import StatusError
from addon_framework.local.apiserver.store import Store
from addon_framework.local.apiserver.subresources import Subresources
from addon_framework.local.apiserver.write import Memory

log = structlog.get_logger(__name__)
_STREAMED = ("log", "exec", "attach", "portforward")


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
        self._store, self._registry, self._objects = store, registry, objects
        self._authorizer, self._tokens, self._kubelets = authorizer, tokens, kubelets
        self._proxies = Proxies(store, kubelets)
        self._reader = Reader(store)
        self._reviews = Reviews(authorizer, tokens)
        self._subresources = Subresources(store, registry, objects, tokens)
        self._documents = Documents(store, registry, tokens, advertise)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Any request; every failure is a Status."""
        warnings: list[str] = []
        try:
            user = identify(request, self._tokens, self._authorizer)
            return await self._route(Call(request, user, dict(request.query), warnings))
        except StatusError as error:
            return failure(error, warnings)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            if request.transport is None or request.transport.is_closing():
                return web.Response(status=499)  # nobody reads it, and aiohttp drops it in silence
            log.exception("request failed", method=request.method, path=request.path)
            return failure(StatusError(500, "InternalError", f"Internal error occurred: {error}"), warnings)

    async def _route(self, call: Call) -> web.StreamResponse:
        path = call.request.path
        parts = path.strip("/").split("/")
        if ".." in parts or "//" in path:
            raise status.no_route()
        if is_resource(parts):
            return await self._resource(call, find_target(self._registry, parts))
        verb = call.request.method.lower()
        if not self._authorizer.allowed(call.user, Access(verb, path=path)):
            raise status.forbidden(f'forbidden: User "{call.user.name}" cannot {verb} path "{path}"')
        if verb != "get":
            raise status.method_not_allowed()
        return self._documents.answer(call, parts)

    async def _resource(self, call: Call, target: Target) -> web.StreamResponse:
        verb = find_verb(call, target)
        named = exact_name(call.query.get("fieldSelector", "")) if verb in ("list", "watch") else target.name
        self._authorize(call.user, verb, target, named or target.name)
        check_verb(verb, target)
        if target.subresource == "proxy":
            asked = {"kind": f"{target.kind.kind}ProxyOptions", "apiVersion": "v1", "path": f"/{target.path}"}
            write = write_of(call, target, "connect")
            await answered(lambda: self._objects.webhooks.connect(write, asked))
            return await self._proxies.answer(call.request, target)
        if target.subresource in _STREAMED:
            if target.subresource != "log":  # a WebSocket comes as GET, and still does more than to read
                self._authorize(call.user, "create", target, target.name)
                write, asked = (
                    write_of(call, target, "connect"),
                    stream_options(target.subresource, call.request),
                )
                await answered(lambda: self._objects.webhooks.connect(write, asked))
            return await self._kubelets.proxy(call.request, target.namespace, target.name, target.subresource)
        match verb:
            case "list":
                page = self._reader.page(self._selection(call, target), call.query)
                return await answered(lambda: list_answer(call, target, *page))
            case "watch":
                return await self._watch(call, target)
            case "get":
                self._reader.check_version(call.query)
                stored = self._store.get(target.kind.key, (target.namespace, target.name))
                if stored is None:
                    raise status.not_found(target.kind, target.name)
                shown = self._subresources.read(stored, target)
                return await answered(lambda: object_answer(call, target, shown))
        body, memory = await read_body(call), Memory()
        match verb:
            case "delete":
                deleted, gone = await answered(lambda: self._delete(call, target, body, memory))
                if gone and target.kind.key != "pods":
                    return json_answer(call, status.deleted(target.kind, deleted))
                return await answered(lambda: object_answer(call, target, deleted))
            case "deletecollection":
                return await self._delete_collection(call, target, body)
        # Once it is stored it is not begun again, whatever has to be asked to show it.
        written, code = await answered(lambda: self._write(call, target, verb, body, memory))
        return await answered(lambda: object_answer(call, target, written, code))

    def _authorize(self, user: User, verb: str, target: Target, name: str) -> None:
        kind = target.kind
        access = Access(verb, kind.group, kind.plural, target.subresource, target.namespace, name)
        if self._authorizer.allowed(user, access):
            return
        raise status.forbidden_access(user.name, replace(access, name=target.name))

    def _write(self, call: Call, target: Target, verb: str, body: bytes, memory: Memory) -> tuple[Json, int]:
        media = call.media
        check_media_type(verb, target, media)
        write = write_of(call, target, verb, media)
        write.memory = memory
        if target.kind.verbs == ("create",):
            review = decode_object(body, media)
            if (schema := write.schema) is not None:
                check_decoded(review, schema, target.kind.kind, target.version.name)
            answer = self._reviews.answer(call.user, target.kind.kind, target.namespace, review)
            return {"kind": target.kind.kind, "apiVersion": target.api_version, **answer}, 201
        if write.field_validation == "Strict" and media in ("application/json", MERGE, STRATEGIC):
            write.twice = duplicate_fields(body)
        if target.subresource and not (target.subresource in ("status", "approval") and verb != "create"):
            sent = decode(body, media) if body.strip() else {}
            return self._subresources.write(write, verb, media, sent)
        code, new = 200, verb == "create"
        if verb == "update" and target.kind.created_by_update and not target.subresource:
            new = self._store.get(target.kind.key, (target.namespace, target.name)) is None
        if new:
            may = functools.partial(self._authorize, call.user, "create", target, target.name)
            stored, code = self._objects.create(write, decode_object(body, media), may), 201
        elif verb == "update":
            stored = self._objects.update(write, decode_object(body, media))
        elif media == APPLY:
            stored, new = self._objects.apply(write, decode_object(body, media))
            code = 201 if new else 200
        else:
            stored = self._objects.patch(write, media, decode(body, media))
        return stored, code

    def _delete(self, call: Call, target: Target, body: bytes, memory: Memory) -> tuple[Json, bool]:
        options = delete_options(call, body)
        write = write_of(call, target, "delete")
        write.memory = memory
        write.dry_run = bool(options.get("dryRun"))
        return self._objects.delete(write, options)

    async def _delete_collection(self, call: Call, target: Target, body: bytes) -> web.Response:
        options = delete_options(call, body)
        objects, metadata = self._reader.page(self._selection(call, target), {})
        deleted: list[Json] = []
        for obj in objects:
            write = write_of(call, target, "delete")
            write.namespace, write.name = obj["metadata"].get("namespace", ""), obj["metadata"]["name"]
            write.dry_run = bool(options.get("dryRun"))
            try:
                gone = await answered(functools.partial(self._objects.delete, write, options))
                deleted.append(gone[0])
            except StatusError as error:
                if error.code != 404:
                    raise
        return await answered(lambda: list_answer(call, target, deleted, metadata))

    def _selection(self, call: Call, target: Target) -> Selection:
        return Selection.of(target.kind, target.version, target.namespace, target.name, call.query)

    async def _watch(self, call: Call, target: Target) -> web.StreamResponse:
        selection = self._selection(call, target)
        lines = self._reader.watch(selection, call.query, presenter(call, target))
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(call.request)
        try:
            async for line in lines:
                await response.write(line)
            await response.write_eof()
        except ConnectionError:
            pass  # the client has left
        finally:
            await lines.aclose()
        return response
