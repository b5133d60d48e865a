"""What the patches make of an object, before anything is checked.

https://kubernetes.io/docs/reference/using-api/api-concepts/#patch-and-apply
"""

from __future__ import annotations

from typing import Any

import jsonpatch
import jsonpointer

from addon_framework.api.meta import Json
from addon_framework.local.apiserver import status
from addon_framework.local.apiserver.schemas import SchemaNode
from addon_framework.local.apiserver.status import StatusError
from addon_framework.local.apiserver.strategic import strategic_merge

JSON_PATCH = "application/json-patch+json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
_MAX_OPERATIONS = 10_000


def patched(shown: Json, patch_type: str, patch: Any, schema: SchemaNode | None) -> Json:
    """The object with the patch on it. `shown` is a copy that may change."""
    if patch_type == JSON_PATCH:
        result = _json_patch(shown, patch)
    elif not isinstance(patch, dict):
        raise status.bad_request("a merge patch is an object")
    elif patch_type == MERGE:
        result = merge(shown, patch)
    else:
        try:
            result = strategic_merge(shown, patch, schema)
        except (ValueError, TypeError) as error:
            raise status.bad_request(f"invalid strategic merge patch: {error}") from None
    if not isinstance(result, dict):
        raise status.bad_request("the patch does not leave an object")
    return result


def _json_patch(shown: Json, patch: Any) -> Any:
    if not isinstance(patch, list):
        raise status.bad_request("a JSON patch is a list of operations")
    if len(patch) > _MAX_OPERATIONS:
        why = f"The allowed maximum operations in a JSON patch is {_MAX_OPERATIONS}, got {len(patch)}"
        raise StatusError(413, "RequestEntityTooLarge", f"Request entity too large: {why}")
    try:
        return jsonpatch.apply_patch(shown, patch)
    except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException, TypeError, KeyError) as error:
        raise StatusError(
            422, "Invalid", f"the server rejected our request due to an error in our request: {error}"
        ) from None


def merge(target: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge(result.get(name), value)
    return result
