"""The built-in profile `s3fs`: a bucket, or a prefix of it, mounted read-only. Pure.

https://github.com/s3fs-fuse/s3fs-fuse/blob/master/doc/man/s3fs.1.in
"""

from __future__ import annotations

from collections.abc import Mapping

from addon_framework.api.meta import Json
from runtimes.fuse import PREPARE, client_pod
from runtimes.interface import Cache, unknown
from runtimes.pods import CREDENTIALS, credential_env, literal, mount
from runtimes.source.s3 import OPTIONS

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


def validate(cache: Cache, name: str) -> list[str]:
    """One S3 source, and options that the profile knows."""
    where = f"Dataset {cache.namespace}/{cache.name}: spec.mounts"
    if len(cache.sources) != 1:
        return [f"{where}: profile {name} mounts exactly one source, there are {len(cache.sources)}"]
    source = cache.sources[0]
    problems = []
    if source.scheme != "s3":
        problems.append(f"{where}[0].mountPoint: {source.url!r} must be s3://bucket/prefix")
    if names := unknown(OPTIONS, source.options):
        problems.append(f"{where}[0].options: unknown {', '.join(names)}; known: {', '.join(OPTIONS)}")
    if names := unknown([*CREDENTIALS], source.secrets):
        problems.append(f"{where}[0].encryptOptions: unknown {', '.join(names)}")
    return problems


def pod(cache: Cache, fuse: Json) -> Json:
    """`fuse` is the runtime's own section: image and further mount options."""
    source = cache.sources[0]
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
        **({"ro": ""} if cache.read_only else {}),
        **(fuse.get("options") or {}),
    }
    image = str(fuse.get("image") or IMAGE)
    return client_pod(
        cache,
        name="thin-fuse",
        image=f"{image}:{fuse['imageTag']}" if fuse.get("imageTag") else image,
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
