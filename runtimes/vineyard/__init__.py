"""Backend `vineyard`: immutable objects in nodes' memory, found through etcd, used through a socket."""

from runtimes.vineyard.backend import VineyardBackend

__all__ = ["VineyardBackend"]
