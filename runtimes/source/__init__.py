"""Where data comes from: listing objects, and reading ranges of them, with the standard library only.

Threads and http.client: a loader starts in a tenth of a second; recv and write let other threads run.
"""

from __future__ import annotations

from collections.abc import Mapping

from runtimes.source.files import FileSource
from runtimes.source.hub import HubSource
from runtimes.source.objects import Object, ObjectSource, Sink, SourceError
from runtimes.source.s3 import S3Source
from runtimes.source.sigv4 import Credentials
from runtimes.source.web import WebSource

SCHEMES = ("s3", "http", "https", "hf", "file", "local")


def open_source(url: str, options: Mapping[str, str], credentials: Credentials | None) -> ObjectSource:
    """The source that a URL names. Raises SourceError."""
    scheme = url.partition("://")[0]
    if scheme == "s3":
        return S3Source(url, options, credentials)
    if scheme in ("http", "https"):
        return WebSource(url, credentials.token if credentials else "")
    if scheme == "hf":
        return HubSource(url, options, credentials.token if credentials else "")
    if scheme in ("file", "local"):
        return FileSource(url)
    raise SourceError(f"{url}: {scheme}:// is none of {', '.join(SCHEMES)}", permanent=True)


def from_environment(prefix: str, environment: Mapping[str, str]) -> Credentials | None:
    """<prefix>ACCESS_KEY, SECRET_KEY and TOKEN; None when there are none."""
    key, token = environment.get(f"{prefix}ACCESS_KEY", ""), environment.get(f"{prefix}TOKEN", "")
    if not key and not token:
        return None
    return Credentials(key, environment.get(f"{prefix}SECRET_KEY", ""), token)


__all__ = [
    "SCHEMES",
    "Credentials",
    "Object",
    "ObjectSource",
    "Sink",
    "SourceError",
    "from_environment",
    "open_source",
]
