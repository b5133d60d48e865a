"""Failures as the server answers them: `Status` objects with code, reason, details and causes.

https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from addon_framework.api.meta import Json
from addon_framework.local.apiserver.rbac import Access
from addon_framework.local.apiserver.registry import Kind
from addon_framework.local.apiserver.schemas import Cause
from addon_framework.local.apiserver.schemas.cause import render


class StatusError(Exception):
    """An answer that is not success."""

    def __init__(self, code: int, reason: str, message: str, details: Json | None = None) -> None:
        super().__init__(message)
        self.code, self.reason, self.message, self.details = code, reason, message, details

    def body(self) -> Json:
        """The Status object."""
        status: Json = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "code": self.code,
        }
        if self.reason:
            status["reason"] = self.reason
        if self.details:
            status["details"] = self.details
        return status


def named(kind: Kind) -> str:
    """A resource with its group, such as deployments.apps."""
    return f"{kind.plural}.{kind.group}" if kind.group else kind.plural


def _details(kind: Kind, name: str, shown: str = "") -> Json:
    details = {"name": name, "group": kind.group, "kind": shown or kind.plural}
    return {key: value for key, value in details.items() if value}


def not_found(kind: Kind, name: str) -> StatusError:
    """The object is not there."""
    return StatusError(404, "NotFound", f'{named(kind)} "{name}" not found', _details(kind, name))


def no_route() -> StatusError:
    """The path leads nowhere: no such resource, group or version."""
    return StatusError(404, "NotFound", "the server could not find the requested resource")


def no_path() -> StatusError:
    """Below that path there is no API at all, which is said in plain text."""
    return StatusError(404, "", "404 page not found\n")


def invalid_patch(sent: Any, why: str) -> StatusError:
    """What a patch makes of an object cannot be read as its kind. The server names neither kind nor name."""
    cause = Cause("patch", "FieldValueInvalid", f"Invalid value: {render(render(sent))}: {why}")
    return StatusError(422, "Invalid", f' "" is invalid: {cause}', {"causes": [_cause(cause)]})


def already_exists(kind: Kind, name: str) -> StatusError:
    """The name is taken."""
    return StatusError(409, "AlreadyExists", f'{named(kind)} "{name}" already exists', _details(kind, name))


def conflict(kind: Kind, name: str, why: str, causes: Sequence[Json] = ()) -> StatusError:
    """Somebody else was there first."""
    details = _details(kind, name)
    if causes:
        details["causes"] = list(causes)
    message = f'Operation cannot be fulfilled on {named(kind)} "{name}": {why}'
    return StatusError(409, "Conflict", message, details)


def modified(kind: Kind, name: str) -> StatusError:
    """A stale resourceVersion."""
    return conflict(
        kind,
        name,
        "the object has been modified; please apply your changes to the latest version and try again",
    )


def _cause(cause: Cause) -> Json:
    return {"reason": cause.reason, "message": cause.message, "field": cause.field}


def invalid(kind: Kind, name: str, causes: Sequence[Cause]) -> StatusError:
    """Fields are wrong; each is named."""
    qualified = f"{kind.kind}.{kind.group}" if kind.group else kind.kind
    details = {**_details(kind, name, kind.kind), "causes": [_cause(cause) for cause in causes]}
    return StatusError(422, "Invalid", f'{qualified} "{name}" is invalid: {_listed(causes)}', details)


def invalid_options(kind: str, causes: Sequence[Cause], group: str = "meta.k8s.io") -> StatusError:
    """Parameters of a request are wrong, such as those of ListOptions."""
    details: Json = {"group": group, **({"kind": kind} if kind else {})}
    details["causes"] = [_cause(each) for each in causes]
    return StatusError(422, "Invalid", f'{kind}.{group} "" is invalid: {_listed(causes)}', details)


def _listed(causes: Sequence[Cause]) -> str:
    return str(causes[0]) if len(causes) == 1 else "[" + ", ".join(map(str, causes)) + "]"


def deleted(kind: Kind, obj: Json) -> Json:
    """The answer to a deletion that is done."""
    details = _details(kind, obj["metadata"]["name"]) | {"uid": obj["metadata"]["uid"]}
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}


def bad_request(message: str) -> StatusError:
    """The request makes no sense."""
    return StatusError(400, "BadRequest", message)


def forbidden(message: str, kind: Kind | None = None, name: str = "") -> StatusError:
    """Authorization or admission says no."""
    return StatusError(403, "Forbidden", message, _details(kind, name) if kind else None)


def forbidden_access(user: str, access: Access) -> StatusError:
    """RBAC does not allow this one."""
    group, resource = access.group, access.resource
    where = f'in the namespace "{access.namespace}"' if access.namespace else "at the cluster scope"
    named = f' "{access.name}"' if access.name else ""
    message = (
        f'{resource}{group and f".{group}"}{named} is forbidden: User "{user}" cannot {access.verb} resource '
        f'"{access.what()}" in API group "{group}" {where}'
    )
    details = {"name": access.name, "group": group, "kind": resource}
    return StatusError(403, "Forbidden", message, {key: value for key, value in details.items() if value})


def unauthorized() -> StatusError:
    """Nobody we know."""
    return StatusError(401, "Unauthorized", "Unauthorized")


def gone(message: str) -> StatusError:
    """The history that was asked for is no longer there."""
    return StatusError(410, "Expired", message)


def method_not_allowed(
    message: str = "the server does not allow this method on the requested resource",
) -> StatusError:
    """The resource has no such verb."""
    return StatusError(405, "MethodNotAllowed", message)


def unsupported_media_type(sent: str, accepted: Sequence[str]) -> StatusError:
    """The body is of a kind we do not read."""
    return StatusError(
        415,
        "UnsupportedMediaType",
        f"the body of the request was in an unknown format - accepted media types include: "
        f"{', '.join(accepted)} (got {sent or 'none'})",
    )


def not_acceptable(
    message: str = "only the following media types are accepted: application/json, application/yaml",
) -> StatusError:
    """The client wants only what we do not write."""
    return StatusError(406, "NotAcceptable", message)
