"""Where data comes from: listing objects, and reading ranges of them. Only `filesystems` needs a library.

Threads and http.client: a loader starts in a tenth of a second; recv and write let other threads run. For the
same reason a kind of source is imported when a URL names it.
"""

from __future__ import annotations

from collections.abc import Mapping

from runtimes.source.objects import Object, ObjectSource, Sink, SourceError
from runtimes.source.sigv4 import Credentials
from runtimes.source.stores import STORES

SCHEMES = (*STORES, "http", "https", "hf", "file", "local")  # those that need no driver


def open_source(url: str, options: Mapping[str, str], credentials: Credentials | None) -> ObjectSource:
    """The source that a URL names. Raises SourceError."""
    scheme = url.partition("://")[0]
    secret = credentials or Credentials("", "")
    said = {**options, **secret.options}
    if scheme in STORES:
        from runtimes.source.s3 import S3Source

        return S3Source(url, said, credentials)
    if scheme in ("http", "https"):
        from runtimes.source.web import WebSource

        return WebSource(url, said, secret.token)
    if scheme == "hf":
        from runtimes.source.hub import HubSource

        return HubSource(url, said, secret.token)
    if scheme in ("file", "local"):
        from runtimes.source.files import FileSource

        return FileSource(url, options.get("claim", ""))
    from runtimes.source.filesystems import FileSystemSource

    return FileSystemSource(url, options, secret.options)


def from_environment(prefix: str, environment: Mapping[str, str]) -> Credentials | None:
    """<prefix>ACCESS_KEY, SECRET_KEY, TOKEN and OPTION_<name>; None when there are none."""
    key, token = environment.get(f"{prefix}ACCESS_KEY", ""), environment.get(f"{prefix}TOKEN", "")
    mark = f"{prefix}OPTION_"
    options = {name[len(mark) :]: value for name, value in environment.items() if name.startswith(mark)}
    if not (key or token or options):
        return None
    return Credentials(key, environment.get(f"{prefix}SECRET_KEY", ""), token, options)


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
