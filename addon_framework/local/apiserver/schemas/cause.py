"""One reason why an object is refused, worded as the API server of Kubernetes words it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import orjson


class Cause(NamedTuple):
    """An entry of `status.details.causes`."""

    field: str
    reason: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


def render(value: Any) -> str:
    """A value as error messages print it: strings quoted, null as "null", the rest as JSON."""
    if value is None:
        return '"null"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, (int, float)):
        return str(value)
    return orjson.dumps(value, default=str).decode()


def invalid(field: str, value: Any, detail: str) -> Cause:
    """A value of the right type that breaks a rule."""
    return Cause(field, "FieldValueInvalid", f"Invalid value: {render(value)}: {detail}")


def broken(field: str, value: Any, details: Iterable[str]) -> Iterator[Cause]:
    """The same for each rule it breaks."""
    return (invalid(field, value, detail) for detail in details)


def type_invalid(field: str, value: Any, detail: str) -> Cause:
    """A value of the wrong type."""
    return Cause(field, "FieldValueTypeInvalid", f"Invalid value: {render(value)}: {detail}")


def required(field: str, detail: str = "") -> Cause:
    """A missing value."""
    return Cause(field, "FieldValueRequired", "Required value" + (f": {detail}" if detail else ""))


def forbidden(field: str, detail: str) -> Cause:
    """A value that may not be there."""
    return Cause(field, "FieldValueForbidden", f"Forbidden: {detail}")


def duplicate(field: str, value: Any) -> Cause:
    """A second element with the same key."""
    return Cause(field, "FieldValueDuplicate", f"Duplicate value: {render(value)}")


def not_supported(field: str, value: Any, supported: Iterable[Any]) -> Cause:
    """A value outside an enumeration."""
    names = ", ".join(
        orjson.dumps(each if isinstance(each, str) else orjson.dumps(each).decode()).decode()
        for each in supported
    )
    message = f"Unsupported value: {render(value)}"
    return Cause(field, "FieldValueNotSupported", message + (f": supported values: {names}" if names else ""))


def too_long(field: str, maximum: int) -> Cause:
    """A string over its limit."""
    return Cause(field, "FieldValueTooLong", f"Too long: may not be more than {maximum} bytes")


def too_many(field: str, actual: int, maximum: int) -> Cause:
    """A list or map over its limit."""
    plural = "item" if maximum == 1 else "items"
    return Cause(field, "FieldValueTooMany", f"Too many: {actual}: must have at most {maximum} {plural}")


def not_found(field: str, value: Any) -> Cause:
    """A name that nothing has."""
    return Cause(field, "FieldValueNotFound", f"Not found: {render(value)}")
