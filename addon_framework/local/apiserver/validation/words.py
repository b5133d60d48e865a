"""What one value may be: the vocabulary of the limits of built-in types."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from addon_framework.local.apiserver.schemas import cause, names
from addon_framework.local.apiserver.schemas.cause import Cause
from addon_framework.local.apiserver.schemas.formats import is_cidr, parses

Judge = Callable[[Any, str], Iterable[Cause]]
_OPERATORS = ("DoesNotExist", "Exists", "In", "NotIn")


def judge_of(word: str) -> Judge:
    """What a word of limits.yaml, without its marks, has to say of a value."""
    name, _, argument = word.partition("=")
    if name in ("in", "is"):
        return _one_of(argument.split("|"), as_invalid=name == "is")
    if name == "min":
        return _bounded(int(argument), None, f"must be greater than or equal to {argument}")
    if name == "longest":
        most = int(argument)
        return _holds(lambda value: len(value) <= most, f"can have at most {most} characters")
    if name == "range":
        low, high = map(int, argument.split(".."))
        return _bounded(low, high, f"must be between {low} and {high}, inclusive")
    return FORMATS[name]


def _one_of(allowed: Sequence[str], *, as_invalid: bool) -> Judge:
    def judge(value: Any, path: str) -> Iterator[Cause]:
        if value not in allowed and as_invalid:
            yield cause.invalid(path, value, f"must be one of {', '.join(allowed)}")
        elif value not in allowed:
            yield cause.not_supported(path, value, allowed)

    return judge


def _bounded(low: int, high: int | None, detail: str) -> Judge:
    def judge(value: Any, path: str) -> Iterator[Cause]:
        if isinstance(value, int) and (value < low or (high is not None and value > high)):
            yield cause.invalid(path, value, detail)

    return judge


def _named(check: Callable[[str], list[str]]) -> Judge:
    return lambda value, path: cause.broken(path, value, check(str(value)))


def _holds(test: Callable[[Any], Any], detail: str) -> Judge:
    return lambda value, path: () if test(value) else (cause.invalid(path, value, detail),)


def _not_empty(value: Any, path: str) -> Iterable[Cause]:
    return [cause.required(path)] if value in ("", None, [], {}, 0) else []


def labels(value: Any, path: str) -> Iterator[Cause]:
    """Keys and values of labels, or of a node selector."""
    for key, label in (value or {}).items():
        yield from cause.broken(path, key, names.qualified(key))
        yield from cause.broken(path, label, names.label_value(label or ""))


def relative(value: Any, path: str) -> Iterator[Cause]:
    """A path inside a volume."""
    if value.startswith("/"):
        yield cause.invalid(path, value, "must be a relative path")
    yield from _not_up(value, path)


def _zone(value: Any, path: str) -> Iterable[Cause]:
    try:
        if value and value.lower() != "local":
            ZoneInfo(value)
            return []
    except (ValueError, OSError, ZoneInfoNotFoundError):
        pass
    return [cause.invalid(path, value, f"unknown time zone {value}")]


def _amount(value: Any, path: str) -> Iterable[Cause]:
    if isinstance(value, int):
        return [] if value >= 0 else [cause.invalid(path, value, "must be greater than or equal to 0")]
    if re.fullmatch(r"[0-9]+%", value) and int(value[:-1]) <= 100:
        return []
    return [cause.invalid(path, value, "must be an integer or percentage (e.g '5%')")]


def _domain(value: Any, path: str) -> Iterable[Cause]:
    """A domain and a path, as controllers of ingress classes are named."""
    found = [cause.too_long(path, 250)] if len(value) > 250 else []
    host, slash, rest = value.partition("/")
    if value and (not slash or not rest or names.subdomain(host)):
        found.append(cause.invalid(path, value, 'must be a domain-prefixed path (such as "acme.io/foo")'))
    return found


def _port(value: Any, path: str) -> Iterable[Cause]:
    if isinstance(value, str) and value:
        return _named(names.port_name)(value, path)
    if value and 1 <= value <= 65535:
        return []
    return [cause.invalid(path, value or 0, "must be between 1 and 65535, inclusive")]


def _driver(value: Any, path: str) -> Iterable[Cause]:
    found = [cause.too_long(path, 63)] if len(value) > 63 else []
    return [*found, *(cause.broken(path, value, names.subdomain(value.lower())) if value else ())]


def _matches(pattern: str) -> Callable[[Any], Any]:
    return re.compile(pattern, re.ASCII).fullmatch


_not_up = _holds(lambda value: ".." not in value.split("/"), "must not contain '..'")
_SYSCTL = r"([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
FORMATS: dict[str, Judge] = {
    "req": _not_empty,
    "full": lambda value, path: [] if value else [cause.required(path)],
    "present": lambda value, path: [cause.required(path)] if value is None else [],
    "positive": _holds(lambda value: value > 0, "must be greater than 0"),
    "operator": _holds(lambda value: value in _OPERATORS, "not a valid selector operator"),
    "mode": _holds(
        lambda value: 0 <= value <= 0o777, "must be a number between 0 and 0777 (octal), both inclusive"
    ),
    "trimmed": _holds(lambda value: value == value.strip(), "must not have leading or trailing whitespace"),
    "ip": _holds(
        parses(ipaddress.ip_address), "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
    ),
    "cidr": _holds(is_cidr, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"),
    "port": _port,
    "driver": _driver,
    "zone": _zone,
    "amount": _amount,
    "domain": _domain,
    "labels": labels,
    "relative": relative,
    "not_up": _not_up,
    "absolute": _holds(lambda value: value.startswith("/"), "must be an absolute path"),
    "sysctl": _holds(
        _matches(rf"(?=.{{1,253}}\Z){_SYSCTL}"),
        f"must have at most 253 characters and match regex ^{_SYSCTL}$",
    ),
    "qualified": _named(names.qualified),
    "value": _named(names.label_value),
    "dns": _named(names.subdomain),
    "dns1035": _named(names.dns1035),
    "label": _named(names.label),
    "config_key": _named(names.config_key),
    "port_name": _named(names.port_name),
    "env_name": _named(names.env_name),
}
