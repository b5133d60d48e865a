"""S3 and what speaks its protocol: s3://bucket/prefix, options `endpoint` and `region`.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html
"""

from __future__ import annotations

import http.client
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import quote, urlsplit
from xml.etree import ElementTree

from runtimes.source.connections import Connections
from runtimes.source.objects import Object, Sink, SourceError, checked
from runtimes.source.sigv4 import Credentials, encode_query, signed_headers

OPTIONS = ("endpoint", "region")
_MD5 = re.compile(r"[0-9a-f]{32}")


class S3Source:
    """Objects below a prefix, or the one object that the URL names. Without credentials it asks unsigned."""

    def __init__(self, url: str, options: Mapping[str, str], credentials: Credentials | None) -> None:
        bucket, _, prefix = url.removeprefix("s3://").partition("/")
        if not bucket:
            raise SourceError(f"{url}: an S3 URL is s3://bucket/prefix", permanent=True)
        self.url, self._bucket, self._prefix = url, bucket, prefix.strip("/")
        self._region = options.get("region") or "us-east-1"
        endpoint = options.get("endpoint") or f"https://s3.{self._region}.amazonaws.com"
        self._endpoint = urlsplit(endpoint if "://" in endpoint else f"https://{endpoint}")
        self._credentials = credentials if credentials is not None and credentials.access_key else None
        self._connections = Connections()
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

    def read(self, obj: Object, start: int, end: int, sink: Sink) -> bool:
        """One ranged GET; refuses an object that changed since it was listed."""
        key = self._prefix if self._single else f"{self._prefix}/{obj.path}".lstrip("/")
        headers = {"Range": f"bytes={start}-{end - 1}"}
        if obj.etag:
            headers["If-Match"] = f'"{obj.etag}"'
        with self._get(f"/{self._bucket}/{key}", {}, headers) as response:
            if response.status == 200 and start == 0 and int(response.headers["Content-Length"] or 0) == end:
                pass  # the whole of it, from a server that does not bother to answer 206
            elif response.status != 206:
                raise SourceError(f"{self.url}: {key}: the server does not answer ranges", permanent=True)
            self._connections.pour(response, end - start, sink)
            # Objects encrypted with the account's own keys have an ETag that is no MD5.
            encryption = response.headers.get("x-amz-server-side-encryption", "AES256")
            return encryption == "AES256" and (
                "x-amz-server-side-encryption-customer-algorithm" not in response.headers
            )

    def _list(self, prefix: str) -> Iterator[Object]:
        query = {"list-type": "2", "prefix": prefix, "max-keys": "1" if self._single else "1000"}
        while True:
            with self._get(f"/{self._bucket}", query, {}) as response:
                tree = ElementTree.fromstring(response.read())
            for entry in tree.iterfind("{*}Contents"):
                key = entry.findtext("{*}Key") or ""
                if key.endswith("/"):
                    continue  # a directory's marker
                etag = (entry.findtext("{*}ETag") or "").strip('"')
                md5 = etag if _MD5.fullmatch(etag) else ""
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

    @contextmanager
    def _get(
        self, path: str, query: Mapping[str, str], headers: Mapping[str, str]
    ) -> Iterator[http.client.HTTPResponse]:
        encoded = quote(f"{self._endpoint.path.rstrip('/')}{path}", safe="/-_.~")
        asked = encode_query(query)
        if self._credentials is not None:
            headers = signed_headers(
                "GET", self._endpoint.netloc, encoded, asked, headers, self._credentials, self._region
            )
        target = f"{encoded}?{asked}" if asked else encoded
        with self._connections.request("GET", self._endpoint, target, headers) as response:
            if response.status >= 300:
                raise self._error(response)
            yield response

    def _error(self, response: http.client.HTTPResponse) -> SourceError:
        body = response.read(4096)
        try:
            tree = ElementTree.fromstring(body)
            said = f"{tree.findtext('{*}Code') or tree.findtext('Code')}: {tree.findtext('{*}Message') or ''}"
        except ElementTree.ParseError:
            said = f"HTTP {response.status} {response.reason}"
        where = f"{self.url} at {self._endpoint.scheme}://{self._endpoint.netloc}"
        match response.status:
            case 401 | 403:
                hint = "check the keys in the Secret" if self._credentials else "give credentials"
                return SourceError(f"{where}: access denied ({said}); {hint}", permanent=True)
            case 404:
                return SourceError(f"{where}: not found ({said})", permanent=True)
            case 412:
                return SourceError(f"{where}: an object changed while it was read ({said})", stale=True)
            case 301 | 307 | 400:
                return SourceError(
                    f"{where}: refused ({said}); check options endpoint and region", permanent=True
                )
        return SourceError(f"{where}: {said}")
