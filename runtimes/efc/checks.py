"""What is wrong with an EFCRuntime or its Dataset, and what of them has no effect, by field. Pure."""

from __future__ import annotations

import re

from runtimes.efc import pods
from runtimes.interface import Cache
from runtimes.options import unknown_options
from runtimes.tiers import tier_problems
from runtimes.workloads import memory_problems, port_problems

_HOST = r"[a-z0-9-]+\.[a-z0-9-]+"
_SOURCE = re.compile(
    rf"(nfs://{_HOST}\.nas\.aliyuncs\.com:|cpfs://{_HOST}\.cpfs\.aliyuncs\.com:/share)(/.*)?"
)
WITHOUT_EFFECT = {
    "Dataset.spec.owner": "files belong to whom they belong on the NAS",
    "Dataset.spec.mounts.shared": "EFC has one mount only",
    "spec.initFuse": "nodes are not changed by a cache; prepare them before",
    "spec.osAdvise": "nodes are not changed by a cache; tune them before",
    "spec.tieredstore.levels.high": "EFC has no water-marks",
    "spec.tieredstore.levels.low": "EFC has no water-marks",
}


def problems(cache: Cache) -> list[str]:
    """One source, of NAS or CPFS."""
    where, title, spec = f"Dataset {cache.namespace}/{cache.name}: spec.mounts", cache.title, cache.spec
    problems = [*tier_problems(cache), *memory_problems(cache)]
    if len(cache.sources) != 1:
        problems.append(f"{where}: EFC takes exactly one, there are {len(cache.sources)}")
    for number, source in enumerate(cache.sources):
        if not _SOURCE.fullmatch(source.url):
            problems.append(
                f"{where}[{number}].mountPoint: {source.url!r} must be "
                "nfs://ID.REGION.nas.aliyuncs.com:/path or cpfs://ID.REGION.cpfs.aliyuncs.com:/share/path"
            )
        if source.read_only and not cache.read_only:
            problems.append(
                f"{where}[{number}].readOnly: is of the whole Dataset: accessModes [ReadOnlyMany]"
            )
        problems += [f"{said}; see spec.fuse.properties" for said in unknown_options(cache, number)]
    if not problems and (worst := pods.first(cache)) and (len(worst.paths) > 1 or worst.quotas[0] < 1 << 30):
        problems.append(f"{title}: spec.tieredstore.levels: EFC takes one path of at least 1Gi")
    if len((spec.get("tieredstore") or {}).get("levels") or []) > 1:
        problems.append(f"{title}: spec.tieredstore.levels: EFC takes one")
    for part in ("master", "worker"):
        problems += port_problems(cache, part, pods.PORTS.get(part, {}))
    if (spec.get("worker") or {}).get("replicas"):
        problems.append(f"{title}: spec.worker.replicas: is spec.replicas")
    return problems
