"""Tables for kubectl get."""

from addon_framework.local.apiserver.tables.table import partial_metadata, to_table

__all__ = ["partial_metadata", "to_table"]
