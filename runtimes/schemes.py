"""Which runtimes read which sources, for those who have chosen another. Pure."""

from __future__ import annotations

from runtimes.source import SCHEMES

LOCAL = "LocalRuntime"
_STORED = ("AlluxioRuntime", "JindoRuntime")
_READERS = {
    "s3": ("JuiceFSRuntime", "ThinRuntime (profiles s3fs and rclone)", *_STORED),
    "oss": _STORED,
    "cos": _STORED,
    "obs": _STORED,
    "hdfs": _STORED,
    "gs": ("AlluxioRuntime",),
    "dls": ("JindoRuntime",),
    "juicefs": ("JuiceFSRuntime",),
    "nfs": ("EFCRuntime",),
    "pvc": (LOCAL, *_STORED),
}
_ANY = "a ThinRuntimeProfile or CacheRuntimeClass of your own may"
# Whose drivers look for no credentials but those that they are given.
NAMELESS = ("ftp", "sftp", "webhdfs", "webdav", "smb")
# What LocalRuntime reads by drivers of fsspec; there are more.
DRIVEN = (*NAMELESS, "abfs", "gcs")


def elsewhere(scheme: str, runtime: str) -> str:
    """Who else reads it, as the end of a sentence that says why this runtime does not."""
    found = [*([LOCAL] if scheme in (*SCHEMES, *DRIVEN) else []), *_READERS.get(scheme, ())]
    others = [name for name in dict.fromkeys(found) if not name.startswith(runtime)]
    if not others:
        return f"; {_ANY}"
    if len(others) == 1:
        return f"; {others[0]} reads {scheme}://"
    return f"; {', '.join(others[:-1])} and {others[-1]} read {scheme}://"
