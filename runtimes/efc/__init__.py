"""Backend `efc`: Alibaba Cloud's client of NAS and CPFS, with a cache that its workers share."""

from runtimes.efc.backend import EFCBackend

__all__ = ["EFCBackend"]
