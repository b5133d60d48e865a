"""The client: Kubernetes' HTTP API over one aiohttp session per cluster, plain dicts in and out.

Verbs and paths: https://kubernetes.io/docs/reference/using-api/api-concepts/
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import aiohttp
import orjson

from addon_framework.api.meta import Json, Resource
from addon_framework.kube.config import ClientConfig, in_cluster_config, load_kubeconfig
from addon_framework.kube.errors import ApiError, Gone, NotFound, Unreachable, error_from_status

PatchKind = Literal["merge", "json", "strategic", "apply"]
_PATCH_TYPES: dict[str, str] = {
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}
PAGE_SIZE = 500
_MAX_ATTEMPTS = 5


class Client:
    """One cluster's API. Close it, or use it as an async context manager.

    `in_flight` bounds the requests (watches apart) that are open at once. There is no hidden rate:
    a server that wants less says 429 with Retry-After, and that is honoured.
    """

    def __init__(
        self, config: ClientConfig, *, in_flight: int = 64, user_agent: str = "boundaryless"
    ) -> None:
        self.config = config
        self._user_agent = user_agent
        self._in_flight = asyncio.Semaphore(in_flight)
        self._session: aiohttp.ClientSession | None = None
        self._ssl: ssl.SSLContext | bool | None = None
        self._resources: dict[tuple[str, str], Resource] = {}

    @classmethod
    def from_kubeconfig(
        cls, path: str | Path | None = None, context: str | None = None, **options: Any
    ) -> Self:
        """Raises ConfigError when the file or the context is not there."""
        return cls(load_kubeconfig(path, context), **options)

    @classmethod
    def from_kubeconfig_dict(cls, config: Json, context: str | None = None, **options: Any) -> Self:
        """A kubeconfig that is already parsed, such as one kept in a Secret."""
        return cls(load_kubeconfig(config, context), **options)

    @classmethod
    def in_cluster(cls, **options: Any) -> Self:
        """The cluster whose pod we are."""
        return cls(in_cluster_config(), **options)

    @property
    def server(self) -> str:
        """The API server's URL."""
        return self.config.server

    def reconfigure(self, config: ClientConfig) -> None:
        """Other credentials for the same cluster, such as a renewed certificate; streams under way go on."""
        self.config = config
        self._ssl = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connections; requests under way fail."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    # Verbs

    async def get(self, resource: Resource, name: str, namespace: str | None = None) -> Json:
        """Raises NotFound."""
        return await self.request("GET", resource.path(namespace, name))

    async def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str | None = None,
        field_selector: str | None = None,
    ) -> Json:
        """The whole list, all pages of one consistent snapshot; all namespaces when none is given."""
        params = _selectors(label_selector, field_selector)
        path = resource.path(namespace)
        page = await self.request("GET", path, params={**params, "limit": str(PAGE_SIZE)})
        result = page
        try:
            while token := (page.get("metadata") or {}).get("continue"):
                page = await self.request(
                    "GET", path, params={**params, "limit": str(PAGE_SIZE), "continue": token}
                )
                result["items"].extend(page["items"])
                result["metadata"]["resourceVersion"] = page["metadata"]["resourceVersion"]
        except Gone:  # the snapshot expired under us: take it in one piece
            return await self.request("GET", path, params=params)
        result["metadata"].pop("continue", None)
        result["metadata"].pop("remainingItemCount", None)
        result["items"] = result.get("items") or []
        return result

    async def create(
        self, resource: Resource, obj: Json, namespace: str | None = None, *, dry_run: bool = False
    ) -> Json:
        """Raises AlreadyExists, Invalid, Forbidden, NotFound (the namespace)."""
        namespace = namespace or obj.get("metadata", {}).get("namespace")
        return await self.request("POST", resource.path(namespace), body=obj, params=_dry_run(dry_run))

    async def update(self, resource: Resource, obj: Json, *, subresource: str | None = None) -> Json:
        """Replaces the object; Conflict when `metadata.resourceVersion` is not the current one."""
        metadata = obj["metadata"]
        path = resource.path(metadata.get("namespace"), metadata["name"], subresource)
        return await self.request("PUT", path, body=obj)

    async def patch(
        self,
        resource: Resource,
        name: str,
        patch: Any,
        namespace: str | None = None,
        *,
        kind: PatchKind = "merge",
        subresource: str | None = None,
        field_manager: str | None = None,
    ) -> Json:
        """A JSON patch (list), merge patch or strategic merge patch (dict)."""
        params = {"fieldManager": field_manager} if field_manager else {}
        return await self.request(
            "PATCH",
            resource.path(namespace, name, subresource),
            body=patch,
            params=params,
            headers={"Content-Type": _PATCH_TYPES[kind]},
        )

    async def apply(
        self,
        obj: Json,
        *,
        field_manager: str,
        force: bool = True,
        subresource: str | None = None,
        dry_run: bool = False,
        resource: Resource | None = None,
    ) -> Json:
        """Server-side apply; Conflict (with causes) when another manager owns a field and `force` is off."""
        resource = resource or await self.resource_for(obj["apiVersion"], obj["kind"])
        metadata = obj["metadata"]
        namespace = metadata.get("namespace") if resource.namespaced else None
        return await self.request(
            "PATCH",
            resource.path(
                namespace or ("default" if resource.namespaced else None), metadata["name"], subresource
            ),
            body=obj,
            params={"fieldManager": field_manager, "force": str(force).lower(), **_dry_run(dry_run)},
            headers={"Content-Type": _PATCH_TYPES["apply"]},
        )

    async def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str | None = None,
        *,
        propagation: Literal["Background", "Foreground", "Orphan"] = "Background",
        uid: str | None = None,
        resource_version: str | None = None,
        grace_period: int | None = None,
    ) -> Json:
        """Raises NotFound, and Conflict when `uid` or `resource_version` is not the object's."""
        options: Json = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation}
        preconditions = {"uid": uid, "resourceVersion": resource_version}
        if preconditions := {k: v for k, v in preconditions.items() if v}:
            options["preconditions"] = preconditions
        if grace_period is not None:
            options["gracePeriodSeconds"] = grace_period
        return await self.request("DELETE", resource.path(namespace, name), body=options)

    async def watch(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        resource_version: str,
        label_selector: str | None = None,
        field_selector: str | None = None,
        timeout: int = 300,
    ) -> AsyncIterator[tuple[str, Json]]:
        """Events after `resource_version` as (type, object), bookmarks too, until the server ends the stream.

        Raises Gone when the version is too old, at once or in mid-stream.
        """
        params = _selectors(label_selector, field_selector) | {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(timeout),
        }
        # A peer that vanished sends nothing, not even the end: give up a little after the server should have.
        limits = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=timeout + 30)
        async for line in self.stream("GET", resource.path(namespace), params=params, timeout=limits):
            event = orjson.loads(line)
            if event["type"] == "ERROR":
                raise error_from_status(int(event["object"].get("code") or 500), event["object"])
            yield event["type"], event["object"]

    async def resource_for(self, api_version: str, kind: str) -> Resource:
        """What the server calls a kind, by discovery; kept, and asked again for kinds not seen yet."""
        known = self._resources.get((api_version, kind))
        if known is not None:
            return known
        root = "/api/v1" if api_version == "v1" else f"/apis/{api_version}"
        try:
            discovered = await self.request("GET", root)
        except NotFound:
            raise NotFound(404, "NotFound", f"the server does not serve {api_version}, kind {kind}") from None
        group, _, version = api_version.rpartition("/")
        for entry in discovered.get("resources") or []:
            if "/" not in entry["name"]:
                self._resources[(api_version, entry["kind"])] = Resource(
                    group, version, entry["name"], entry["kind"], entry["namespaced"]
                )
        if (api_version, kind) not in self._resources:
            raise NotFound(404, "NotFound", f"the server has no kind {kind} in {api_version}")
        return self._resources[(api_version, kind)]

    # Transport

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Json:
        """One request and its JSON answer, or ApiError by reason; repeats what the server asks to repeat."""
        data = None if body is None else orjson.dumps(body)
        for attempt in range(1, _MAX_ATTEMPTS + 1):
            try:
                async with self._in_flight:
                    return await self._once(method, path, data, params, headers)
            except ApiError as error:
                # Only an explicit 'later' is safe to repeat for every verb: nothing was done.
                later = error.status == 429 or (error.status == 503 and error.retry_after is not None)
                if not later or attempt == _MAX_ATTEMPTS:
                    raise
                await asyncio.sleep(error.retry_after or 0.1 * 2**attempt)
        raise AssertionError("unreachable")

    async def text(self, path: str, *, params: Mapping[str, str] | None = None) -> str:
        """A GET whose answer is not JSON, such as a pod's log."""
        chunks = [chunk async for chunk in self.stream("GET", path, params=params, by_line=False)]
        return b"".join(chunks).decode(errors="replace")

    async def stream(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        timeout: aiohttp.ClientTimeout | None = None,
        by_line: bool = True,
    ) -> AsyncIterator[bytes]:
        """The lines (or raw chunks) of a long answer, as they come."""
        try:
            async with self._open().request(
                method,
                self.server + path,
                params=params,
                headers=self._headers(None),
                ssl=self._tls(),
                server_hostname=self.config.tls_server_name,
                timeout=timeout or aiohttp.ClientTimeout(total=None, sock_connect=10),
            ) as response:
                if response.status >= 400:
                    raise error_from_status(response.status, _decode(await response.read()))
                rest = b""
                async for chunk in response.content.iter_any():
                    if not by_line:
                        yield chunk
                        continue
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in lines:
                        if line:
                            yield line
                if rest:
                    yield rest
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._unreachable(error) from error

    async def _once(
        self,
        method: str,
        path: str,
        data: bytes | None,
        params: Mapping[str, str] | None,
        headers: Mapping[str, str] | None,
    ) -> Json:
        try:
            async with self._open().request(
                method,
                self.server + path,
                data=data,
                params=params,
                headers=self._headers(headers),
                ssl=self._tls(),
                server_hostname=self.config.tls_server_name,
            ) as response:
                raw = await response.read()
                body = _decode(raw)
                if response.status >= 400:
                    error = error_from_status(response.status, body)
                    after = response.headers.get("Retry-After", "")
                    if after.isdigit():
                        error.details.setdefault("retryAfterSeconds", int(after))
                    raise error
                return body if isinstance(body, dict) else {"raw": raw.decode(errors="replace")}
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._unreachable(error) from error

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=60),
                timeout=aiohttp.ClientTimeout(total=60, sock_connect=10),
            )
        return self._session

    def _tls(self) -> ssl.SSLContext | bool:
        if self._ssl is None:
            self._ssl = self.config.ssl_context()
        return self._ssl

    def _headers(self, extra: Mapping[str, str] | None) -> dict[str, str]:
        headers = {
            "Accept": "application/json",
            "Content-Type": "application/json",
            "User-Agent": self._user_agent,
        }
        if token := self.config.token():
            headers["Authorization"] = f"Bearer {token}"
        if self.config.impersonate:
            headers["Impersonate-User"] = self.config.impersonate
        return headers | dict(extra or {})

    def _unreachable(self, error: BaseException) -> Unreachable:
        what = str(error) or type(error).__name__
        return Unreachable(0, "Unreachable", f"cannot reach the API server at {self.server}: {what}")


def _selectors(label_selector: str | None, field_selector: str | None) -> dict[str, str]:
    pairs = {"labelSelector": label_selector, "fieldSelector": field_selector}
    return {name: value for name, value in pairs.items() if value}


def _dry_run(on: bool) -> dict[str, str]:
    return {"dryRun": "All"} if on else {}


def _decode(raw: bytes) -> Any:
    try:
        return orjson.loads(raw) if raw else {}
    except orjson.JSONDecodeError:
        return raw.decode(errors="replace")
