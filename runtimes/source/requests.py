"""Requests to the web as sources need them: redirects followed, ranges read, refusals as SourceError."""

from __future__ import annotations

import http.client
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urljoin, urlsplit

from runtimes.source.connections import Connections
from runtimes.source.objects import Object, Sink, SourceError

_REDIRECTS = (301, 302, 303, 307, 308)


class Requests:
    """Redirects are followed anew for each range, since they may be signed.

    The token goes to the host that was asked first and to no other.
    """

    def __init__(self, title: str, token: str = "", authority: str = "") -> None:
        self._title, self._token = title, token
        self._connections = Connections(authority=authority)

    def range(self, url: str, obj: Object, start: int, end: int, sink: Sink) -> None:
        """Bytes [start, end) of a file, of the version that was listed."""
        headers = {"Range": f"bytes={start}-{end - 1}"}
        if obj.etag.startswith('"'):
            headers["If-Match"] = obj.etag
        with self.ask("GET", url, headers) as (response, _):
            if response.status != 206 and (start, end) != (0, obj.size):
                raise SourceError(f"{self._title}: the server does not answer ranges", permanent=True)
            self._connections.pour(response, start, end, sink, self._title)

    @contextmanager
    def ask(
        self, method: str, url: str, headers: Mapping[str, str]
    ) -> Iterator[tuple[http.client.HTTPResponse, str]]:
        """The answer, and the URL that gave it."""
        host = urlsplit(url).netloc
        for _ in range(6):
            parts = urlsplit(url)
            target = parts.path or "/"
            if parts.query:
                target += f"?{parts.query}"
            asked = {"User-Agent": "boundaryless", "Accept-Encoding": "identity", **headers}
            if self._token and parts.netloc == host:
                asked["Authorization"] = f"Bearer {self._token}"
            with self._connections.request(method, parts, target, asked) as response:
                if response.status in _REDIRECTS and (location := response.headers.get("Location")):
                    response.read()
                    url = urljoin(url, location)
                    continue
                if response.status >= 300:
                    raise SourceError(
                        f"{self._title}: HTTP {response.status} {response.reason}",
                        permanent=response.status in (401, 403, 404, 410),
                        stale=response.status == 412,
                    )
                yield response, url
                return
        raise SourceError(f"{self._title}: too many redirects", permanent=True)
