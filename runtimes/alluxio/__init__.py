"""Backend `alluxio`: a cache that the workers of a cluster share."""

from runtimes.alluxio.backend import AlluxioBackend

__all__ = ["AlluxioBackend"]
