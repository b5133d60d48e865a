"""The embedded fleet: a hub, spokes and an object store on one machine, as processes under one supervisor."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from addon_framework.local.fleet.fleet import Fleet
    from addon_framework.local.fleet.state import FleetError, FleetOptions, FleetState

__all__ = ["Fleet", "FleetError", "FleetOptions", "FleetState"]


def __getattr__(name: str) -> Any:
    """Imported when asked for: the supervisor lies below this package, and is to stay small."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{'fleet' if name == 'Fleet' else 'state'}"), name)
