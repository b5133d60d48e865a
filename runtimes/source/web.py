"""Behind an http(s) URL: a file, or, when it ends with a slash, a directory that the server lists as HTML.

Options: `caBundle`, and the token as a secret option.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from urllib.parse import quote, unquote, urljoin, urlsplit

from runtimes.source.objects import Object, Sink, SourceError, checked
from runtimes.source.requests import Requests

OPTIONS = ("caBundle",)
_LARGEST_PAGE = 32 << 20


class WebSource:
    """Listings as Apache, nginx, Caddy and Python write them: links to what is below the page's own URL."""

    def __init__(self, url: str, options: Mapping[str, str], token: str = "") -> None:
        self.url = url
        self._requests = Requests(url, token, options.get("caBundle", ""))

    def objects(self) -> Iterator[Object]:
        """The one file, or all below the directory. The server must say how long each is."""
        if not urlsplit(self.url).path.endswith("/"):
            name = unquote(urlsplit(self.url).path.rpartition("/")[2])
            if not name:
                raise SourceError(
                    f"{self.url}: give a file, or a directory with / at its end", permanent=True
                )
            yield self._object(self.url, name)
            return
        yield from self._below(self.url)

    def detailed(self, obj: Object) -> Object:
        """Nothing more is known."""
        return obj

    def read(self, obj: Object, start: int, end: int, sink: Sink) -> bool:
        """One ranged GET."""
        self._requests.range(self._at(obj), obj, start, end, sink)
        return False

    def _at(self, obj: Object) -> str:
        if not urlsplit(self.url).path.endswith("/"):
            return self.url
        return self.url + quote(obj.path)

    def _below(self, page: str) -> Iterator[Object]:
        for link in sorted(self._links(page)):
            if link.endswith("/"):
                yield from self._below(link)
            else:
                path = unquote(urlsplit(link).path)[len(unquote(urlsplit(self.url).path)) :]
                yield self._object(link, path)

    def _links(self, page: str) -> set[str]:
        with self._requests.ask("GET", page, {}) as (response, _):
            if not response.headers.get_content_type().endswith("html"):
                raise SourceError(f"{page}: the server does not list directories", permanent=True)
            text = response.read(_LARGEST_PAGE).decode(errors="replace")
        links = _Links()
        links.feed(text)
        found = {urljoin(page, href) for href in links.found}
        # The parent, other hosts, and links that sort the page are not what is in the directory.
        return {link for link in found if link.startswith(page) and link != page and not urlsplit(link).query}

    def _object(self, url: str, name: str) -> Object:
        with self._requests.ask("HEAD", url, {}) as (response, _):
            length = response.headers.get("Content-Length")
            if length is None:
                raise SourceError(f"{url}: the server does not say how long it is", permanent=True)
            etag = response.headers.get("ETag", "")
            changed = response.headers.get("Last-Modified", "")
            response.read()
        return Object(checked(name, self.url), int(length), etag if etag.startswith('"') else changed)


class _Links(HTMLParser):
    """The targets of a page's links."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.found += [value.partition("#")[0] for name, value in attrs if name == "href" and value]
