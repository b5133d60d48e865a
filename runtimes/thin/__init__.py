"""Backend `thin`: any FUSE file system, described by a profile. It mounts; it keeps nothing."""

from runtimes.thin.backend import ThinBackend

__all__ = ["ThinBackend"]
