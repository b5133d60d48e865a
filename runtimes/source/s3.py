"""S3 and what speaks its protocol (see stores): s3://bucket/prefix.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html
"""

from __future__ import annotations

import base64
import http.client
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from email.message import Message
from urllib.parse import quote, unquote_plus
from xml.etree import ElementTree

from runtimes.source.checksums import CRC64_XZ, KINDS, parts_of
from runtimes.source.connections import Connections
from runtimes.source.objects import Object, Sink, SourceError, checked
from runtimes.source.sigv4 import Credentials, encode_query, signed_headers
from runtimes.source.stores import place

OPTIONS = ("endpoint", "region")
_MD5 = re.compile(r"[0-9a-f]{32}|[0-9A-F]{32}")
_STYLE = ("SecondLevelDomainForbidden", "PathStyleDomainForbidden")
_KEYS = ("ExpiredToken", "InvalidToken", "InvalidAccessKeyId", "SignatureDoesNotMatch")


class S3Source:
    """Objects below a prefix, or the one object that the URL names. Without credentials it asks unsigned."""

    def __init__(self, url: str, options: Mapping[str, str], credentials: Credentials | None) -> None:
        self._place = place(url, options)
        self.url, self._prefix, self._endpoint = url, self._place.prefix, self._place.endpoint
        self._credentials = credentials if credentials is not None and credentials.access_key else None
        self._connections = Connections(authority=self._place.authority)
        self._single = False  # the URL names an object, not a prefix

    def objects(self) -> Iterator[Object]:
        """A prefix means a directory; only when there is nothing below it may it be an object's name."""
        found = False
        for obj in self._list(f"{self._prefix}/" if self._prefix else ""):
            found = True
            yield obj
        if not found and self._prefix:
            self._single = True
            yield from self._list(self._prefix)

    def detailed(self, obj: Object) -> Object:
        """The checksum that was stored with it, else its ETag where that is one; of parts, their size too."""
        said = self._head(obj, {})
        in_parts = said.get("x-amz-checksum-type") == "COMPOSITE"
        digests = ((kind, _hexadecimal(said, kind, in_parts=in_parts)) for kind in KINDS)
        if stored := next((found for found in digests if found[1]), None) or _by_other_names(said):
            obj = replace(obj, stored=stored)
        elif parts_of(obj.etag) and _is_md5(said):
            obj = replace(obj, md5=obj.etag)
        count = int(obj.checksum[1].partition("-")[2] or 0) if obj.checksum else 0
        if not count:
            return obj
        size = self._part_size(obj)
        if size and -(-obj.size // size) == count:
            return replace(obj, part_size=size)
        return replace(obj, md5="", stored=None)

    def read(self, obj: Object, start: int, end: int, sink: Sink) -> bool:
        """One ranged GET; refuses an object that changed since it was listed."""
        path, headers = self._path_of(obj), {"Range": f"bytes={start}-{end - 1}", **_if_match(obj)}
        with self._ask("GET", path, {}, headers) as response:
            if response.status == 200 and start == 0 and int(response.headers["Content-Length"] or 0) == end:
                pass  # the whole of it, from a server that does not bother to answer 206
            elif response.status != 206:
                raise SourceError(
                    f"{self.url}: {obj.path}: the server does not answer ranges", permanent=True
                )
            self._connections.pour(response, start, end, sink, f"{self.url}: {obj.path}")
            return obj.stored is not None or _is_md5(response.headers)

    def _head(self, obj: Object, query: Mapping[str, str]) -> Message:
        headers = {"x-amz-checksum-mode": "ENABLED", **_if_match(obj)}
        with self._ask("HEAD", self._path_of(obj), query, headers) as response:
            response.read()
            return response.headers

    def _part_size(self, obj: Object) -> int:
        """Of the first part; 0 from a server that knows nothing of part numbers and tells of the whole."""
        said = self._head(obj, {"partNumber": "1"})
        return int(said.get("Content-Length") or 0) if said.get("x-amz-mp-parts-count") else 0

    def _path_of(self, obj: Object) -> str:
        key = self._prefix if self._single else f"{self._prefix}/{obj.path}".lstrip("/")
        return f"{self._place.root}/{key}"

    def _list(self, prefix: str) -> Iterator[Object]:
        query = {"list-type": "2", "prefix": prefix, "max-keys": "1" if self._single else "1000"}
        query["encoding-type"] = "url"  # XML cannot say every byte that a key may have
        while True:
            tree = self._page(query)
            encoded = tree.findtext("{*}EncodingType") == "url"
            for entry in tree.iterfind("{*}Contents"):
                key = entry.findtext("{*}Key") or ""
                key = unquote_plus(key) if encoded else key
                if key.endswith("/"):
                    continue  # a directory's marker
                etag = (entry.findtext("{*}ETag") or "").strip('"')
                md5 = etag.lower() if _MD5.fullmatch(etag) else ""
                size = int(entry.findtext("{*}Size") or 0)
                if not self._single:
                    yield Object(checked(key[len(prefix) :], self.url), size, etag, md5)
                elif key == prefix:  # the first of those that begin with it
                    yield Object(checked(key.rpartition("/")[2], self.url), size, etag, md5)
            if self._single:
                return
            token = tree.findtext("{*}NextContinuationToken")
            if tree.findtext("{*}IsTruncated") != "true" or not token:
                return
            query["continuation-token"] = token

    def _page(self, query: Mapping[str, str]) -> ElementTree.Element:
        with self._ask("GET", self._place.root or "/", query, {}) as response:
            text = response.read()
        try:
            tree = ElementTree.fromstring(text)
        except ElementTree.ParseError as error:
            raise SourceError(f"{self._where}: its listing cannot be read: {error}") from None
        if not tree.tag.endswith("ListBucketResult"):
            raise SourceError(f"{self._where}: answers with <{tree.tag}>, not with a listing", permanent=True)
        return tree

    @contextmanager
    def _ask(
        self, method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str]
    ) -> Iterator[http.client.HTTPResponse]:
        encoded = quote(f"{self._endpoint.path.rstrip('/')}{path}", safe="/-_.~")
        asked = encode_query(query)
        if self._credentials is not None:
            headers = signed_headers(
                method, self._endpoint.netloc, encoded, asked, headers, self._credentials, self._place.region
            )
        target = f"{encoded}?{asked}" if asked else encoded
        with self._connections.request(method, self._endpoint, target, headers) as response:
            if response.status >= 300:
                raise self._error(response, listed="If-Match" in headers)
            yield response

    @property
    def _where(self) -> str:
        return f"{self.url} at {self._endpoint.scheme}://{self._endpoint.netloc}"

    def _error(self, response: http.client.HTTPResponse, *, listed: bool) -> SourceError:
        """`listed`: it was there a moment ago."""
        body, where, code = response.read(4096), self._where, ""
        try:
            tree = ElementTree.fromstring(body)
            code = tree.findtext("{*}Code") or ""
            said = f"{code}: {tree.findtext('{*}Message') or ''}"
        except ElementTree.ParseError:
            said = f"HTTP {response.status} {response.reason}"
        if code in _STYLE:
            return SourceError(f"{where}: refused ({said}); say addressing: virtual", permanent=True)
        match 403 if code in _KEYS else response.status:
            case 404 | 412 if listed:
                return SourceError(f"{where}: an object changed while it was read ({said})", stale=True)
            case 401 | 403:
                hint = "check the keys in the Secret" if self._credentials else "give credentials"
                return SourceError(f"{where}: access denied ({said}); {hint}", permanent=True)
            case 404:
                return SourceError(f"{where}: not found ({said})", permanent=True)
            case 301 | 307 | 400:
                return SourceError(
                    f"{where}: refused ({said}); check options endpoint, region and addressing",
                    permanent=True,
                )
        return SourceError(f"{where}: {said}")


