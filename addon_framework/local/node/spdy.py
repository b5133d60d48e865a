"""SPDY/3.1 framing, server's side: kubectl tunnels port-forwarding in it, inside a WebSocket.

https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/ Like its Go clients, without flow control.
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass, field

SYN_STREAM, SYN_REPLY, RST_STREAM, PING, GOAWAY = 1, 2, 3, 6, 7
_FIN = 1
_MAX_FRAME = 1 << 20
_WORDS = """
options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age
allow authorization cache-control connection content-base content-encoding content-language content-length
content-location content-md5 content-range content-type date etag expect expires from host if-match
if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma
proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade
user-agent vary via warning www-authenticate method get status 200_OK version HTTP/1.1 url public set-cookie
keep-alive origin
"""
_TAIL = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized"
    "403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
    "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
    "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,"
    "text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)


def _text(value: str) -> bytes:
    return struct.pack(">I", len(value)) + value.encode()


DICTIONARY = b"".join(_text(word.replace("_", " ")) for word in _WORDS.split()) + _TAIL.encode()


class SpdyError(Exception):
    """The bytes are no SPDY/3.1."""


@dataclass
class Frame:
    """What the client says: a control frame of a kind, or data (kind 0) of a stream."""

    kind: int
    stream: int
    fin: bool = False
    data: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


class Session:
    """Turns bytes into frames and back. Headers are compressed as one stream per direction."""

    def __init__(self) -> None:
        self._buffer = b""
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)
        self._deflate = zlib.compressobj(zdict=DICTIONARY)

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that are complete now. Raises SpdyError."""
        self._buffer += data
        frames = []
        while len(self._buffer) >= 8:
            first, second = struct.unpack_from(">II", self._buffer)
            flags, length = second >> 24, second & 0xFFFFFF
            if length > _MAX_FRAME:
                raise SpdyError(f"a frame of {length} bytes")
            if len(self._buffer) < 8 + length:
                break
            body, self._buffer = self._buffer[8 : 8 + length], self._buffer[8 + length :]
            if first >> 31:
                if frame := self._control(first & 0xFFFF, bool(flags & _FIN), body):
                    frames.append(frame)
            else:
                frames.append(Frame(0, first, bool(flags & _FIN), body))
        return frames

    def _control(self, kind: int, fin: bool, body: bytes) -> Frame | None:
        if kind not in (SYN_STREAM, RST_STREAM, PING, GOAWAY):
            return None  # settings and windows, of which nothing follows
        if len(body) < (10 if kind == SYN_STREAM else 4):
            raise SpdyError("a control frame that is too short")
        number = struct.unpack_from(">I", body)[0] & 0x7FFFFFFF if kind != PING else 0
        if kind == SYN_STREAM:
            return Frame(kind, number, fin, headers=self._headers(body[10:]))
        return Frame(kind, number, fin, body)

    def _headers(self, block: bytes) -> dict[str, str]:
        try:
            raw = self._inflate.decompress(block, _MAX_FRAME)
            texts, position = [], 4
            for _ in range(2 * struct.unpack_from(">I", raw)[0]):
                (length,) = struct.unpack_from(">I", raw, position)
                texts.append(raw[position + 4 : position + 4 + length].decode())
                position += 4 + length
        except (zlib.error, struct.error, UnicodeDecodeError) as error:
            raise SpdyError(f"headers that cannot be read: {error}") from None
        return dict(zip(texts[::2], texts[1::2], strict=True))

    def reply(self, stream: int) -> bytes:
        """The stream is accepted."""
        block = self._deflate.compress(struct.pack(">I", 0)) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        return _frame(SYN_REPLY, struct.pack(">I", stream) + block)

    def data(self, stream: int, data: bytes, *, fin: bool = False) -> bytes:
        """Bytes of a stream, the last ones with `fin`."""
        return struct.pack(">II", stream, (_FIN << 24 if fin else 0) | len(data)) + data

    def pong(self, frame: Frame) -> bytes:
        """A ping comes back as it is."""
        return _frame(PING, frame.data)


def _frame(kind: int, body: bytes) -> bytes:
    return struct.pack(">II", 0x80030000 | kind, len(body)) + body


def is_tunnel(protocol: str | None) -> bool:
    """Whether a WebSocket's subprotocol is port-forwarding in SPDY."""
    return bool(re.fullmatch(r"SPDY/3\.1\+portforward\.k8s\.io|v2\.portforward\.k8s\.io", protocol or ""))
