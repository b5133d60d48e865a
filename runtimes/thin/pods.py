"""The pods of a ThinRuntime: what it says, over what its profile does. Pure."""

from __future__ import annotations

from addon_framework.api.meta import Json
from runtimes.fuse import client_pod
from runtimes.interface import Cache, level_paths
from runtimes.pods import mount
from runtimes.tiers import tiers
from runtimes.workloads import container, image, on_host, pod

_MERGED = ("env", "ports", "volumeMounts")  # the runtime's after the profile's; else the runtime's instead
_MAPS = ("options", "nodeSelector")


def profile_spec(cache: Cache) -> Json:
    """Of the cluster's profile; {} for a built-in one."""
    return (cache.profile or {}).get("spec") or {}


def effective(cache: Cache, part: str) -> Json:
    """`fuse` or `worker` of the profile with the runtime's over it."""
    profile, own = profile_spec(cache).get(part) or {}, cache.spec.get(part) or {}
    merged: Json = {**profile, **{k: v for k, v in own.items() if v not in (None, "", [], {}, False)}}
    for name in _MERGED:
        merged[name] = [*(profile.get(name) or []), *(own.get(name) or [])]
    for name in _MAPS:
        merged[name] = {**(profile.get(name) or {}), **(own.get(name) or {})}
    pulled = cache.spec.get("imagePullSecrets") or profile_spec(cache).get("imagePullSecrets")
    merged["imagePullSecrets"] = merged.get("imagePullSecrets") or pulled
    return merged


def metadata(cache: Cache, name: str) -> dict[str, str]:
    """Labels or annotations of clients: the profile's, the runtime's over them."""
    parts = (profile_spec(cache).get("fuse") or {}, cache.spec.get("fuse") or {})
    return {k: v for part in parts for k, v in ((part.get("podMetadata") or {}).get(name) or {}).items()}


def client(
    cache: Cache,
    fuse: Json,
    default: str = "",
    *,
    command: list[str],
    env: list[Json],
    args: list[str] | None = None,
    volumes: list[Json] | None = None,
    mounts: list[Json] | None = None,
    kind: str = "fuse",
) -> Json:
    """The client, of `fuse` as `effective` has it, or of the image `default`."""
    return client_pod(
        cache,
        name="thin-fuse",
        image=image(fuse, default),
        section=fuse,
        host=on_host(fuse.get("networkMode")),
        command=command,
        args=args or [],
        env=env,
        volumes=[*(volumes or []), *_volumes(cache, fuse)],
        mounts=mounts or [],
        kind=kind,
        **_fields(fuse),
    )


def worker(cache: Cache) -> Json:
    """A pod beside the clients: what its image does is its own affair."""
    section, (volumes, mounts) = effective(cache, "worker"), cache_directory(cache)
    made = container(
        "thin-worker",
        image(section, ""),
        section,
        command=[],
        mounts=mounts,
        **{"securityContext": {"privileged": True}, **_fields(section)},
    )
    host = on_host(section.get("networkMode"))
    return pod(cache, section, [made], [*volumes, *_volumes(cache, section)], host=host)


def cache_directory(cache: Cache) -> tuple[list[Json], list[Json]]:
    """The tier, where the image expects it: at its own path, which on the node is one of this cache's own."""
    levels = (cache.spec.get("tieredstore") or {}).get("levels") or []
    volumes: list[Json] = []
    mounts: list[Json] = []
    for tier, level in zip(tiers(cache, limited=False)[:1], levels[:1], strict=True):
        volumes += tier.volumes
        mounts += [mount(v["name"], root) for v, root in zip(tier.volumes, level_paths(level), strict=True)]
    return volumes, mounts


def _volumes(cache: Cache, section: Json) -> list[Json]:
    """The profile's that are mounted; the runtime's own come anyway, and before one of the same name."""
    used = {mounted["name"] for mounted in section.get("volumeMounts") or []}
    own = {volume.get("name") for volume in cache.spec.get("volumes") or []}
    return [v for v in profile_spec(cache).get("volumes") or [] if v["name"] in used - own]


def _fields(section: Json) -> Json:
    """What a container takes as it is."""
    made: Json = {n: section[n] for n in ("livenessProbe", "readinessProbe") if section.get(n)}
    if pre_stop := (section.get("lifecycle") or {}).get("preStop"):
        made["lifecycle"] = {"preStop": pre_stop}
    return made
