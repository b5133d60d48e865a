"""Functions that Kubernetes adds to CEL: lists, regular expressions, URLs, quantities, addresses, formats.

The engine passes plain values only, so URLs and addresses travel as strings or tagged maps, as quantities do.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from addon_framework.api.cel_engine import engine, stdlib
from addon_framework.api.cel_functions import (
    KIND,
    OF_QUANTITIES_AND_VERSIONS,
    amount,
    compare,
    is_a,
    quantity,
    tagged,
    untagged,
)
from addon_framework.api.time import parse_time
from addon_framework.local.apiserver.schemas import names
from addon_framework.local.apiserver.schemas.formats import CHECKS, parses


def _stdlib() -> dict[str, Callable[..., Any]]:
    """What the library has of cel-go's extensions, taken from the context it registers them in."""
    context = engine.Context()
    stdlib.add_stdlib_to_context(context)
    return dict(context.functions)


def formatted(text: str, name: str) -> Any:
    """A string with a format that CEL has a type for; the text itself if it does not parse."""
    try:
        if name in ("date-time", "datetime"):
            return parse_time(text)
        if name == "date":
            return parse_time(f"{text}T00:00:00Z")
        if name == "duration":
            return duration(text)
        if name == "byte":
            return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return text
    return text


_UNITS = {"ns": 1e-3, "us": 1.0, "µs": 1.0, "ms": 1e3, "s": 1e6, "m": 6e7, "h": 3.6e9}


def duration(text: str) -> timedelta:
    """Go's notation: 1h30m, 1.5s."""
    parts = re.findall(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)", text)
    if text.lstrip("+-") != "".join(number + unit for number, unit in parts) and text != "0":
        raise ValueError(f"invalid duration {text!r}")
    total = sum(float(number) * _UNITS[unit] for number, unit in parts)
    return timedelta(microseconds=-total if text.startswith("-") else total)


def _as_integer(value: Any) -> int:
    found = amount(value)
    if found != found.to_integral_value():
        raise ValueError("cannot convert value to integer")
    return int(found)


def _sum(values: list[Any]) -> Any:
    total = values[0] if values else 0
    for each in values[1:]:
        total = total + each
    return total


def _index_of(value: Any, wanted: Any, *start: int) -> int:
    if isinstance(value, str):
        return value.find(wanted, *start)
    return value.index(wanted) if wanted in value else -1


def _last_index_of(value: Any, wanted: Any, *end: int) -> int:
    if isinstance(value, str):
        return value.rfind(wanted, 0, *(each + len(wanted) for each in end))
    return len(value) - 1 - value[::-1].index(wanted) if wanted in value else -1


def _find(text: str, pattern: str) -> str:
    found = re.search(pattern, text)
    return found.group() if found else ""


def _find_all(text: str, pattern: str, *limit: int) -> list[str]:
    found = [each.group() for each in re.finditer(pattern, text)]
    return found[: limit[0]] if limit and limit[0] >= 0 else found


def _url(text: str) -> dict[str, Any]:
    parts = urlsplit(text)
    if not parts.scheme and not text.startswith("/"):
        raise ValueError(
            f"URL parse error during conversion from string: parse {text!r}: invalid URI for request"
        )
    return tagged("url", text)


def _ip(text: str) -> dict[str, Any]:
    if "%" in text or (text.lower().startswith("::ffff:") and "." in text):
        raise ValueError(f"IP Address {text!r} parse error during conversion from string")
    return tagged("ip", str(ipaddress.ip_address(text)))


def _cidr(text: str) -> dict[str, Any]:
    if "/" not in text:
        raise ValueError(f"network address parse error during conversion from string: {text!r}")
    network = ipaddress.ip_interface(text)
    return tagged("cidr", str(network))


def _address(value: Any) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return ipaddress.ip_address(value if isinstance(value, str) else untagged(value, "ip"))


def _contains_ip(network: Any, address: Any) -> bool:
    return _address(address) in ipaddress.ip_interface(untagged(network, "cidr")).network


def _contains_cidr(network: Any, other: Any) -> bool:
    outer = ipaddress.ip_interface(untagged(network, "cidr")).network
    inner = ipaddress.ip_interface(other if isinstance(other, str) else untagged(other, "cidr")).network
    return outer.version == inner.version and inner.subnet_of(outer)  # type: ignore[arg-type]


def _url_part(read: Callable[[str], Any]) -> Callable[[Any], Any]:
    return lambda value: read(untagged(value, "url"))


def _hostname(text: str) -> str:
    name = urlsplit(text).hostname or ""
    return f"[{name}]" if ":" in name else name


