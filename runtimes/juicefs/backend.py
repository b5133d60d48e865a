"""The description of the `juicefs` backend.

Two ways. `juicefs://` mounts a file system that exists, as Fluid does (community edition: `metaurl` in
encryptOptions). `s3://` makes a JuiceFS volume of the node's own, with its metadata in SQLite and its blocks
in the cache's directory, which a DataLoad fills from the bucket.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import urlsplit

from addon_framework.api.data import DataLoad, JuiceFSRuntime
from addon_framework.api.meta import Json
from runtimes import backup_pods
from runtimes.fuse import ClientBackend, client_pod
from runtimes.interface import Backup, Cache, Component, Source, Task
from runtimes.juicefs import checks, flags, gateway
from runtimes.juicefs.scripts import BACKUP, MOUNT, SYNC, WARMUP
from runtimes.loading import option_problems
from runtimes.options import flag_problems
from runtimes.pods import credential_env, host_path, literal, mount
from runtimes.sources import SourceBackend
from runtimes.workloads import container, on_host, pod

_THREADS = "16"
_WARMUP_OPTIONS = ("threads", "timeout", "background", "io-retries", "max-failure")


class JuiceFSBackend(ClientBackend, SourceBackend):
    """A client per node; community mounts share no cache, so each node has its own."""

    type = "juicefs"
    resource = JuiceFSRuntime.RESOURCE
    restores = True

    def validate(self, cache: Cache) -> list[str]:
        """One source, of a kind it can mount or be filled from."""
        return checks.problems(cache)

    def without_effect(self, cache: Cache) -> Mapping[str, str]:
        """What is of pods that JuiceFS does not need."""
        return checks.without_effect(cache)

    def components(self, cache: Cache) -> list[Component]:
        """The client; on as many nodes as have a copy."""
        section, (volumes, mounts) = cache.spec.get("fuse") or {}, flags.volumes(cache)
        copy = flags.is_copy(cache)
        env = [
            *flags.environment(cache),
            *flags.limit(cache),
            literal("OPTIONS", flags.mount_options(cache)),
        ]
        if (location := cache.dataset.spec.data_restore_location) is not None:
            volume, mounted = backup_pods.volume(location.path, read_only=True)
            volumes.append(volume)
            mounts.append(mounted)
            env += backup_pods.restore_variables(cache)
        client = client_pod(
            cache,
            name="juicefs-fuse",
            image=flags.container_image(cache),
            section=section,
            host=on_host(section.get("networkMode")),
            command=["sh", "-c", MOUNT],
            env=env,
            volumes=volumes,
            mounts=mounts,
            sealed=copy,  # JuiceFS's --read-only refuses all writes but a warm-up's to .control
        )
        made = [Component("client", client, self.scale(cache) if copy else None, portable=not copy)]
        return [gateway.component(cache), *made] if gateway.secret(cache) else made

    def gateway(self, cache: Cache) -> str:
        """Where it speaks S3."""
        return f"{gateway.name(cache)}.{cache.namespace}:{gateway.PORT}" if gateway.secret(cache) else ""

    def directories(self, cache: Cache) -> list[str]:
        """With metadata and blocks."""
        return [path for path, volume in flags.directories(cache) if "hostPath" in volume]

    def shown(self, cache: Cache) -> list[Source]:
        """The one source is the mount's root."""
        return [replace(source, path="/") for source in cache.sources]

    def warm(self, cache: Cache, load: DataLoad) -> Task:
        """From the bucket into the node's volume, or a warm-up through the client's mount."""
        targets = "\n".join(target.path.strip("/") for target in load.spec.target) or ""
        given = [f"--threads={load.spec.options.get('threads') or _THREADS}"]
        source = cache.sources[0]
        limit = literal("LIMIT", f"timeout {t}" if (t := load.spec.options.get("timeout")) else "")
        if source.scheme == "juicefs":
            others = [(k, v) for k, v in load.spec.options.items() if k not in ("threads", "timeout")]
            given += [f"--{k}={v}" if v else f"--{k}" for k, v in others]
            env = [literal("MOUNT_POINT", cache.mount_point), literal("TARGETS", targets)]
            return self._task(
                cache, WARMUP, [*env, limit, literal("FLAGS", " ".join(given))], after_client=True
            )
        region = source.options.get("region") or "us-east-1"
        endpoint = urlsplit(source.options.get("endpoint") or f"https://s3.{region}.amazonaws.com")
        if endpoint.scheme == "http":
            given.append("--no-https")
        prefix = source.url.removeprefix("s3://").strip("/")
        env = [
            *flags.environment(cache),
            limit,
            literal("SOURCE", f"minio://{endpoint.netloc}/{prefix}/"),
            literal("TARGETS", "\n".join(f"{t}/" if t else "" for t in targets.split("\n"))),
            literal("FLAGS", " ".join(given)),
            literal("MINIO_REGION", region),
            *credential_env(source, "MINIO_"),
        ]
        return self._task(cache, SYNC, env, after_client=False)

    def load_problems(self, cache: Cache, load: DataLoad) -> list[str]:
        """Flags of `juicefs warmup`; a copy of a bucket knows fewer."""
        own = flags.is_copy(cache)
        problems = option_problems(load, ("threads", "timeout") if own else _WARMUP_OPTIONS)
        return [*problems, *flag_problems("spec.options", load.spec.options)]

    def backup(self, cache: Cache, backup: Backup) -> Task | str:
        """The metadata of a file system, by `juicefs dump`; its data are in its object store."""
        if flags.is_copy(cache):
            return f"spec.dataset: {checks.NOTHING}"
        made = backup_pods.volume(backup.url, read_only=False)
        env = [*flags.environment(cache), *backup_pods.variables(cache, backup)]
        return Task(_pod(cache, "juicefs-backup", BACKUP, env, *made), after="client")

    def _task(self, cache: Cache, script: str, env: list[Json], *, after_client: bool) -> Task:
        # The loader works on the node's volume itself; a warm-up talks to the client through its mount.
        path = cache.mount_point if after_client else cache.directory
        made = mount("cache", path, propagation="HostToContainer" if after_client else "")
        loading = _pod(cache, "juicefs-load", script, env, host_path("cache", path), made)
        return Task(loading, after="client" if after_client else "none")


def _pod(cache: Cache, name: str, script: str, env: list[Json], volume: Json, mounted: Json) -> Json:
    """With the client's program, environment, network and volumes: one may have the metadata."""
    fuse = cache.spec.get("fuse") or {}
    made = container(
        name,
        flags.container_image(cache),
        {field: fuse.get(field) for field in ("env", "volumeMounts")},
        command=["sh", "-c", script],
        env=env,
        mounts=[mounted],
    )
    return pod(cache, {}, [made], [volume], host=on_host(fuse.get("networkMode")))
