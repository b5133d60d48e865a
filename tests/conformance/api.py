"""Plain HTTP to an API server: what was sent and what came back, nothing in between."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson

from addon_framework.api.meta import Json
from addon_framework.kube.config import ClientConfig

MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"


@dataclass(frozen=True)
class Answer:
    """One response."""

    code: int
    headers: Mapping[str, str]
    raw: bytes

    @property
    def body(self) -> Any:
        """The JSON of the answer."""
        return orjson.loads(self.raw)

    @property
    def causes(self) -> dict[str, str]:
        """Field to reason, of a Status."""
        return {c.get("field", ""): c.get("reason", "") for c in self.body["details"]["causes"]}

    def is_status(self, code: int, reason: str) -> Json:
        """Asserts that the answer is that failure, as a Status object; returns it."""
        assert self.code == code, self.raw[:1000]
        body: Json = self.body
        said = (body.get("kind"), body.get("apiVersion"), body.get("status"), body.get("code"))
        assert said == ("Status", "v1", "Failure", code), body
        assert body.get("reason") == reason, body
        return body

    def ok(self, code: int = 200) -> Any:
        """Asserts success; returns the body."""
        assert self.code == code, self.raw[:1000]
        return self.body


class Api:
    """Requests of one identity."""

    def __init__(self, config: ClientConfig) -> None:
        self.config = config
        self._tls = config.ssl_context()
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Closes the connections."""
        if self._session is not None:
            await self._session.close()

    async def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = "application/json",
        accept: str = "application/json",
        headers: Mapping[str, str] | None = None,
        **query: str | int,
    ) -> Answer:
        """One request; bytes are sent as they are, anything else as JSON."""
        data = body if body is None or isinstance(body, bytes) else orjson.dumps(body)
        sent = self._headers(accept, headers) | ({"Content-Type": content_type} if data is not None else {})
        params = {name.replace("__", "-"): str(value) for name, value in query.items()}
        async with self._open().request(
            method, self.config.server + path, data=data, headers=sent, params=params, ssl=self._tls
        ) as response:
            return Answer(response.status, response.headers, await response.read())

    async def get(self, path: str, **options: Any) -> Answer:
        """GET."""
        return await self.send("GET", path, **options)

    async def post(self, path: str, body: Any, **options: Any) -> Answer:
        """POST."""
        return await self.send("POST", path, body, **options)

    async def put(self, path: str, body: Any, **options: Any) -> Answer:
        """PUT."""
        return await self.send("PUT", path, body, **options)

    async def patch(self, path: str, body: Any, content_type: str = MERGE, **options: Any) -> Answer:
        """PATCH."""
        return await self.send("PATCH", path, body, content_type=content_type, **options)

    async def apply(self, path: str, body: Any, manager: str = "a", **options: Any) -> Answer:
        """Server-side apply."""
        return await self.patch(path, body, APPLY, fieldManager=manager, **options)

    async def delete(self, path: str, body: Any = None, **options: Any) -> Answer:
        """DELETE."""
        return await self.send("DELETE", path, body, **options)

    @asynccontextmanager
    async def watch(
        self, path: str, *, accept: str = "application/json", **query: str | int
    ) -> AsyncIterator[AsyncIterator[Json]]:
        """The events of a watch that has begun."""
        params = {"watch": "true"} | {name: str(value) for name, value in query.items()}
        async with self._open().get(
            self.config.server + path,
            params=params,
            headers=self._headers(accept, None),
            ssl=self._tls,
            timeout=aiohttp.ClientTimeout(total=30),
        ) as response:
            assert response.status == 200, await response.read()
            yield _events(response)

    def _headers(self, accept: str, extra: Mapping[str, str] | None) -> dict[str, str]:
        headers = {"Accept": accept, "User-Agent": "conformance/1"}
        if token := self.config.token():
            headers["Authorization"] = f"Bearer {token}"
        return headers | dict(extra or {})

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            # Paths go out as the test wrote them.
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=30), requote_redirect_url=False
            )
        return self._session


async def _events(response: aiohttp.ClientResponse) -> AsyncIterator[Json]:
    rest = b""
    async for chunk in response.content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line:
                yield orjson.loads(line)


async def take(events: AsyncIterator[Json], count: int) -> list[tuple[str, Json]]:
    """The next events as (type, object)."""
    found = []
    for _ in range(count):
        event = await anext(events)
        found.append((event["type"], event["object"]))
    return found
