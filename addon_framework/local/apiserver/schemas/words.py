"""What one value may be: the vocabulary of the limits of built-in types."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from addon_framework.local.apiserver.schemas import cause, names
from addon_framework.local.apiserver.schemas.cause import Cause

OPERATORS = "DoesNotExist|Exists|In|NotIn"


def one_of(words: str, detail: str = "") -> Callable[[Any, str], list[Cause]]:
    allowed = words.split("|")

    def judge(value: Any, path: str) -> list[Cause]:
        if value in allowed:
            return []
        return [cause.invalid(path, value, detail)] if detail else [cause.not_supported(path, value, allowed)]

    return judge


def bound(low: int | None, high: int | None) -> Callable[[Any, str], list[Cause]]:
    def judge(value: Any, path: str) -> list[Cause]:
        if not isinstance(value, int) or ((low is None or value >= low) and (high is None or value <= high)):
            return []
        detail = f"must be greater than or equal to {low}" if low is not None else f"must be at most {high}"
        return [cause.invalid(path, value, detail)]

    return judge


def _named(check: Callable[[str], list[str]]) -> Callable[[Any, str], list[Cause]]:
    return lambda value, path: [cause.invalid(path, value, why) for why in check(str(value))]


def _not_empty(value: Any, path: str) -> list[Cause]:
    return [cause.required(path)] if value in ("", None, [], {}) else []


def _ip(value: Any, path: str) -> list[Cause]:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return [cause.invalid(path, value, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)")]
    return []


def _cidr(value: Any, path: str) -> list[Cause]:
    try:
        ipaddress.ip_network(value, strict=False)
    except ValueError:
        value_error = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
        return [cause.invalid(path, value, value_error)]
    return [] if "/" in value else [cause.invalid(path, value, "must be a valid CIDR value")]


def _zone(value: Any, path: str) -> list[Cause]:
    try:
        if value and value.lower() != "local":
            ZoneInfo(value)
            return []
    except (ValueError, OSError, ZoneInfoNotFoundError):
        pass
    return [cause.invalid(path, value, f"unknown time zone {value}")]


def _amount(value: Any, path: str) -> list[Cause]:
    if isinstance(value, int):
        return [] if value >= 0 else [cause.invalid(path, value, "must be greater than or equal to 0")]
    if re.fullmatch(r"[0-9]+%", value) and int(value[:-1]) <= 100:
        return []
    return [cause.invalid(path, value, "must be an integer or percentage (e.g '5%')")]


def _domain(value: Any, path: str) -> list[Cause]:
    """A domain and a path, as controllers of ingress classes are named."""
    found = [cause.too_long(path, 250)] if len(value) > 250 else []
    host, slash, rest = value.partition("/")
    if value and (not slash or not rest or names.subdomain(host)):
        found.append(cause.invalid(path, value, 'must be a domain-prefixed path (such as "acme.io/foo")'))
    return found


def _port(value: Any, path: str) -> list[Cause]:
    if isinstance(value, str) and value:
        return _named(names.port_name)(value, path)
    if value and 1 <= value <= 65535:
        return []
    return [cause.invalid(path, value or 0, "must be between 1 and 65535, inclusive")]


def _driver(value: Any, path: str) -> list[Cause]:
    found = [cause.too_long(path, 63)] if len(value) > 63 else []
    return found + (_named(names.subdomain)(value.lower(), path) if value else [])


def _matches(pattern: str, detail: str) -> Callable[[Any, str], list[Cause]]:
    found = re.compile(pattern, re.ASCII).fullmatch
    return lambda value, path: [] if found(value) else [cause.invalid(path, value, detail)]


FORMATS: dict[str, Callable[[Any, str], list[Cause]]] = {
    "req": _not_empty,
    "ip": _ip,
    "port": _port,
    "driver": _driver,
    "cidr": _cidr,
    "zone": _zone,
    "amount": _amount,
    "domain": _domain,
    "absolute": _matches("/.*", "must be an absolute path"),
    "qualified": _named(names.qualified),
    "value": _named(names.label_value),
    "dns": _named(names.subdomain),
    "label": _named(names.label),
    "config_key": _named(names.config_key),
    # an empty one is none
    "name": lambda value, path: _named(names.subdomain)(value, path) if value else [],
    "sysctl": _matches(
        r"([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?",
        "must have at most 253 characters and match regex "
        r"^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$",
    ),
}
