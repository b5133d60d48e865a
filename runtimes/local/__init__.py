"""Backend `local`: copies on the nodes' own disks by parallel ranged reads. No FUSE, no root."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runtimes.local.backend import LocalBackend

__all__ = ["LocalBackend"]


def __getattr__(name: str) -> Any:
    """The backend when it is asked for: a loader, which has no use for it, starts in a third of the time."""
    if name != "LocalBackend":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from runtimes.local.backend import LocalBackend

    return LocalBackend
