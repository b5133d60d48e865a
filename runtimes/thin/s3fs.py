"""The built-in profile `s3fs`: a bucket, or a prefix of it. Pure.

https://github.com/s3fs-fuse/s3fs-fuse/blob/master/doc/man/s3fs.1.in
"""

from __future__ import annotations

from collections.abc import Mapping

from addon_framework.api.meta import Json
from runtimes.fuse import PREPARE
from runtimes.interface import Cache
from runtimes.pods import credential_env, literal, mount
from runtimes.thin.pods import client

IMAGE = "ghcr.io/boundaryless/s3fs"
# The keys go from the environment into a file that only lives in memory; s3fs wants it private.
_SCRIPT = (
    PREPARE
    + """
umask 077
if [ -n "${SOURCE_ACCESS_KEY:-}" ]; then
  printf '%s:%s' "$SOURCE_ACCESS_KEY" "$SOURCE_SECRET_KEY" > /run/s3fs/passwd
  AUTH=passwd_file=/run/s3fs/passwd
else
  AUTH=public_bucket=1
fi
unset SOURCE_ACCESS_KEY SOURCE_SECRET_KEY
exec s3fs "$BUCKET" "$MOUNT_POINT" -f -o "$AUTH,$MOUNT_OPTIONS"
"""
)


def pod(cache: Cache, fuse: Json) -> Json:
    """`fuse` is what the runtime says of its client."""
    source, owner = cache.sources[0], cache.dataset.spec.owner
    region = source.options.get("region") or "us-east-1"
    endpoint = source.options.get("endpoint") or f"https://s3.{region}.amazonaws.com"
    bucket, _, prefix = source.url.removeprefix("s3://").partition("/")
    options = {
        "url": endpoint,
        "use_path_request_style": "",
        "endpoint": region,
        "sigv4": "",
        "allow_other": "",
        "mp_umask": "022",
        "umask": "022",
        **({"ro": ""} if cache.read_only or source.read_only else {}),
        **({"uid": str(owner.uid), "gid": str(owner.gid)} if owner is not None else {}),
        **fuse["options"],
    }
    return client(
        cache,
        fuse,
        IMAGE,
        command=["sh", "-c", _SCRIPT],
        env=[
            literal("BUCKET", f"{bucket}:/{prefix.strip('/')}" if prefix.strip("/") else bucket),
            literal("MOUNT_OPTIONS", joined(options)),
            *credential_env(source, "SOURCE_"),
        ],
        volumes=[{"name": "keys", "emptyDir": {"medium": "Memory"}}],
        mounts=[mount("keys", "/run/s3fs")],
    )


def joined(options: Mapping[str, str]) -> str:
    """As mount takes them: k=v,k2."""
    return ",".join(f"{name}={value}" if value != "" else name for name, value in options.items())
