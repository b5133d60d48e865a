"""What is wrong with a JindoRuntime or its Dataset, and what of them has no effect, by field. Pure."""

from __future__ import annotations

from runtimes.interface import Cache, SecretKey
from runtimes.jindo import pods
from runtimes.jindo.config import KEYS, SCHEMES, key_files
from runtimes.options import field_of
from runtimes.schemes import elsewhere
from runtimes.tiers import tier_problems
from runtimes.workloads import memory_problems, port_problems, volume_problems

WITHOUT_EFFECT = {
    "spec.runAs": "JindoCache's servers run as root; spec.user is for its files",
    "Dataset.spec.owner": "files belong to whom they belong at the source, or to spec.user",
    "Dataset.spec.mounts.shared": "JindoCache does not know it",
}


def problems(cache: Cache) -> list[str]:
    """Sources, tiers, and what the parts say."""
    title, spec = cache.title, cache.spec
    found = [*tier_problems(cache), *memory_problems(cache), *volume_problems(cache, pods.PARTS)]
    for part, known in pods.PARTS.items():
        found += port_problems(cache, part, known)
    found += _sources(cache)
    if len((spec.get("tieredstore") or {}).get("levels") or []) > 1:
        found.append(f"{title}: spec.tieredstore.levels: JindoCache takes one, with several paths")
    if (count := (spec.get("master") or {}).get("replicas") or 1) not in (1, 3):
        found.append(f"{title}: spec.master.replicas: {count}; JindoCache has 1 or 3")
    if (spec.get("worker") or {}).get("replicas"):
        found.append(f"{title}: spec.worker.replicas: is spec.replicas")
    disabled = [bool((spec.get(part) or {}).get("disabled")) for part in ("master", "worker")]
    if len(set(disabled)) > 1:
        part = "master" if disabled[0] else "worker"
        found.append(f"{title}: spec.{part}.disabled: a cache has both master and worker, or neither")
    metrics = (spec.get("fuse") or {}).get("metrics") or {}
    if (target := metrics.get("scrapeTarget") or "None") not in ("None", "MountPod"):
        found.append(
            f"{title}: spec.fuse.metrics.scrapeTarget: {target!r} must be None or MountPod; a client that "
            "a pod brings along is in that pod, whose annotations are its user's"
        )
    elif target == "MountPod" and not metrics.get("enabled"):
        found.append(f"{title}: spec.fuse.metrics.enabled: nothing could be scraped without it")
    if (spec.get("fuse") or {}).get("disabled"):
        found.append(f"{title}: spec.fuse.disabled: pods could not mount the Dataset")
    if _labels(cache):
        found.append(f"{title}: spec.labels: is the old name of spec.podMetadata.labels; say one of them")
    return found


def _sources(cache: Cache) -> list[str]:
    where = f"Dataset {cache.namespace}/{cache.name}: spec.mounts"
    problems = [] if cache.sources else [f"{where}: at least one is needed"]
    kept: dict[str, SecretKey] = {}
    for number, source in enumerate(cache.sources):
        at, said = f"{where}[{number}]", source.options
        if source.scheme not in SCHEMES:
            wrong = f"{at}.mountPoint: {source.url!r}: Jindo reads {', '.join(SCHEMES)}"
            problems.append(f"{wrong}{elsewhere(source.scheme, cache.runtime['kind'])}")
        if source.scheme == "oss" and not said.get("fs.oss.endpoint"):
            problems.append(f"{at}.options: fs.oss.endpoint is needed")
        ends = sorted(option.rpartition(".")[2] for option in source.secrets)
        if source.read_only and not cache.read_only:
            problems.append(f"{at}.readOnly: is of the whole Dataset: accessModes [ReadOnlyMany]")
        if ends and ends != sorted(KEYS):
            names = sorted(source.secrets, key=lambda name: name.rpartition(".")[2] in KEYS)  # others first
            problems.append(
                f"{field_of(cache, number, names[0], secret=True)}: must be fs.{source.scheme}.accessKeyId "
                f"and fs.{source.scheme}.accessKeySecret"
            )
        if any(kept.setdefault(path, key) != key for path, key in key_files(source).items()):
            problems.append(
                f"{at}.encryptOptions: another mount has other keys for the same bucket, or for "
                f"{source.scheme}; Jindo has one pair; name one Secret, or make a Dataset of each"
            )
        if said.get("metaPolicy", "ONCE") not in ("ONCE", "ALWAYS"):
            problems.append(f"{at}.options.metaPolicy: must be ONCE or ALWAYS")
        if said.get("metaPolicy") == "ALWAYS" and (
            said.get("cacheStrategy") == "DHT" or said.get("writePolicy") == "CACHE_ONLY"
        ):
            problems.append(f"{at}.options.metaPolicy: ALWAYS goes with neither DHT nor CACHE_ONLY")
        for name in ("readCacheReplica", "writeCacheReplica"):
            if not said.get(name, "1").isdigit():
                problems.append(f"{at}.options.{name}: {said[name]!r} must be a number")
    return problems


def _labels(cache: Cache) -> bool:
    sections = [cache.spec, *(cache.spec.get(part) or {} for part in ("master", "worker", "fuse"))]
    return any(s.get("labels") for s in sections) and any(
        (s.get("podMetadata") or {}).get("labels") for s in sections
    )
