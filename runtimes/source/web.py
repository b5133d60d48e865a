"""One file behind an http(s) URL."""

from __future__ import annotations

import http.client
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import unquote, urljoin, urlsplit

from runtimes.source.connections import Connections
from runtimes.source.objects import Object, Sink, SourceError, checked

_REDIRECTS = (301, 302, 303, 307, 308)


class WebSource:
    """The file that a URL names; redirects are followed anew for each range, since they may be signed."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._connections = Connections()

    def objects(self) -> Iterator[Object]:
        """The one file. The server must say how long it is."""
        name = unquote(urlsplit(self.url).path.rpartition("/")[2])
        if not name:
            raise SourceError(f"{self.url}: must be the URL of a file, not of a directory", permanent=True)
        with self._request("HEAD", {}) as response:
            length = response.headers.get("Content-Length")
            if length is None:
                raise SourceError(f"{self.url}: the server does not say how long it is", permanent=True)
            etag = response.headers.get("ETag", "")
            response.read()
        yield Object(checked(name, self.url), int(length), etag if etag.startswith('"') else "")

    def read(self, obj: Object, start: int, end: int, sink: Sink) -> bool:
        """One ranged GET."""
        headers = {"Range": f"bytes={start}-{end - 1}"}
        if obj.etag:
            headers["If-Match"] = obj.etag
        with self._request("GET", headers) as response:
            if response.status != 206 and (start, end) != (0, obj.size):
                raise SourceError(f"{self.url}: the server does not answer ranges", permanent=True)
            self._connections.pour(response, end - start, sink)
        return False

    @contextmanager
    def _request(self, method: str, headers: Mapping[str, str]) -> Iterator[http.client.HTTPResponse]:
        url = self.url
        for _ in range(6):
            parts = urlsplit(url)
            target = parts.path or "/"
            if parts.query:
                target += f"?{parts.query}"
            asked = {"User-Agent": "boundaryless", "Accept-Encoding": "identity", **headers}
            with self._connections.request(method, parts, target, asked) as response:
                if response.status in _REDIRECTS and (location := response.headers.get("Location")):
                    response.read()
                    url = urljoin(url, location)
                    continue
                if response.status >= 300:
                    raise SourceError(
                        f"{self.url}: HTTP {response.status} {response.reason}",
                        permanent=response.status in (401, 403, 404, 410),
                        stale=response.status == 412,
                    )
                yield response
                return
        raise SourceError(f"{self.url}: too many redirects", permanent=True)
