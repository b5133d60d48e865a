"""The built-in profile `rclone`: a bucket, or a prefix of it. Pure.

https://rclone.org/commands/rclone_mount/
"""

from __future__ import annotations

from addon_framework.api.meta import Json
from runtimes.fuse import PREPARE
from runtimes.interface import Cache
from runtimes.pods import credential_env, literal, mount
from runtimes.thin.pods import cache_directory, client

IMAGE = "rclone/rclone"
_CACHE = "/var/cache/rclone"
# Every flag may be a variable (https://rclone.org/docs/#environment-variables), so keys are in no argument.
_SCRIPT = (
    PREPARE
    + """
[ -n "${RCLONE_S3_ACCESS_KEY_ID:-}" ] || export RCLONE_S3_ENV_AUTH=false
exec rclone mount ":s3:$BUCKET" "$MOUNT_POINT" $MOUNT_OPTIONS
"""
)
_SECRETS = {"ACCESS_KEY": "ACCESS_KEY_ID", "SECRET_KEY": "SECRET_ACCESS_KEY", "TOKEN": "SESSION_TOKEN"}


def pod(cache: Cache, fuse: Json) -> Json:
    """`fuse` is what the runtime says of its client."""
    source, owner = cache.sources[0], cache.dataset.spec.owner
    kept, (volumes, mounts) = _CACHE, cache_directory(cache)
    if mounts:
        kept = f"{mounts[0]['mountPath']}/rclone"
    options = {
        "allow-other": "",
        "allow-non-empty": "",  # a sidecar mounts onto its volume
        "dir-cache-time": "10s",
        "umask": "022",
        # Engines map files and copy by several threads: without a file of its own to read from, rclone asks
        # for the same bytes again and again (hack/bench/model_start: 13 times).
        "vfs-cache-mode": "full",
        "cache-dir": kept,
        "vfs-read-chunk-size": "8M",
        **({"vfs-cache-max-size": str(cache.quota)} if cache.quota else {}),
        **({"read-only": ""} if cache.read_only or source.read_only else {}),
        **({"uid": str(owner.uid), "gid": str(owner.gid)} if owner is not None else {}),
        **fuse["options"],
    }
    region = source.options.get("region") or "us-east-1"
    secrets = [
        {**variable, "name": f"RCLONE_S3_{_SECRETS[variable['name']]}"}
        for variable in credential_env(source, "")
    ]
    return client(
        cache,
        fuse,
        IMAGE,
        command=["sh", "-c", _SCRIPT],
        env=[
            literal("BUCKET", source.url.removeprefix("s3://").strip("/")),
            literal("RCLONE_S3_PROVIDER", "Other"),
            literal(
                "RCLONE_S3_ENDPOINT", source.options.get("endpoint") or f"https://s3.{region}.amazonaws.com"
            ),
            literal("RCLONE_S3_REGION", region),
            literal("MOUNT_OPTIONS", " ".join(f"--{k}={v}" if v else f"--{k}" for k, v in options.items())),
            *secrets,
        ],
        volumes=volumes or [{"name": "cache", "emptyDir": {}}],
        mounts=mounts or [mount("cache", _CACHE)],
    )
