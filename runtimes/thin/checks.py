"""What is wrong with a ThinRuntime, its Dataset or its profile, and what has no effect, by field. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from addon_framework.api.meta import Json
from runtimes.fuse import root_only
from runtimes.interface import Cache
from runtimes.options import flag_problems, unknown_options
from runtimes.pods import CREDENTIALS
from runtimes.presence import POLICIES
from runtimes.schemes import elsewhere
from runtimes.source.s3 import OPTIONS
from runtimes.thin.pods import effective, profile_spec
from runtimes.thin.profile import HOST_VOLUME, host_volumes
from runtimes.tiers import tier_problems

_TYPE = re.compile(r"[A-Za-z0-9._-]+")
_WITHOUT_EFFECT = {
    "spec.runAs": "a client mounts as root",
    "spec.disablePrometheus": "clients are not scraped",
    "spec.tieredstore.levels.high": "clients are not told",
    "spec.tieredstore.levels.low": "clients are not told",
}
_OF_PROFILES = {"Dataset.spec.owner": "only the image knows whose its files are; see spec.fuse.options"}
_POST_START = "is not possible; mount in the container's command"
_WORKER = "there are workers only where spec.worker.enabled is true"


def without_effect(cache: Cache) -> dict[str, str]:
    """By profile."""
    found = dict(_WITHOUT_EFFECT)
    if not effective(cache, "worker").get("enabled"):
        found["spec.worker"] = _WORKER
    if cache.profile is not None:
        return {**found, **_OF_PROFILES}
    found["Dataset.spec.mounts.shared"] = "there is one mount only"
    found |= root_only(cache)
    if cache.spec.get("profileName") == "s3fs":
        found["spec.tieredstore"] = "s3fs keeps nothing; profile rclone does"
    return found


def of_profile(cache: Cache) -> list[str]:
    """What the contract needs."""
    fuse, where = effective(cache, "fuse"), f"{cache.title}: spec"
    dataset = f"Dataset {cache.namespace}/{cache.name}: spec.mounts"
    found = [*_tiers(cache), *_mounted(cache, "fuse")]
    if not fuse.get("image"):
        found.append(f"{where}.fuse.image: neither the runtime nor the profile names one")
    if (fuse.get("lifecycle") or {}).get("postStart"):
        found.append(f"{where}.fuse.lifecycle.postStart: {_POST_START}")
    worker = effective(cache, "worker")
    if worker.get("enabled"):
        found += _mounted(cache, "worker")
        if not worker.get("image"):
            found.append(f"{where}.worker.image: neither the runtime nor the profile names one")
        if worker.get("replicas"):
            found.append(f"{where}.worker.replicas: is spec.replicas")
    paths = [source.path for source in cache.sources]
    if len(set(paths)) < len(paths):
        found.append(f"{dataset}: two have one path; give each its own")
    for number, source in enumerate(cache.sources):
        if source.scheme == "pvc":
            found.append(
                f"{dataset}[{number}].mountPoint: {source.url!r}: a client cannot mount a claim; name the "
                "storage itself, or use a LocalRuntime or AlluxioRuntime"
            )
    try:
        host_volumes(cache)
    except ValueError as error:
        found.append(f"{dataset}: options.{HOST_VOLUME}: {error}")
    return [*found, *alone(cache.profile or {})]


def alone(profile: Json) -> list[str]:
    """What is wrong with a profile, whoever uses it."""
    name, spec = (profile.get("metadata") or {}).get("name", ""), profile.get("spec") or {}
    where = f"ThinRuntimeProfile {name}: spec"
    fuse, worker = spec.get("fuse") or {}, spec.get("worker") or {}
    kind, found = str(spec.get("fileSystemType") or ""), []
    if not _TYPE.fullmatch(kind):
        found.append(f"{where}.fileSystemType: {kind!r} must be as mount shows it: fuse.x, nfs")
    if spec.get("nodePublishSecretPolicy") == "CopyNodePublishSecretAndMountIfNotExists":
        found.append(f"{where}.nodePublishSecretPolicy: is about claims, which a client cannot mount")
    if (fuse.get("lifecycle") or {}).get("postStart"):
        found.append(f"{where}.fuse.lifecycle.postStart: {_POST_START}")
    if (said := fuse.get("cleanPolicy")) and said not in POLICIES:
        found.append(f"{where}.fuse.cleanPolicy: {said!r} is none of {', '.join(POLICIES)}")
    if worker.get("enabled") and worker.get("replicas"):
        found.append(f"{where}.worker.replicas: is spec.replicas of each ThinRuntime")
    return found


def of_built_in(cache: Cache, name: str) -> list[str]:
    """One S3 source, options that the program knows, and nothing that is the program's own."""
    where, title = f"Dataset {cache.namespace}/{cache.name}: spec.mounts", cache.title
    if len(cache.sources) != 1:
        return [f"{where}: profile {name} mounts exactly one source, there are {len(cache.sources)}"]
    source, found = cache.sources[0], [*_tiers(cache), *_mounted(cache, "fuse")]
    if source.scheme != "s3":
        wrong = f"{where}[0].mountPoint: {source.url!r} must be s3://bucket/prefix"
        found.append(f"{wrong}{elsewhere(source.scheme, cache.runtime['kind'])}")
    found += unknown_options(cache, 0, OPTIONS, [*CREDENTIALS])
    fuse: Json = cache.spec.get("fuse") or {}
    found += flag_problems(f"{title}: spec.fuse.options", fuse.get("options") or {})
    found += [
        f"{title}: spec.fuse.{field}: is the built-in profile's own; make a ThinRuntimeProfile"
        for field in ("command", "args")
        if fuse.get(field)
    ]
    if (fuse.get("lifecycle") or {}).get("postStart"):
        found.append(f"{title}: spec.fuse.lifecycle.postStart: is not possible")
    if (cache.spec.get("worker") or {}).get("enabled"):
        found.append(f"{title}: spec.worker.enabled: profile {name} has no workers")
    return found


def _tiers(cache: Cache) -> Iterator[str]:
    yield from tier_problems(cache, limited=False)
    if len((cache.spec.get("tieredstore") or {}).get("levels") or []) > 1:
        yield f"{cache.title}: spec.tieredstore.levels: a client takes one"


def _mounted(cache: Cache, part: str) -> Iterator[str]:
    """Mounts of volumes that neither has."""
    volumes = [*(cache.spec.get("volumes") or []), *(profile_spec(cache).get("volumes") or [])]
    known = {volume.get("name") for volume in volumes}
    where = f"{cache.title}: spec.{part}.volumeMounts"
    for number, each in enumerate(effective(cache, part)["volumeMounts"]):
        if each.get("name") not in known:
            yield f"{where}[{number}].name: spec.volumes has no {each.get('name')!r}"
