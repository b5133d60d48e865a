"""The client: Kubernetes' HTTP API over one aiohttp session per cluster, plain dicts in and out.

Verbs and paths: https://kubernetes.io/docs/reference/using-api/api-concepts/
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self

import aiohttp
import orjson

from addon_framework.api.meta import Json, Resource
from addon_framework.kube.config import ClientConfig, in_cluster_config, load_kubeconfig
from addon_framework.kube.dialect import Dialect, is_of_addons, learn, no_longer_served
from addon_framework.kube.errors import Conflict, Gone, NotFound, error_from_status
from addon_framework.kube.transport import Transport

PatchKind = Literal["merge", "json", "strategic", "apply"]
_PATCH_TYPES: dict[str, str] = {
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}
PAGE_SIZE = 500
_AS_IT_IS = Dialect(())


class Client(Transport):
    """One cluster's API. Close it, or use it as an async context manager.

    `in_flight` bounds the requests (watches apart) that are open at once. There is no hidden rate:
    a server that wants less says 429 with Retry-After, and that is honoured.
    """

    def __init__(self, config: ClientConfig, **options: Any) -> None:
        super().__init__(config, **options)
        self._resources: dict[tuple[str, str], Resource] = {}
        self._dialect: Dialect | None = None  # until it is asked for

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
        items: list[Json] = []
        pages = partial(
            self.pages, resource, namespace, label_selector=label_selector, field_selector=field_selector
        )
        try:
            async for page in pages():
                items += page["items"]
        except Gone:  # the snapshot expired under us: take it in one piece
            async for page in pages(in_one=True):
                items = page["items"]
        for field in ("continue", "remainingItemCount"):
            page["metadata"].pop(field, None)
        return {**page, "items": items}

    async def pages(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str | None = None,
        field_selector: str | None = None,
        in_one: bool = False,
    ) -> AsyncIterator[Json]:
        """The list as it comes, each page with the version to watch from. Gone when the snapshot expires."""
        params = _selectors(label_selector, field_selector) | ({} if in_one else {"limit": str(PAGE_SIZE)})
        while True:
            page = await self.request("GET", resource.path(namespace), params=params)
            page["items"] = page.get("items") or []
            yield page
            if not (token := (page.get("metadata") or {}).get("continue")):
                return
            params = params | {"continue": token}

    async def create(
        self, resource: Resource, obj: Json, namespace: str | None = None, *, dry_run: bool = False
    ) -> Json:
        """Raises AlreadyExists, Invalid, Forbidden, NotFound (the namespace)."""
        namespace = namespace or obj.get("metadata", {}).get("namespace")
        # By a path alone, servers know their own kinds only: a custom object says what it is.
        body = {"apiVersion": resource.api_version, "kind": resource.kind, **obj}
        return await self.request("POST", resource.path(namespace), body=body, params=_dry_run(dry_run))

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

    async def remove(self, resource: Resource, obj: Json) -> bool:
        """Deletes this very object, by its uid; False when it is gone, whatever has its name by now.

        What is already being deleted is left to that.
        """
        metadata = obj["metadata"]
        if metadata.get("deletionTimestamp"):
            return True
        try:
            await self.delete(resource, metadata["name"], metadata.get("namespace"), uid=metadata["uid"])
        except (NotFound, Conflict):
            return False
        return True

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
        path = resource.path(namespace)
        dialect = await self._speak(path)
        async for line in self.stream("GET", dialect.path(path), params=params, timeout=limits):
            event = orjson.loads(line)
            if event["type"] == "ERROR":
                raise error_from_status(int(event["object"].get("code") or 500), event["object"])
            yield event["type"], dialect.incoming(path, event["object"])

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

    # Any request

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
        dialect = await self._speak(path)
        try:
            body = await dialect.outgoing(path, body, self._get)
            answer = await self.send(method, dialect.path(path), body=body, params=params, headers=headers)
        except NotFound as error:
            if no_longer_served(path, error):
                self._dialect = None
            raise
        return dialect.incoming(path, answer)

    async def _speak(self, path: str) -> Dialect:
        if self._dialect is None and is_of_addons(path):
            self._dialect = await learn(self._get)
        return self._dialect or _AS_IT_IS

    async def _get(self, path: str) -> Json:
        return await self.send("GET", path)

    async def text(self, path: str, *, params: Mapping[str, str] | None = None) -> str:
        """A GET whose answer is not JSON, such as a pod's log."""
        chunks = [chunk async for chunk in self.stream("GET", path, params=params, by_line=False)]
        return b"".join(chunks).decode(errors="replace")


def _selectors(label_selector: str | None, field_selector: str | None) -> dict[str, str]:
    pairs = {"labelSelector": label_selector, "fieldSelector": field_selector}
    return {name: value for name, value in pairs.items() if value}


def _dry_run(on: bool) -> dict[str, str]:
    return {"dryRun": "All"} if on else {}
