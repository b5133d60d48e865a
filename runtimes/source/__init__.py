"""Where data comes from: listing objects, and reading ranges of them, with the standard library only.

Threads and http.client: a loader starts in a tenth of a second; recv and write let other threads run.
"""

from __future__ import annotations

from collections.abc import Mapping

from runtimes.source.files import FileSource
from runtimes.source.objects import Object, ObjectSource, Sink, SourceError
from runtimes.source.s3 import S3Source
from runtimes.source.sigv4 import Credentials
from runtimes.source.web import WebSource

SCHEMES = ("s3", "http", "https", "file")


def open_source(url: str, options: Mapping[str, str], credentials: Credentials | None) -> ObjectSource:
    """The source that a URL names. Raises SourceError."""
    scheme = url.partition("://")[0]
    if scheme == "s3":
        return S3Source(url, options, credentials)
    if scheme in ("http", "https"):
        return WebSource(url)
    if scheme == "file":
        return FileSource(url)
    raise SourceError(f"{url}: {scheme}:// is none of {', '.join(SCHEMES)}", permanent=True)


__all__ = ["SCHEMES", "Credentials", "Object", "ObjectSource", "Sink", "SourceError", "open_source"]
