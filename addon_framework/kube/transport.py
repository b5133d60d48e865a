"""HTTP to one API server: a session, credentials, a bound on requests in flight, errors by reason."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Any, Self

import aiohttp
import orjson

from addon_framework.api.meta import Json
from addon_framework.kube.config import ClientConfig
from addon_framework.kube.errors import ApiError, Unreachable, error_from_status
from addon_framework.kube.reach import Reach
from addon_framework.kube.silence import PATIENCE, connections

_MAX_ATTEMPTS = 5


class Transport:
    """The connections to one cluster. Close it, or use it as an async context manager.

    A server of which nothing is heard for `patience` seconds, not even by TCP, is Unreachable.
    """

    def __init__(
        self,
        config: ClientConfig,
        *,
        in_flight: int = 64,
        user_agent: str = "boundaryless",
        patience: float = PATIENCE,
    ) -> None:
        self.config = config
        self._patience = patience
        self._user_agent = user_agent
        self._in_flight = asyncio.Semaphore(in_flight)
        self._session: aiohttp.ClientSession | None = None
        self._ssl: ssl.SSLContext | bool | None = None
        self.reach = Reach()
        self.on_date: Callable[[str], None] | None = None  # told what time the server's answers say it is

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

    async def send(
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
            timeout = timeout or aiohttp.ClientTimeout(total=None, sock_connect=10)
            async with self._request(method, path, params=params, timeout=timeout) as response:
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

    @asynccontextmanager
    async def websocket(
        self, path: str, query: Sequence[tuple[str, str]], protocols: Sequence[str]
    ) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """An open connection that speaks one of the protocols; ApiError by reason when there is none."""
        try:
            async with self._open().ws_connect(
                self.server + path,
                params=query,
                protocols=protocols,
                # A kubelet gives streams no type: who accepts only JSON is refused.
                headers={n: v for n, v in self._headers({"Accept": "*/*"}).items() if n != "Content-Type"},
                ssl=self._tls(),
                server_hostname=self.config.tls_server_name,
            ) as socket:
                yield socket
        except (aiohttp.ClientError, OSError) as error:
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
            async with self._request(method, path, headers, data=data, params=params) as response:
                raw = await response.read()
                body = _decode(raw)
                return body if isinstance(body, dict) else {"raw": raw.decode(errors="replace")}
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._unreachable(error) from error

    def _request(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, **options: Any
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        return self._open().request(
            method,
            self.server + path,
            headers=self._headers(headers),
            ssl=self._tls(),
            server_hostname=self.config.tls_server_name,
            **options,
        )

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=0, keepalive_timeout=60, socket_factory=connections(self._patience)
                ),
                timeout=aiohttp.ClientTimeout(total=60, sock_connect=min(10, self._patience)),
                raise_for_status=self._heard,
            )
        return self._session

    async def _heard(self, response: aiohttp.ClientResponse) -> None:
        """Of every answer, a WebSocket's too, which aiohttp would drop unread: when, and if no then why."""
        self.reach.answered()
        if self.on_date is not None and (date := response.headers.get("Date")):
            self.on_date(date)
        if response.status < 400:
            return
        said = _decode(await response.read()) or f"the API server answers {response.status} and nothing else"
        error = error_from_status(response.status, said)
        after = response.headers.get("Retry-After", "")
        if after.isdigit():
            error.details.setdefault("retryAfterSeconds", int(after))
        raise error

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
        self.reach.failed()
        what = str(error) or type(error).__name__
        return Unreachable(0, "Unreachable", f"cannot reach the API server at {self.server}: {what}")


def _decode(raw: bytes) -> Any:
    try:
        return orjson.loads(raw) if raw else {}
    except orjson.JSONDecodeError:
        return raw.decode(errors="replace")