def _format(template: str, arguments: list[Any]) -> str:
    values = iter(arguments)

    def one(match: re.Match[str]) -> str:
        precision, verb = match[1], match[2]
        if verb == "%":
            return "%"
        try:
            value = next(values)
        except StopIteration:
            raise ValueError(f"index {len(arguments)} out of range") from None
        if verb == "s":
            return _text(value)
        if verb == "d":
            return str(int(value))
        if verb in "fe":
            return f"{float(value):.{precision or 6}{verb}}"
        if verb == "b":
            return f"{int(value):b}"
        if verb == "o":
            return f"{value:o}"
        hexed = value.encode().hex() if isinstance(value, str) else f"{value:x}"
        return hexed if verb == "x" else hexed.upper()

    return re.sub(r"%(?:\.(\d+))?([sdfebxXo%])", one, template)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, list):
        return "[" + ", ".join(_text(each) for each in value) + "]"
    if isinstance(value, dict):
        if KIND in value:
            return str(value["value"])
        return "{" + ", ".join(f"{key}: {_text(item)}" for key, item in sorted(value.items())) + "}"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _either(address: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: address(_address(value))


def _uuid(text: str) -> list[str]:
    return [] if CHECKS["uuid"](text) and len(text) == 36 else ["does not match the UUID format"]


def _prefix_of(check: Callable[[str], list[str]]) -> Callable[[str], list[str]]:
    return lambda text: check(text + "a")


_NAMED_FORMATS: dict[str, Callable[[str], list[str]]] = {
    "dns1123Label": names.label,
    "dns1123Subdomain": names.subdomain,
    "dns1035Label": names.dns1035,
    "qualifiedName": names.qualified,
    "labelValue": names.label_value,
    "dns1123LabelPrefix": _prefix_of(names.label),
    "dns1123SubdomainPrefix": _prefix_of(names.subdomain),
    "uuid": _uuid,
}


def _validate_format(value: Any, text: str) -> Any:
    """format.<name>().validate(text): none, or a list of what is wrong."""
    wrong = _NAMED_FORMATS[untagged(value, "format")](text)
    return engine.OptionalValue.of(wrong) if wrong else engine.OptionalValue.none()


def _optional_field(value: Any, key: Any) -> Any:
    """The rewritten form of `value.?key` and `value[?key]`."""
    optional = engine.OptionalValue
    if isinstance(value, optional):
        if not value.has_value():
            return optional.none()
        value = value.value()
    if isinstance(value, dict):
        return optional.of(value[key]) if key in value else optional.none()
    if isinstance(value, list):
        return optional.of(value[key]) if 0 <= key < len(value) else optional.none()
    return optional.none()


FUNCTIONS: dict[str, Callable[..., Any]] = {
    **_stdlib(),
    **OF_QUANTITIES_AND_VERSIONS,
    **{f"format.{name}": (lambda name=name: tagged("format", name)) for name in _NAMED_FORMATS},
    "validate": _validate_format,
    "optionalField": _optional_field,
    "format": _format,
    "sizeOf": lambda value: len(value),  # the engine counts the bytes of a string; CEL counts code points
    "sum": _sum,
    "isSorted": lambda values: all(one <= other for one, other in pairwise(values)),
    "indexOf": _index_of,
    "lastIndexOf": _last_index_of,
    "find": _find,
    "findAll": _find_all,
    "isInteger": parses(_as_integer),
    "asInteger": _as_integer,
    "sign": lambda value: compare(value, 0),
    "add": lambda one, other: quantity(str(amount(one) + amount(other))),
    "sub": lambda one, other: quantity(str(amount(one) - amount(other))),
    "url": _url,
    "isURL": parses(_url),
    "getScheme": _url_part(lambda text: urlsplit(text).scheme),
    "getHost": _url_part(lambda text: urlsplit(text).netloc.rpartition("@")[2]),
    "getHostname": _url_part(_hostname),
    "getPort": _url_part(lambda text: str(urlsplit(text).port or "")),
    "getEscapedPath": _url_part(lambda text: quote(urlsplit(text).path, safe="/%:@!$&'()*+,;=-._~")),
    "getQuery": _url_part(lambda text: parse_qs(urlsplit(text).query, keep_blank_values=True)),
    "ip": lambda value: tagged("ip", value["value"].split("/")[0]) if is_a(value, "cidr") else _ip(value),
    "isIP": parses(_ip),
    "ip.isCanonical": lambda text: _ip(text)["value"] == text,
    "cidr": _cidr,
    "isCIDR": parses(_cidr),
    "containsIP": _contains_ip,
    "containsCIDR": _contains_cidr,
    "family": lambda value: _address(value).version,
    "isUnspecified": _either(lambda address: bool(address.is_unspecified)),
    "isLoopback": _either(lambda address: bool(address.is_loopback)),
    "isLinkLocalUnicast": _either(lambda address: bool(address.is_link_local)),
    "isLinkLocalMulticast": _either(lambda address: bool(address.is_multicast)),
    "isGlobalUnicast": _either(lambda address: not (address.is_multicast or address.is_loopback)),
    "masked": lambda value: tagged("cidr", str(ipaddress.ip_interface(untagged(value, "cidr")).network)),
    "prefixLength": lambda value: ipaddress.ip_interface(untagged(value, "cidr")).network.prefixlen,
}


# What the engine itself knows; it does not tell.
NATIVE = frozenset(
    word
    for line in (
        "size contains startsWith endsWith matches has all exists exists_one existsOne map filter max min",
        "int uint double string bytes bool timestamp duration type dyn",
        "none of ofNonZeroValue hasValue value or orValue optMap optFlatMap",
        "getFullYear getMonth getDate getDayOfMonth getDayOfWeek getDayOfYear",
        "getHours getMinutes getSeconds getMilliseconds",
    )
    for word in line.split()
)
# Last parts of the names: the engine reports math.greatest as greatest.
CALLABLE = frozenset(name.rpartition(".")[2] for name in FUNCTIONS)
_TYPES = "int uint double string bytes bool list map null_type google timestamp duration optional cel"
NAMESPACES = frozenset(name.partition(".")[0] for name in FUNCTIONS if "." in name) | set(_TYPES.split())


def functions_for(names: list[str]) -> dict[str, Callable[..., Any]]:
    """The functions that an expression with these calls needs."""
    wanted = set(names)
    return {name: call for name, call in FUNCTIONS.items() if name.rpartition(".")[2] in wanted}
