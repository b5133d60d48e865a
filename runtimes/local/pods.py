"""The pods of a LocalRuntime: a worker on every node of the cache, and a loader. Pure."""

from __future__ import annotations

import hashlib
import json

from addon_framework.api.meta import Json
from runtimes import backup_pods
from runtimes.interface import Cache, SecretKey, Source
from runtimes.pods import claim, credential_env, field, from_secret, host_path, literal, mount, options_of

FILES = ("file", "local")  # schemes that are directories of the node
NEAR = (*FILES, "pvc")


def pod(cache: Cache, module: str, extra: Json, *, credentials: bool) -> Json:
    """Of a worker or a loader, which share a directory; `extra` is what only the one is told."""
    volumes, mounts = [host_path("cache", cache.directory)], [mount("cache", cache.directory)]
    env: list[Json] = []
    if credentials or shares(cache):
        # A worker only derives a token from them, and does its work without.
        for number, source in enumerate(cache.sources):
            env += credential_env(source, f"SOURCE{number}_", optional=not credentials)
    near = [_near(source, number) for number, source in enumerate(cache.sources)]
    if credentials:
        volumes += [volume for volume, _, _ in near if volume]
        mounts += [made for _, made, _ in near if made]
    sources = [
        {"url": url if credentials else source.url, "path": source.path, "options": options_of(source)}
        for source, (_, _, url) in zip(cache.sources, near, strict=True)
    ]
    specification: Json = {
        "directory": cache.directory,
        "owner": cache.title,
        "sources": sources,
        **extra,
    }
    if (owner := cache.dataset.spec.owner) is not None:
        specification["ids"] = [owner.uid, owner.gid]
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
    if shares(cache):
        addresses = list(peers(cache).get("addresses") or ())
        name = f"{service(cache)}.{cache.namespace}.svc"
        specification["peers"] = {"service": name, "addresses": addresses}
        if said := token(cache):
            env.append(from_secret("PEERS_TOKEN", said))
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


def _near(source: Source, number: int) -> tuple[Json, Json, str]:
    """Volume and mount of a source in the cluster, and the URL at which the container finds it."""
    name = f"source-{number}"
    if source.scheme in FILES:
        return host_path(name, path(source), ""), mount(name, path(source), read_only=True), source.url
    if source.scheme == "pvc":
        return claim(source, name, read_only=True)
    return {}, {}, source.url


def peers(cache: Cache) -> Json:
    """What the runtime says of them."""
    return cache.spec.get("peers") or {}


def shares(cache: Cache) -> bool:
    """Whether nodes fetch from each other. What lies in the cluster needs a token, having no credentials."""
    needs_token = any(source.scheme in NEAR for source in cache.sources)
    return bool(peers(cache).get("enabled", True)) and (not needs_token or token(cache) is not None)


def token(cache: Cache) -> SecretKey | None:
    """Where the token is that nodes show each other, if the user has one."""
    said = peers(cache).get("tokenSecret")
    return SecretKey(said["name"], said.get("key") or "token") if said else None


def _marks(cache: Cache) -> dict[str, float]:
    """The watermarks, as parts of the quota; those that are there."""
    level = (cache.spec.get("tieredstore") or {}).get("levels", [{}])[0]
    return {name: float(level[name]) for name in ("high", "low") if level.get(name)}


def service(cache: Cache) -> str:
    """Stands for all workers."""
    return service_name(cache.name)


def service_name(name: str) -> str:
    """Of the Service of a Dataset's workers; at most 63 characters."""
    found = f"{name}-peers"
    return found if len(found) <= 63 else f"peers-{hashlib.sha256(name.encode()).hexdigest()[:10]}"


def path(source: Source) -> str:
    """Of file:///path."""
    return source.url.partition("://")[2]
