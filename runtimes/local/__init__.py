"""Backend `local`: copies on the nodes' own disks by parallel ranged reads. No FUSE, no root."""

from runtimes.local.backend import LocalBackend

__all__ = ["LocalBackend"]
