"""What may be asked of a log, which a real API server judges before it asks a kubelet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from addon_framework.api.time import parse_time
from addon_framework.local.apiserver import status
from addon_framework.local.apiserver.registry import Kind
from addon_framework.local.apiserver.schemas import Cause, cause

_KIND = Kind("", "pods", "PodLogOptions", versions=(), storage="v1")
_LEAST = {"tailLines": 0, "sinceSeconds": 1, "limitBytes": 1}
_OTHERS = ("follow", "previous", "timestamps", "sinceTime")


def log_options(pod: str, query: Mapping[str, str]) -> dict[str, str]:
    """Those that a kubelet knows; 400 or 422 for what makes no sense."""
    try:
        if "sinceTime" in query:
            parse_time(query["sinceTime"])
    except ValueError as error:
        raise status.bad_request(f"parsing time {cause.render(query['sinceTime'])}: {error}") from None
    numbers = {name: _number(query[name]) for name in _LEAST if name in query}
    if causes := list(_wrong(numbers, query)):
        raise status.invalid(_KIND, pod, causes)
    return {name: query[name] for name in (*numbers, *_OTHERS) if name in query}


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        why = f"strconv.ParseInt: parsing {cause.render(text)}: invalid syntax"
        raise status.bad_request(why) from None


def _wrong(numbers: Mapping[str, int], query: Mapping[str, str]) -> Iterator[Cause]:
    if "stream" in query:
        yield cause.forbidden("stream", "may not be specified")
    if "sinceTime" in query and "sinceSeconds" in numbers:
        why = "at most one of `sinceTime` or `sinceSeconds` may be specified"
        yield cause.forbidden("[]", why)
        return
    for name, number in numbers.items():
        if number < (least := _LEAST[name]):
            why = "must be greater than 0" if least else "must be greater than or equal to 0"
            yield cause.invalid(name, number, why)
