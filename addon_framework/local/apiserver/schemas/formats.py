"""String formats that the API server checks in custom resources; any other format is a comment."""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Callable
from datetime import date
from typing import Any
from urllib.parse import urlsplit

_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")
_DURATION = re.compile(r"-?(?:\d+(?:\.\d*)?\s*(?:ns|us|µs|ms|s|m|h|d|w|[a-z]+)\s*)+|0")
_HOSTNAME = re.compile(
    r"(?=.{1,255}\Z)(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*\.?"
)
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
_UUID = re.compile(r"(?i)[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}")
_MAC = re.compile(r"(?i)(?:[0-9a-f]{2}[:-]){5}[0-9a-f]{2}")
_HEX_COLOR = re.compile(r"(?i)#?(?:[0-9a-f]{3}|[0-9a-f]{6})")
_DNS_LABEL = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")


def parses(parse: Callable[[Any], object]) -> Callable[[Any], bool]:
    """Whether a value can be read so."""

    def check(value: Any) -> bool:
        try:
            parse(value)
        except (ValueError, TypeError):
            return False
        return True

    return check


def _matches(pattern: re.Pattern[str]) -> Callable[[str], bool]:
    return lambda text: pattern.fullmatch(text) is not None


def _date_time(text: str) -> bool:
    return _DATE_TIME.fullmatch(text) is not None and parses(date.fromisoformat)(text[:10])


def _uri(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return bool(parts.scheme) or text.startswith("/")


def is_cidr(text: str) -> bool:
    """An address and a length."""
    return "/" in text and parses(lambda each: ipaddress.ip_network(each, strict=False))(text)


CHECKS: dict[str, Callable[[str], bool]] = {
    "date": parses(date.fromisoformat),
    "date-time": _date_time,
    "datetime": _date_time,
    "duration": _matches(_DURATION),
    "hostname": _matches(_HOSTNAME),
    "email": _matches(_EMAIL),
    "uuid": _matches(_UUID),
    "ipv4": parses(ipaddress.IPv4Address),
    "ipv6": parses(ipaddress.IPv6Address),
    "cidr": is_cidr,
    "mac": _matches(_MAC),
    "byte": parses(lambda text: base64.b64decode(text, validate=True)),
    "uri": _uri,
    "hexcolor": _matches(_HEX_COLOR),
    "k8s-short-name": _matches(_DNS_LABEL),
}
