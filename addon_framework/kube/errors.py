"""What an API server can answer that is not success, as exceptions by reason.

The wire form is `Status`: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/
"""

from __future__ import annotations

from typing import Any

from addon_framework.api.meta import Json


class ApiError(Exception):
    """A Status with a failure. `status` is the HTTP code, 0 when no answer came at all."""

    def __init__(self, status: int, reason: str, message: str, details: Json | None = None) -> None:
        super().__init__(message or reason)
        self.status = status
        self.reason = reason
        self.message = message
        self.details: Json = details or {}

    @property
    def causes(self) -> list[Json]:
        """The fields at fault (`field`, `reason`, `message`), when the server named them."""
        return list(self.details.get("causes") or [])

    @property
    def retry_after(self) -> float | None:
        """Seconds the server asked to wait, if it did."""
        seconds = self.details.get("retryAfterSeconds")
        return float(seconds) if seconds else None


class NotFound(ApiError):
    """404: the object, or the resource itself, is not there."""


class AlreadyExists(ApiError):
    """409 on create: the name is taken."""


class Conflict(ApiError):
    """409: someone else changed the object, or owns a field that was applied."""


class Forbidden(ApiError):
    """403: RBAC or admission says no."""


class Unauthorized(ApiError):
    """401: the server does not know who asks."""


class Invalid(ApiError):
    """422: the object is not valid; `causes` names the fields."""


class Gone(ApiError):
    """410: the resourceVersion or the continue token is too old; list again."""


class Unreachable(ApiError):
    """No answer: connection refused, reset, timed out, or TLS failed."""


_BY_REASON: dict[str, type[ApiError]] = {
    "NotFound": NotFound,
    "AlreadyExists": AlreadyExists,
    "Conflict": Conflict,
    "Forbidden": Forbidden,
    "Unauthorized": Unauthorized,
    "Invalid": Invalid,
    "Gone": Gone,
    "Expired": Gone,
}
_BY_CODE: dict[int, type[ApiError]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    422: Invalid,
}


def error_from_status(code: int, body: Any) -> ApiError:
    """The exception for an answer of `code` whose body is a Status, or whatever a proxy sent."""
    if not isinstance(body, dict):
        return _BY_CODE.get(code, ApiError)(code, "Unknown", str(body)[:500])
    reason = str(body.get("reason") or "")
    code = int(body.get("code") or code)
    kind = _BY_REASON.get(reason) or _BY_CODE.get(code, ApiError)
    return kind(code, reason or "Unknown", str(body.get("message") or ""), body.get("details"))
