"""What is wrong with an AlluxioRuntime or its Dataset, by field. Pure."""

from __future__ import annotations

from runtimes.alluxio import pods
from runtimes.alluxio.pods import PORTS_OF_FLUID
from runtimes.alluxio.properties import port_property
from runtimes.interface import Cache
from runtimes.tiers import tier_problems
from runtimes.workloads import memory_problems, port_problems, secret_options, volume_problems

_REPLICAS = {  # of what follows another part
    "jobMaster": "spec.master.replicas",
    "apiGateway": "spec.master.replicas",
    "worker": "spec.replicas",
    "jobWorker": "spec.replicas",
}


def problems(cache: Cache) -> list[str]:
    """Sources, tiers, and what the parts say."""
    title, spec = cache.title, cache.spec
    found = [*tier_problems(cache), *memory_problems(cache), *_sources(cache)]
    found += volume_problems(cache, (*pods.PARTS, "fuse"))
    for part, known in pods.PARTS.items():
        found += port_problems(cache, part, [*known, *(PORTS_OF_FLUID.get(n, n) for n in known)])
        found += [
            f"{title}: spec.properties.{name}: {spec['properties'][name]!r} is not a port"
            for name in (port_property(part, port) for port in known)
            if not str((spec.get("properties") or {}).get(name, 1)).isdigit()
        ]
    if (count := pods.masters(cache)) not in (1, 3, 5):
        found.append(f"{title}: spec.master.replicas: {count} masters cannot vote; 1, 3 or 5 can")
    found += [
        f"{title}: spec.{part}.{field}: it is in the pod of spec.{other}, which says it"
        for part, other in pods.GUESTS.items()
        for field in ("networkMode", "nodeSelector", "podMetadata", "imagePullSecrets")
        if (said := (spec.get(part) or {}).get(field)) and said != (spec.get(other) or {}).get(field)
    ]
    found += [
        f"{title}: spec.{part}.replicas: is {other}"
        for part, other in _REPLICAS.items()
        if (spec.get(part) or {}).get("replicas")
    ]
    for part in ("", *pods.PARTS, "fuse"):
        section, where = (spec.get(part) or {}, f"spec.{part}") if part else (spec, "spec")
        found += [
            f"{title}: {where}.properties.{name}: {value!r} has spaces, which Java's options cannot"
            for name, value in (section.get("properties") or {}).items()
            if any(c.isspace() for c in value)
        ]
    return found


def _sources(cache: Cache) -> list[str]:
    where = f"Dataset {cache.namespace}/{cache.name}: spec.mounts"
    paths = [source.path for source in cache.sources]
    problems = [] if paths else [f"{where}: at least one is needed"]
    twice = sorted({path for path in paths if paths.count(path) > 1})
    problems += [f"{where}: two have the path {path}" for path in twice]
    for number, path in enumerate(paths):
        if " " in path or (path == "/" and len(paths) > 1):
            problems.append(f"{where}[{number}].path: {path!r} must be /name, without spaces")
    try:
        secret_options(cache.sources)
    except ValueError as error:
        problems.append(
            f"{where}: encryptOptions {error}: Alluxio has one value for all mounts; name one Secret, or "
            "make a Dataset of each"
        )
    return problems
