"""Schemas of built-in kinds and custom resources, and what is done with them."""

from addon_framework.api.meta import copy_json
from addon_framework.local.apiserver.schemas import cause, names
from addon_framework.local.apiserver.schemas.builtin import builtin_schema, builtin_type
from addon_framework.local.apiserver.schemas.cause import Cause
from addon_framework.local.apiserver.schemas.crd import crd_schema
from addon_framework.local.apiserver.schemas.decode import as_stored, decode_error
from addon_framework.local.apiserver.schemas.defaulting import default
from addon_framework.local.apiserver.schemas.fields import prune, unknown_fields
from addon_framework.local.apiserver.schemas.node import SchemaNode
from addon_framework.local.apiserver.schemas.structural import structural_errors
from addon_framework.local.apiserver.schemas.validate import validate

__all__ = [
    "Cause",
    "SchemaNode",
    "as_stored",
    "builtin_schema",
    "builtin_type",
    "cause",
    "copy_json",
    "crd_schema",
    "decode_error",
    "default",
    "names",
    "prune",
    "structural_errors",
    "unknown_fields",
    "validate",
]
