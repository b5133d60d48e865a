"""Backend `cache`: any cache that a CacheRuntimeClass describes."""

from runtimes.cacheclass.backend import ClassBackend

__all__ = ["ClassBackend"]
