"""Backend `juicefs`: a real mount, of an existing file system or of a node-local one filled from S3."""

from runtimes.juicefs.backend import JuiceFSBackend

__all__ = ["JuiceFSBackend"]