def _is_md5(said: Message) -> bool:
    """Whether an ETag is made of MD5s.

    That of what was encrypted with the account's own keys is not, nor, at other stores, that of what was
    appended to. They have names of their own for the headers, such as x-oss-object-type.
    """
    for name, value in ((name.lower(), value) for name, value in said.items()):
        if name.endswith("-server-side-encryption") and value != "AES256":
            return False
        if name.endswith("-object-type") and value.lower() == "appendable":
            return False
        if name.endswith("-customer-algorithm"):
            return False
    return True


def _by_other_names(said: Message) -> tuple[str, str] | None:
    """A checksum of the whole that OSS and COS (a number), or Google, tell of every object."""
    for name, value in said.items():
        if name.lower().endswith("-hash-crc64ecma") and value.isdecimal():
            return CRC64_XZ, f"{int(value):016x}"
        kind, _, digest = value.partition("=")
        if name.lower() == "x-goog-hash" and kind == "crc32c":
            return kind, base64.b64decode(digest.partition(",")[0]).hex()
    return None


def _hexadecimal(said: Message, kind: str, *, in_parts: bool) -> str:
    """A stored checksum: base64, and the number of parts when it is of theirs. "" where there is none."""
    digest, _, count = said.get(f"x-amz-checksum-{kind}", "").partition("-")
    if not digest or bool(count) != in_parts:
        return ""
    whole = base64.b64decode(digest).hex()
    return f"{whole}-{count}" if count else whole


def _if_match(obj: Object) -> dict[str, str]:
    return {"If-Match": f'"{obj.etag}"'} if obj.etag else {}
