"""The description of the `local` backend. Pure but for `measure`."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping

from addon_framework.api.data import DataLoad, LocalRuntime
from addon_framework.api.meta import Json
from runtimes import backup_pods
from runtimes.interface import (
    Backend,
    Backup,
    Cache,
    Component,
    Migration,
    SecretKey,
    Service,
    Source,
    Task,
    Volume,
    unknown,
)
from runtimes.loading import option_problems
from runtimes.local.peers import PORT
from runtimes.measure import measure, version
from runtimes.migrate import migrate_task
from runtimes.node.command import clean_pod
from runtimes.pods import (
    CREDENTIALS,
    claim,
    credential_env,
    field,
    from_secret,
    host_path,
    literal,
    mount,
    overrides,
)
from runtimes.source import SCHEMES, hub, s3
from runtimes.tiers import ratio

_SCHEMES = (*SCHEMES, "pvc")
_NEAR = ("file", "local", "pvc")
_OPTIONS = {"s3": s3.OPTIONS, "hf": hub.OPTIONS}


class LocalBackend(Backend):
    """A full copy on each node, in a directory that pods mount as it is."""

    type = "local"
    resource = LocalRuntime.RESOURCE
    restores = True

    def validate(self, cache: Cache) -> list[str]:
        """Sources it can read, options it knows, one directory, and read-only."""
        problems = list(_invalid_tier(cache))
        if not cache.sources:
            problems.append(f"Dataset {cache.namespace}/{cache.name}: spec.mounts: at least one is needed")
        if not cache.read_only:
            problems.append(
                f"Dataset {cache.namespace}/{cache.name}: spec.accessModes: {cache.title} is a copy, so only "
                "ReadOnlyMany is possible"
            )
        for number, source in enumerate(cache.sources):
            field = f"Dataset {cache.namespace}/{cache.name}: spec.mounts[{number}]"
            if source.scheme not in _SCHEMES:
                problems.append(f"{field}.mountPoint: {source.url!r} must be one of {', '.join(_SCHEMES)}")
            known = ", ".join(options := _OPTIONS.get(source.scheme, ()))
            if names := unknown(options, source.options):
                problems.append(f"{field}.options: unknown {', '.join(names)}; known: {known or 'none'}")
            if source.scheme in ("file", "local") and not _path(source).startswith("/"):
                problems.append(f"{field}.mountPoint: {source.url!r} must be {source.scheme}:///path")
            if names := unknown([*CREDENTIALS], source.secrets):
                known = ", ".join(CREDENTIALS)
                problems.append(f"{field}.encryptOptions: unknown {', '.join(names)}; known: {known}")
        return problems

    def components(self, cache: Cache) -> list[Component]:
        """A worker on each node of the cache."""
        pod = self._pod(cache, "runtimes.local.worker", {}, credentials=False)
        pod |= overrides(cache.spec.get("worker") or {})
        if not _shares(cache):
            return [Component("worker", pod, self.scale(cache))]
        pod["containers"][0]["env"].append(field("POD_IP", "status.podIP"))
        pod["containers"][0]["ports"] = [{"name": "peers", "containerPort": PORT}]
        service = Service(_service(cache), {"peers": PORT})
        return [Component("worker", pod, self.scale(cache), services=[service])]

    def volume(self, cache: Cache) -> Volume:
        """At once: the directory shows complete files only, and a pod may wait for those it needs."""
        return Volume(f"{cache.directory}/data")

    def warm(self, cache: Cache, load: DataLoad) -> Task:
        """The loader, which shares its directory with the worker."""
        extra: Json = {"targets": [target.path for target in load.spec.target] or ["/"]}
        if load.spec.options.get("threads"):
            extra["threads"] = int(load.spec.options["threads"])
        if load.spec.options.get("pin") == "true":
            extra["pin"] = True
        return Task(self._pod(cache, "runtimes.local.loader", extra, credentials=True))

    def load_problems(self, cache: Cache, load: DataLoad) -> list[str]:
        """Options; each load lists the source anew, so `loadMetadata` needs nothing more."""
        return option_problems(load, ("threads", "pin"))

    def clean(self, cache: Cache) -> Task:
        """Removes the directory."""
        return Task(clean_pod(cache.image, remove=[cache.directory]))

    def migrate(self, cache: Cache, migration: Migration) -> Task | str:
        """By our own program."""
        return migrate_task(cache, migration)

    def backup(self, cache: Cache, backup: Backup) -> Task:
        """What is there, with checksums; the files too, if wanted."""
        volume, mounted = backup_pods.volume(backup.url, read_only=False)
        container = {
            "name": "backup",
            "image": cache.image,
            "command": ["python", "-m", "runtimes.local.backup"],
            "env": [
                literal("DIRECTORY", cache.directory),
                literal("CONTENTS", str(backup.contents).lower()),
                *backup_pods.variables(cache, backup),
            ],
            "volumeMounts": [mount("cache", cache.directory, read_only=True), mounted],
        }
        return Task({"containers": [container], "volumes": [host_path("cache", cache.directory), volume]})

    async def version(self, cache: Cache, secrets: Mapping[SecretKey, str]) -> str | None:
        """Of what can be listed."""
        return await asyncio.to_thread(version, cache, secrets)

    async def measure(self, cache: Cache, secrets: Mapping[SecretKey, str]) -> tuple[int, int] | None:
        """Files of the node can only be counted there; the loader does."""
        return await asyncio.to_thread(measure, cache, secrets)

    def _pod(self, cache: Cache, module: str, extra: Json, *, credentials: bool) -> Json:
        volumes, mounts = [host_path("cache", cache.directory)], [mount("cache", cache.directory)]
        sources: list[Json] = []
        env: list[Json] = []
        for number, source in enumerate(cache.sources):
            url = source.url
            if credentials or _shares(cache):
                # A worker only derives a token from them, and does its work without.
                env += credential_env(source, f"SOURCE{number}_", optional=not credentials)
            if credentials and source.scheme in ("file", "local"):
                path = _path(source)
                volumes.append(host_path(f"source-{number}", path, ""))
                mounts.append(mount(f"source-{number}", path, read_only=True))
            if credentials and source.scheme == "pvc":
                volume, made, url = claim(source, f"source-{number}", read_only=True)
                volumes.append(volume)
                mounts.append(made)
            sources.append({"url": url, "path": source.path, "options": dict(source.options)})
        specification: Json = {
            "directory": cache.directory,
            "owner": cache.title,
            "sources": sources,
            **extra,
        }
        if cache.quota is not None:
            specification |= {"quota": cache.quota, **_marks(cache)}
        if (location := cache.dataset.spec.data_restore_location) is not None:
            volume, made = backup_pods.volume(location.path, read_only=True)
            volumes.append(volume)
            mounts.append(made)
            specification["restore"] = {
                "backup": backup_pods.directory(location.path),
                "name": cache.name,
                "namespace": cache.namespace,
                "node": location.node_name if location.path.startswith("local://") else "",
            }
            env.append(field("NODE_NAME", "spec.nodeName"))
        if _shares(cache):
            addresses = list(_peers(cache).get("addresses") or ())
            service = f"{_service(cache)}.{cache.namespace}.svc"
            specification["peers"] = {"service": service, "addresses": addresses}
            if token := _token(cache):
                env.append(from_secret("PEERS_TOKEN", token))
        env.insert(0, literal("CACHE", json.dumps(specification, sort_keys=True)))
        container = {
            "name": "cache",
            "image": cache.image,
            "command": ["python", "-m", module],
            "env": env,
            "volumeMounts": mounts,
        }
        resources = (cache.spec.get("worker") or {}).get("resources")
        if resources:
            container["resources"] = resources
        return {"containers": [container], "volumes": volumes}


def _peers(cache: Cache) -> Json:
    return cache.spec.get("peers") or {}


def _shares(cache: Cache) -> bool:
    """Whether nodes fetch from each other. What lies in the cluster needs a token, having no credentials."""
    needs_token = any(source.scheme in _NEAR for source in cache.sources)
    return bool(_peers(cache).get("enabled", True)) and (not needs_token or _token(cache) is not None)


def _token(cache: Cache) -> SecretKey | None:
    """Where the token is that nodes show each other, if the user has one."""
    said = _peers(cache).get("tokenSecret")
    return SecretKey(said["name"], said.get("key") or "token") if said else None


def _marks(cache: Cache) -> dict[str, float]:
    """The watermarks, as parts of the quota; those that are there."""
    level = (cache.spec.get("tieredstore") or {}).get("levels", [{}])[0]
    return {name: float(level[name]) for name in ("high", "low") if level.get(name)}


def _service(cache: Cache) -> str:
    """Stands for all workers; at most 63 characters."""
    name = f"{cache.name}-peers"
    return name if len(name) <= 63 else f"peers-{hashlib.sha256(cache.name.encode()).hexdigest()[:10]}"


def _path(source: Source) -> str:
    return source.url.partition("://")[2]


def _invalid_tier(cache: Cache) -> list[str]:
    field = f"{cache.title}: spec.tieredstore"
    levels = (cache.spec.get("tieredstore") or {}).get("levels") or []
    if len(levels) > 1:
        return [f"{field}.levels: one level is possible, there are {len(levels)}"]
    for level in levels:
        path = str(level.get("path") or "/")
        if not path.startswith("/") or "," in path or ".." in path.split("/"):
            return [f"{field}.levels[0].path: {path!r} must be one absolute path"]
        if level.get("volumeType", "hostPath") != "hostPath":
            return [f"{field}.levels[0].volumeType: must be hostPath, since other pods mount the directory"]
        for name in ("high", "low"):
            try:
                ratio(f"levels[0].{name}", str(level.get(name) or ""))
            except ValueError as error:
                return [f"{field}.{error}"]
    try:
        if cache.quota is not None and cache.quota <= 0:
            return [f"{field}.levels[0].quota: must be more than 0"]
    except ValueError as error:
        return [f"{field}.levels[0].quota: {error}"]
    return []
