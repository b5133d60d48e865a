"""The Hugging Face hub, or anything that speaks its protocol: hf://[datasets/]owner/name[@revision][/path].

Options: `endpoint`, `caBundle`, and the token as a secret option. https://huggingface.co/docs/hub/api
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urljoin

from runtimes.source.objects import Object, Sink, SourceError, checked
from runtimes.source.requests import Requests

OPTIONS = ("endpoint", "caBundle")
_DEFAULT = "https://huggingface.co"
_URL = re.compile(
    r"hf://(?:(?P<kind>models|datasets)/)?(?P<repo>[\w.-]+/[\w.-]+?)(?:@(?P<revision>[^/]+))?(?:/(?P<path>.*))?"
)
_NEXT = re.compile(r'<([^>]+)>;\s*rel="next"')


class HubSource:
    """Files of one revision: a branch is resolved once, so that all are of the same commit."""

    def __init__(self, url: str, options: Mapping[str, str], token: str = "") -> None:
        match = _URL.fullmatch(url)
        if match is None:
            raise SourceError(f"{url}: a hub URL is hf://owner/name[@revision][/path]", permanent=True)
        self.url, self._repo = url, match["repo"]
        self._kind = match["kind"] or "models"
        self._revision, self._path = match["revision"] or "main", (match["path"] or "").strip("/")
        self._endpoint = (options.get("endpoint") or _DEFAULT).rstrip("/")
        title = f"{url} at {self._endpoint}"
        self._requests = Requests(title, token, options.get("caBundle", ""))
        self._commit, self._single = "", False

    def objects(self) -> Iterator[Object]:
        """Large files come with their SHA-256."""
        api = f"{self._endpoint}/api/{self._kind}/{self._repo}"
        commit = self._json(f"{api}/revision/{quote(self._revision, safe='')}")[0].get("sha")
        self._commit = str(commit or self._revision)
        page: str | None = f"{api}/tree/{quote(self._commit, safe='')}?recursive=true"
        prefix = f"{self._path}/" if self._path else ""
        while page is not None:
            entries, page = self._json(page)
            for entry in entries:
                path = str(entry.get("path", ""))
                if entry.get("type") != "file" or not (path == self._path or path.startswith(prefix)):
                    continue
                self._single = path == self._path  # the URL names a file, not a directory
                name = path.rpartition("/")[2] if self._single else path[len(prefix) :]
                large = entry.get("lfs") or {}
                digest = str(large.get("oid", "")).removeprefix("sha256:")
                size = int(large.get("size") or entry.get("size") or 0)
                stored = ("sha256", digest) if digest else None
                version = digest or str(entry.get("oid", ""))
                yield Object(checked(name, self.url), size, version, stored=stored)

    def detailed(self, obj: Object) -> Object:
        """Nothing more is known."""
        return obj

    def read(self, obj: Object, start: int, end: int, sink: Sink) -> bool:
        """One ranged GET, redirected to where the hub keeps the bytes."""
        path = self._path if self._single else f"{self._path}/{obj.path}".lstrip("/")
        kind = "" if self._kind == "models" else f"{self._kind}/"
        url = f"{self._endpoint}/{kind}{self._repo}/resolve/{quote(self._commit, safe='')}/{quote(path)}"
        self._requests.range(url, obj, start, end, sink)
        return obj.stored is not None

    def _json(self, url: str) -> tuple[Any, str | None]:
        """The answer, and the URL of the next page."""
        with self._requests.ask("GET", url, {"Accept": "application/json"}) as (response, _):
            text = response.read()
            following = _NEXT.search(response.headers.get("Link", ""))
        try:
            return json.loads(text), urljoin(url, following[1]) if following else None
        except ValueError as error:
            raise SourceError(f"{url}: the answer is no JSON: {error}") from error
