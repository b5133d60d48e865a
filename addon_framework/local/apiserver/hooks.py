"""Calls to webhooks, from code that is synchronous so that a read, a decision and a write are one step.

Such code raises Pending where it needs an answer that is not there yet. Nothing is stored before that:
`answered` gets the answer and begins again, and what is found changed then is asked about anew.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import aiohttp
import orjson

from addon_framework.api.meta import Json
from addon_framework.local.apiserver import status
from addon_framework.local.apiserver.store import Store

T = TypeVar("T")
_ATTEMPTS = 64
_LIMIT = 8 << 20


class Pending(Exception):
    """An answer is needed; `ask` gets it and keeps it where the next attempt finds it."""

    def __init__(self, ask: Callable[[], Awaitable[None]]) -> None:
        super().__init__("a webhook has to be asked")
        self.ask = ask


class HookError(Exception):
    """A webhook could not be asked, or what it said is no answer."""


async def answered(attempt: Callable[[], T]) -> T:
    """The result, once every webhook that it depends on has spoken."""
    for _ in range(_ATTEMPTS):
        try:
            return attempt()
        except Pending as pending:
            await pending.ask()
    raise status.StatusError(
        409, "Conflict", "the object changed again and again while webhooks were asked; please try again"
    )


class HookClient:
    """HTTPS to webhooks by clientConfig."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._session: aiohttp.ClientSession | None = None
        self._contexts: dict[str, ssl.SSLContext] = {}

    async def close(self) -> None:
        """Closes the connections."""
        if self._session is not None:
            await self._session.close()

    async def ask(
        self, config: Json, group: str, kind: str, versions: Sequence[str], request: Json, timeout: float
    ) -> Json:
        """The response to a request, in a review of the first version that is known. Raises HookError."""
        uid = str(uuid.uuid4())
        version = next((each for each in versions if each in ("v1", "v1beta1")), "v1")
        review = {"kind": kind, "apiVersion": f"{group}/{version}", "request": {"uid": uid, **request}}
        response = await self._post(config, review, timeout)
        if response.get("uid") != uid:
            raise HookError(f"expected response.uid={uid!r}, got {response.get('uid')!r}")
        return response

    async def _post(self, config: Json, review: Json, timeout: float) -> Json:
        url, told, name = self._url(config)
        query = f"?timeout={timeout:g}s"
        if self._session is None:
            self._session = aiohttp.ClientSession()
        try:
            async with (
                asyncio.timeout(timeout),
                self._session.post(
                    url + query,
                    data=orjson.dumps(review),
                    headers={"Content-Type": "application/json", "Accept": "application/json"},
                    ssl=self._context(str(config.get("caBundle") or "")),
                    server_hostname=name or None,
                    allow_redirects=False,
                    timeout=aiohttp.ClientTimeout(total=None),
                ) as answer,
            ):
                body = await answer.content.read(_LIMIT)
                while not answer.content.at_eof() and len(body) < _LIMIT:
                    body += await answer.content.read(_LIMIT - len(body))
        except TimeoutError:
            raise HookError(f'Post "{told}{query}": context deadline exceeded') from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise HookError(f'Post "{told}{query}": {error}') from None
        if answer.status != 200:
            raise HookError(f"the server answered {answer.status}: {body[:200].decode(errors='replace')}")
        try:
            review = orjson.loads(body)
            if isinstance(review, dict) and isinstance(review.get("response"), dict):
                return dict(review["response"])
        except ValueError:
            pass
        raise HookError("the answer is no review with a response")

    def _url(self, config: Json) -> tuple[str, str, str]:
        """Where to, what to call it, and the name that the certificate must have if it is not the URL's."""
        if url := config.get("url"):
            return str(url), str(url), ""
        service = config.get("service") or {}
        namespace, name, port = (
            service.get("namespace", ""),
            service.get("name", ""),
            service.get("port", 443),
        )
        found = self._store.get("services", (namespace, name))
        if found is None:
            raise HookError(f'service "{name}" not found')
        path, host = str(service.get("path") or "/"), f"{name}.{namespace}.svc"
        told = f"https://{host}:{port}{path}"
        address = (found.get("spec") or {}).get("clusterIP")
        if address in (None, "", "None"):
            raise HookError(f'Post "{told}": cannot route to service with ClusterIP "{address or ""}"')
        if port not in [each["port"] for each in found["spec"].get("ports") or ()]:
            raise HookError(f'Post "{told}": no service port {port} found for service "{name}"')
        return f"https://{address}:{port}{path}", told, host

    def _context(self, bundle: str) -> ssl.SSLContext:
        if bundle not in self._contexts:
            try:
                pem = base64.b64decode(bundle).decode()
                self._contexts[bundle] = ssl.create_default_context(cadata=pem or None)
            except (ValueError, ssl.SSLError) as error:
                raise HookError(f"caBundle: {error}") from None
        return self._contexts[bundle]
