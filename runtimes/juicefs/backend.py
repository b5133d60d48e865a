"""The description of the `juicefs` backend. Pure but for `measure`.

Two ways. `juicefs://` mounts a file system that exists, as Fluid does (community edition: `metaurl` in
encryptOptions). `s3://` makes a JuiceFS volume of the node's own, with its metadata in SQLite and its blocks
in the cache's directory, which a DataLoad fills from the bucket.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import urlsplit

from addon_framework.api.data import DataLoad, JuiceFSRuntime
from addon_framework.api.meta import Json
from runtimes import backup_pods
from runtimes.fuse import client_pod
from runtimes.interface import (
    Backend,
    Backup,
    Cache,
    Component,
    Migration,
    SecretKey,
    Source,
    Task,
    Volume,
    unknown,
)
from runtimes.juicefs.scripts import BACKUP, MOUNT, SYNC, WARMUP
from runtimes.loading import option_problems
from runtimes.measure import measure
from runtimes.measure import version as version_of
from runtimes.migrate import migrate_task
from runtimes.node.command import clean_pod
from runtimes.pods import (
    CREDENTIALS,
    credential_env,
    from_secret,
    host_path,
    literal,
    mount,
    overrides,
    version,
)
from runtimes.source.s3 import OPTIONS

IMAGE = "juicedata/juicefs-fuse"
_THREADS = "16"
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{1,61}[a-z0-9])")
_FORMAT_OPTIONS = ("storage", "bucket")
_WARMUP_OPTIONS = ("threads", "timeout", "background", "io-retries", "max-failure")
_NOTHING = "a copy of a bucket has nothing that the bucket has not; load it anew"
_PLAIN = re.compile(r"[A-Za-z0-9_./:=,@%+-]*")


class JuiceFSBackend(Backend):
    """A client per node; community mounts share no cache, so each node has its own."""

    type = "juicefs"
    resource = JuiceFSRuntime.RESOURCE
    restores = True

    def validate(self, cache: Cache) -> list[str]:
        """One source, of a kind it can mount or be filled from."""
        where = f"Dataset {cache.namespace}/{cache.name}: spec.mounts"
        if len(cache.sources) != 1:
            return [f"{where}: JuiceFS takes exactly one, there are {len(cache.sources)}"]
        source, problems = cache.sources[0], []
        if source.scheme == "s3":
            if names := unknown(OPTIONS, source.options):
                problems.append(
                    f"{where}[0].options: unknown {', '.join(names)}; known: {', '.join(OPTIONS)}"
                )
            if names := unknown([*CREDENTIALS], source.secrets):
                problems.append(f"{where}[0].encryptOptions: unknown {', '.join(names)}")
            if not cache.read_only:
                problems.append(
                    f"Dataset {cache.namespace}/{cache.name}: spec.accessModes: a copy of a bucket can "
                    "only be ReadOnlyMany"
                )
            if cache.dataset.spec.data_restore_location is not None:
                problems.append(
                    f"Dataset {cache.namespace}/{cache.name}: spec.dataRestoreLocation: {_NOTHING}"
                )
        elif source.scheme == "juicefs":
            if "metaurl" not in source.secrets:
                problems.append(f"{where}[0].encryptOptions: metaurl is needed (community edition)")
            if not _NAME.fullmatch(source.name):
                problems.append(
                    f"{where}[0].name: {source.name!r} must be 3 to 63 letters, digits and dashes"
                )
        else:
            problems.append(
                f"{where}[0].mountPoint: {source.url!r} must be juicefs:///path or s3://bucket/prefix"
            )
        for field, texts in (
            ("configs", cache.spec.get("configs") or []),
            ("fuse.options", [f"{k}={v}" for k, v in self._fuse_options(cache).items()]),
        ):
            problems += [
                f"{cache.title}: spec.{field}: {text!r} has characters that a flag cannot have"
                for text in texts
                if not _PLAIN.fullmatch(text)
            ]
        try:
            cache.quota  # noqa: B018 - it raises
        except ValueError as error:
            problems.append(f"{cache.title}: spec.tieredstore.levels[0].quota: {error}")
        return problems

    def components(self, cache: Cache) -> list[Component]:
        """The client; on as many nodes as have a cache."""
        own = cache.sources[0].scheme == "s3"
        pod = client_pod(
            cache,
            name="juicefs-fuse",
            image=self._image(cache),
            command=["sh", "-c", MOUNT],
            env=[*self._env(cache), literal("OPTIONS", self._mount_options(cache))],
            volumes=[host_path("cache", cache.directory), *(cache.spec.get("volumes") or [])],
            mounts=[
                mount("cache", cache.directory),
                *((cache.spec.get("fuse") or {}).get("volumeMounts") or []),
            ],
        )
        if (location := cache.dataset.spec.data_restore_location) is not None:
            volume, mounted = backup_pods.volume(location.path, read_only=True)
            pod["volumes"].append(volume)
            pod["containers"][0]["volumeMounts"].append(mounted)
            pod["containers"][0]["env"] += backup_pods.restore_variables(cache)
        if resources := (cache.spec.get("fuse") or {}).get("resources"):
            pod["containers"][0]["resources"] = resources
        pod |= overrides(cache.spec.get("fuse") or {})
        return [Component("client", pod, self.scale(cache) if own else None, portable=not own)]

    def volume(self, cache: Cache) -> Volume:
        """The mount."""
        return Volume(cache.mount_point, after="client")

    def shown(self, cache: Cache) -> list[Source]:
        """The one source is the mount's root."""
        return [replace(source, path="/") for source in cache.sources]

    def warm(self, cache: Cache, load: DataLoad) -> Task:
        """From the bucket into the node's volume, or a warm-up through the client's mount."""
        targets = "\n".join(target.path.strip("/") for target in load.spec.target) or ""
        flags = [f"--threads={load.spec.options.get('threads') or _THREADS}"]
        source = cache.sources[0]
        limit = literal("LIMIT", f"timeout {t}" if (t := load.spec.options.get("timeout")) else "")
        if source.scheme == "juicefs":
            others = [(k, v) for k, v in load.spec.options.items() if k not in ("threads", "timeout")]
            flags += [f"--{k}={v}" if v else f"--{k}" for k, v in others]
            env = [literal("MOUNT_POINT", cache.mount_point), literal("TARGETS", targets)]
            return self._task(
                cache, WARMUP, [*env, limit, literal("FLAGS", " ".join(flags))], after_client=True
            )
        region = source.options.get("region") or "us-east-1"
        endpoint = urlsplit(source.options.get("endpoint") or f"https://s3.{region}.amazonaws.com")
        if endpoint.scheme == "http":
            flags.append("--no-https")
        prefix = source.url.removeprefix("s3://").strip("/")
        env = [
            *self._env(cache),
            limit,
            literal("SOURCE", f"minio://{endpoint.netloc}/{prefix}/"),
            literal("TARGETS", "\n".join(f"{t}/" if t else "" for t in targets.split("\n"))),
            literal("FLAGS", " ".join(flags)),
            literal("MINIO_REGION", region),
            *credential_env(source, "MINIO_"),
        ]
        return self._task(cache, SYNC, env, after_client=False)

    def load_problems(self, cache: Cache, load: DataLoad) -> list[str]:
        """Flags of `juicefs warmup`; a copy of a bucket knows fewer."""
        own = cache.sources[0].scheme == "s3"
        problems = option_problems(load, ("threads", "timeout") if own else _WARMUP_OPTIONS)
        return problems + [
            f"spec.options.{name}: {value!r} has characters that a flag cannot have"
            for name, value in load.spec.options.items()
            if not _PLAIN.fullmatch(value)
        ]

    def clean(self, cache: Cache) -> Task:
        """The mount, and the directory with metadata and blocks."""
        return Task(clean_pod(cache.image, unmount=[cache.mount_point], remove=[cache.directory]))

    def backup(self, cache: Cache, backup: Backup) -> Task | str:
        """The metadata of a file system, by `juicefs dump`; its data are in its object store."""
        if cache.sources[0].scheme == "s3":
            return f"spec.dataset: {_NOTHING}"
        volume, mounted = backup_pods.volume(backup.url, read_only=False)
        container: Json = {
            "name": "juicefs-backup",
            "image": self._image(cache),
            "command": ["sh", "-c", BACKUP],
            "env": [*self._env(cache), *backup_pods.variables(cache, backup)],
            "volumeMounts": [mounted],
        }
        return Task({"containers": [container], "volumes": [volume]}, after="client")

    def migrate(self, cache: Cache, migration: Migration) -> Task | str:
        """By our own program."""
        return migrate_task(cache, migration)

    async def version(self, cache: Cache, secrets: Mapping[SecretKey, str]) -> str | None:
        """Of what can be listed."""
        return await asyncio.to_thread(version_of, cache, secrets)

    async def measure(self, cache: Cache, secrets: Mapping[SecretKey, str]) -> tuple[int, int] | None:
        """Of a bucket; a JuiceFS file system tells only its clients."""
        return await asyncio.to_thread(measure, cache, secrets)

    def _task(self, cache: Cache, script: str, env: list[Json], *, after_client: bool) -> Task:
        # The loader works on the node's volume itself; a warm-up talks to the client through its mount.
        path = cache.mount_point if after_client else cache.directory
        propagation = "HostToContainer" if after_client else ""
        container: Json = {
            "name": "juicefs-load",
            "image": self._image(cache),
            "command": ["sh", "-c", script],
            "env": env,
            "volumeMounts": [mount("cache", path, propagation=propagation)],
        }
        pod: Json = {"containers": [container], "volumes": [host_path("cache", path)]}
        return Task(pod, after="client" if after_client else "none")

    def _image(self, cache: Cache) -> str:
        fuse = cache.spec.get("fuse") or {}
        if fuse.get("image"):
            return f"{fuse['image']}:{fuse['imageTag']}" if fuse.get("imageTag") else str(fuse["image"])
        return version(cache, "juicefsVersion", IMAGE)

    def _env(self, cache: Cache) -> list[Json]:
        """Which volume, and how it is formatted when it is not yet."""
        source, configs = cache.sources[0], [f"--{text}" for text in cache.spec.get("configs") or []]
        directory = literal("DIRECTORY", cache.directory)
        if source.scheme == "s3":
            flags = ["--storage=file", f"--bucket={cache.directory}/blocks/", "--trash-days=0", *configs]
            if cache.quota is not None:
                flags.append(f"--capacity={max(1, -(-cache.quota // (1 << 30)))}")
            url = literal("METAURL", f"sqlite3://{cache.directory}/meta.db")
            return [directory, url, literal("NAME", "cache"), literal("FORMAT", " ".join(flags))]
        flags = [f"--{k}={source.options[k]}" for k in _FORMAT_OPTIONS if k in source.options]
        secrets = [
            from_secret("METAURL" if name == "metaurl" else name.upper().replace("-", "_"), key)
            for name, key in sorted(source.secrets.items())
        ]
        return [
            directory,
            literal("NAME", source.name),
            literal("FORMAT", " ".join([*configs, *flags])),
            *secrets,
            *((cache.spec.get("fuse") or {}).get("env") or []),
        ]

    def _fuse_options(self, cache: Cache) -> dict[str, str]:
        """Dataset's options, then the runtime's, as Fluid orders them."""
        source = cache.sources[0]
        given = {} if source.scheme == "s3" else dict(source.options)
        fuse = (cache.spec.get("fuse") or {}).get("options") or {}
        return {k: v for k, v in {**given, **fuse}.items() if k not in (*_FORMAT_OPTIONS, "quota")}

    def _mount_options(self, cache: Cache) -> str:
        source = cache.sources[0]
        # Blocks on the node's own disk need no second copy, nor backups and jobs besides the loader's.
        if source.scheme == "s3":
            options = ["--cache-size=0", "--backup-meta=0", "--no-bgjob"]
        else:
            options = [f"--cache-dir={cache.directory}/cache"]
            if cache.quota is not None:
                options.append(f"--cache-size={cache.quota >> 20}")
            if path := source.url.removeprefix("juicefs://").strip("/"):
                options.append(f"--subdir=/{path}")
        if cache.read_only:
            options.append("--read-only")
        options += [f"--{k}={v}" if v else f"--{k}" for k, v in self._fuse_options(cache).items()]
        # The default metrics port is one for all; port 0 takes any.
        return " ".join(["-o allow_other", "--metrics=127.0.0.1:0", *options])
