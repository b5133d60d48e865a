"""A file system of JuiceFS over S3: `juicefs gateway`, for programs that mount nothing. Pure.

The runtime's annotation names a Secret with MINIO_ROOT_USER and MINIO_ROOT_PASSWORD, its users' keys. The one
bucket is called like the file system.
https://juicefs.com/docs/community/guide/gateway
"""

from __future__ import annotations

from collections.abc import Iterator

from runtimes.interface import Cache, Component, SecretKey, Service
from runtimes.juicefs import flags
from runtimes.juicefs.scripts import FORMAT
from runtimes.pods import from_secret, literal, mount
from runtimes.workloads import container, pod

ANNOTATION = "data.boundaryless.io/gateway"
PORT = 9000
_KEYS = ("MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD")
_SERVE = f"""{FORMAT}
exec juicefs gateway "$META" "0.0.0.0:{PORT}" $OPTIONS --no-usage-report
"""


def secret(cache: Cache) -> str:
    """With the keys; "" where no gateway is wanted."""
    annotations = (cache.runtime.get("metadata") or {}).get("annotations") or {}
    return str(annotations.get(ANNOTATION) or "")


def name(cache: Cache) -> str:
    """Of its workload and its Service."""
    return f"{cache.name}-gateway"


def component(cache: Cache) -> Component:
    """One server, which comes first and formats the file system where that has not been done."""
    fuse, source = cache.spec.get("fuse") or {}, cache.sources[0]
    options = ["--cache-size=0", "--backup-meta=0", "--metrics=127.0.0.1:0"]
    options += [f"--subdir=/{below}"] if (below := flags.below(source)) else []
    options += ["--read-only"] if cache.read_only or source.read_only else []
    made = container(
        "juicefs-gateway",
        flags.container_image(cache),
        {"env": fuse.get("env")},
        command=["sh", "-c", _SERVE],
        env=[
            *flags.environment(cache),
            *flags.limit(cache),
            *(from_secret(key, SecretKey(secret(cache), key)) for key in _KEYS),
            literal("OPTIONS", " ".join(options)),
        ],
        ports={"s3": PORT},
        mounts=[mount("work", cache.directory)],
        readinessProbe={"tcpSocket": {"port": PORT}, "periodSeconds": 2},
    )
    service = Service(name(cache), {"s3": PORT}, governing=True)
    return Component(
        "master",
        pod(cache, {}, [made], [{"name": "work", "emptyDir": {}}], host=False),
        1,
        services=(service,),
        name=name(cache),
    )


def problems(cache: Cache) -> Iterator[str]:
    """What goes without one."""
    where = f"{cache.title}: metadata.annotations.{ANNOTATION}"
    if not secret(cache):
        return
    if flags.is_copy(cache):
        yield f"{where}: a copy of a bucket has none; its users can read the bucket"
    if cache.dataset.spec.data_restore_location is not None:
        yield f"{where}: it would make an empty file system before the backup is read; add it afterwards"
