"""fsspec's file systems, as FileSystemSource uses them: which there are, and what is particular to some.

fsspec, and what it needs for a scheme, are imported only where such a source is used.
https://filesystem-spec.readthedocs.io/en/latest/api.html#built-in-implementations
"""

from __future__ import annotations

import base64
import ftplib
import functools
import importlib.util
import inspect
import json
import re
from collections.abc import Mapping
from typing import Any

from runtimes.source.objects import Sink

# What is no store of its own: files of the process's machine, and what shows other file systems.
_NO_STORES = re.compile(
    "async.*|.*cache|cached|dask|data|dir|generic|git|libarchive|memory|pyscript|reference|tar|zip"
)
_HADOOP = ("hdfs", "arrow_hdfs")  # fsspec would only find out when it is used
# What drivers call the version of a file.
_VERSIONS = (
    "ETag",
    "etag",
    "mtime",
    "modify",
    "modificationTime",
    "last_modified",
    "modified",
    "updated",
    "last_write_time",
)
_TIMEOUT = 30.0  # seconds
_SMALL = 1 << 16  # bytes that a driver may read beyond what it is asked for
_PIECE = 1 << 18
_FATAL = (NotImplementedError, TypeError, ValueError, ImportError, ftplib.error_perm)


def problem(scheme: str, *, here: bool = True) -> str:
    """Why it cannot be read, or not `here` where drivers are missing; "" where it can."""
    try:
        import fsspec
    except ImportError:
        return f"{scheme}:// needs the Python package fsspec, which is not in the image" if here else ""
    if _NO_STORES.fullmatch(scheme) or scheme not in fsspec.available_protocols():
        return f"nothing here knows {scheme}://"
    try:
        fsspec.get_filesystem_class(scheme)
        if scheme in _HADOOP and importlib.util.find_spec("pyarrow") is None:
            raise ImportError("pyarrow, Java and Hadoop's libraries; webhdfs:// needs none of these")
    except ImportError as error:
        return f"{scheme}:// needs a driver that is not in the image: {error}" if here else ""
    return ""


def arguments(scheme: str) -> list[str] | None:
    """The options that its driver knows; None where that hands on what it is given, or is not here."""
    try:
        import fsspec

        made = fsspec.get_filesystem_class(scheme)
    except ImportError:
        return None
    known = inspect.signature(made.__init__).parameters
    # The classes of fsspec itself give the rest to their base, which ignores it.
    closed = made.__module__.startswith("fsspec.") and "kwargs" in known
    return [name for name in known if name not in ("self", "kwargs")] if closed else None


def argument(text: str, *, secret: bool = False) -> Any:
    """JSON is what it says; other text is itself, and so is a secret that is no list or object."""
    try:
        said = json.loads(text)
    except ValueError:
        return text
    if isinstance(said, list):
        return tuple(said)
    return said if isinstance(said, dict if secret else (dict, str, bool, int, float)) else text


def connect(made: Any, options: Mapping[str, Any]) -> Any:
    """A file system of one's own. Where a driver would wait for a silent server forever, we do not."""
    if "sftp" in made.protocol:
        options = {"timeout": _TIMEOUT, "look_for_keys": False, "allow_agent": False, **options}
    system = made(**options, skip_instance_cache=True)
    system.blocksize = _SMALL
    if "sftp" in made.protocol:
        system.ftp.get_channel().settimeout(_TIMEOUT)
    if "webhdfs" in made.protocol:
        system.session.request = functools.partial(system.session.request, timeout=_TIMEOUT)
    return system


def look(system: Any, path: str) -> tuple[int, object, tuple[str, str] | None]:
    """Size, version and checksum of a file as they are now. Raises FileNotFoundError."""
    if "ftp" in system.protocol and "sftp" not in system.protocol:  # whose driver lists the directory
        try:
            system.ftp.voidcmd("TYPE I")
            return int(system.ftp.size(path) or 0), system.ftp.voidcmd(f"MDTM {path}"), None
        except ftplib.Error as error:
            if not str(error).startswith(("450", "550")):  # file unavailable
                raise
            raise FileNotFoundError(str(error)) from error
    system.invalidate_cache()
    info = system.info(path)
    return int(info["size"] or 0), version(info), checksum(info)


def pour(system: Any, path: str, start: int, end: int, sink: Sink) -> int:
    """Bytes [start, end) of a file into the sink: how many there were."""
    if isinstance(getattr(system, "ftp", None), ftplib.FTP):
        return _by_ftp(system.ftp, path, start, end, sink)
    if "sftp" in system.protocol:
        with system.open(path, "rb") as file:
            file.seek(start)
            file.prefetch(end, max_concurrent_requests=64)  # of 32 KiB, which do not wait for one another
            data = file.read(end - start)
    else:
        data = system.cat_file(path, start=start, end=end)
    sink(memoryview(data)[: end - start])
    return len(data)


def _by_ftp(ftp: ftplib.FTP, path: str, start: int, end: int, sink: Sink) -> int:
    """The driver would list the file's directory each time, to know how long it is."""
    buffer, position = memoryview(bytearray(_PIECE)), start
    ftp.voidcmd("TYPE I")
    with ftp.transfercmd(f"RETR {path}", rest=start) as data:
        while position < end and (count := data.recv_into(buffer[: min(_PIECE, end - position)])):
            sink(buffer[:count])
            position += count
    try:
        ftp.voidresp()
    except ftplib.Error:  # the server had more to say
        if position < end:
            raise
    return position - start


def version(info: Mapping[str, Any]) -> str:
    """As a listing tells it; "" if it does not."""
    return next((str(info[name]) for name in _VERSIONS if info.get(name)), "")


def checksum(info: Mapping[str, Any]) -> tuple[str, str] | None:
    """As Google Cloud Storage tells it."""
    digest = info.get("crc32c")
    return ("crc32c", base64.b64decode(digest).hex()) if isinstance(digest, str) else None


def is_fatal(error: Exception) -> bool:
    """Whether trying again will not help; what the network or the server's state did may pass."""
    if isinstance(error, OSError):
        return isinstance(error, PermissionError)
    return isinstance(error, _FATAL) or "Authentication" in type(error).__name__
