"""Signatures, and what a server may answer: ranges, redirects, refusals, silence."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from runtimes.source import Credentials, Object, SourceError, open_source
from runtimes.source.objects import checked
from runtimes.source.sigv4 import encode_query, signed_headers

CONTENT = bytes(range(256)) * 40


def test_the_signature_is_amazons_own_example() -> None:
    # "GET Object" of https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
    credentials = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    headers = signed_headers(
        "GET",
        "examplebucket.s3.amazonaws.com",
        "/test.txt",
        "",
        {"Range": "bytes=0-9"},
        credentials,
        "us-east-1",
        datetime(2013, 5, 24, tzinfo=UTC),
    )
    assert headers["Authorization"].endswith(
        "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    )
    assert "wJalr" not in repr(credentials)


def test_queries_are_sorted_and_escaped() -> None:
    assert encode_query({"prefix": "a b/ü+", "list-type": "2"}) == "list-type=2&prefix=a%20b%2F%C3%BC%2B"


@pytest.mark.parametrize("path", ["", "a//b", "../x", "a/..", "/abs", "a/./b", "nul\0"])
def test_names_that_leave_the_cache_are_refused(path: str) -> None:
    with pytest.raises(SourceError, match="cannot be a file"):
        checked(path, "s3://b")


class Handler(BaseHTTPRequestHandler):
    """A web server of one file, as awkward as asked."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        if self.path.startswith("/redirect/"):
            self._send(302, b"", {"Location": "/file.bin"}, body)
        elif self.path.startswith("/denied"):
            self._send(403, b"no", {}, body)
        elif (given := self.headers.get("Range")) and not self.path.startswith("/whole"):
            start, end = map(int, given.removeprefix("bytes=").split("-"))
            if self.headers.get("If-Match") != '"v1"':
                self._send(412, b"", {}, body)
            else:
                self._send(206, CONTENT[start : end + 1], {}, body)
        else:
            self._send(200, CONTENT, {"ETag": '"v1"'}, body)

    def _send(self, status: int, content: bytes, headers: dict[str, str], body: bool) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def web() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def read(url: str, start: int, end: int, obj: Object | None = None) -> bytes:
    source, got = open_source(url, {}, None), bytearray()
    source.read(obj or next(source.objects()), start, end, lambda data: got.extend(data))
    return bytes(got)


@pytest.mark.parametrize("path", ["/file.bin", "/redirect/file.bin"])
def test_ranges_of_a_web_file(web: str, path: str) -> None:
    source = open_source(web + path, {}, None)
    found = list(source.objects())
    assert found == [Object("file.bin", len(CONTENT), '"v1"')]
    assert read(web + path, 100, 700) == CONTENT[100:700]


def test_a_changed_file_is_stale(web: str) -> None:
    with pytest.raises(SourceError) as caught:
        read(f"{web}/file.bin", 0, 10, Object("file.bin", len(CONTENT), '"v0"'))
    assert caught.value.stale
    assert not caught.value.permanent


def test_what_will_not_get_better_is_permanent(web: str) -> None:
    for url, words in (
        (f"{web}/denied", "HTTP 403"),
        (f"{web}/file.bin/", "does not list directories"),
        ("s3://", "s3://bucket/prefix"),
        ("gopher://x", "nothing here knows gopher://"),
    ):
        with pytest.raises(SourceError, match=words) as caught:
            list(open_source(url, {}, None).objects())
        assert caught.value.permanent


def test_a_server_without_ranges_is_refused(web: str) -> None:
    with pytest.raises(SourceError, match="does not answer ranges"):
        read(f"{web}/whole", 10, 20, Object("whole", len(CONTENT), ""))
    assert read(f"{web}/whole", 0, len(CONTENT), Object("whole", len(CONTENT), "")) == CONTENT


def test_a_server_that_is_asked_for_tls_and_speaks_none_is_said_to(web: str) -> None:
    with pytest.raises(SourceError, match=f"does not speak TLS; {web} would ask it without"):
        list(open_source(web.replace("http:", "https:") + "/file.bin", {}, None).objects())


def test_nobody_there_may_come(unused_tcp_port: int) -> None:
    with pytest.raises(SourceError, match="refused") as caught:
        list(open_source(f"http://127.0.0.1:{unused_tcp_port}/f", {}, None).objects())
    assert not caught.value.permanent
