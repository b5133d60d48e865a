"""Backend `jindo`: JindoCache, a cache that workers share, of Alibaba Cloud's images."""

from runtimes.jindo.backend import JindoBackend

__all__ = ["JindoBackend"]
