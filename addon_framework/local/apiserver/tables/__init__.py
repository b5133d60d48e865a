"""Tables for kubectl get, and the JSONPath of their columns."""

from addon_framework.local.apiserver.tables.jsonpath import PathError, parse
from addon_framework.local.apiserver.tables.table import partial_metadata, to_table

__all__ = ["PathError", "parse", "partial_metadata", "to_table"]
