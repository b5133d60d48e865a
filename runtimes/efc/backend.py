"""The description of the `efc` backend. Pure.

Clients need Alibaba Cloud's session manager on their nodes, as with Fluid, with its socket in
/runtime-mnt/efc-sock.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from addon_framework.api.data import DataLoad, EFCRuntime
from addon_framework.api.meta import Json
from runtimes.fuse import PREPARE, client_pod
from runtimes.interface import Backend, Cache, Component, Service, Task, Volume
from runtimes.node.command import clean_pod
from runtimes.pods import host_path, literal, mount
from runtimes.tiers import Tier, node_directories, tier_problems, tiers
from runtimes.workloads import (
    container,
    image,
    memory_problems,
    memory_request,
    on_host,
    pod,
    port_names,
    port_problems,
)
from runtimes.workloads import ports as ports_of

IMAGES = {
    name: f"registry.cn-zhangjiakou.aliyuncs.com/nascache/efc-{name}:v1.2.2-19dcee9"
    for name in ("master", "worker", "fuse")
}
PORTS: Mapping[str, Mapping[str, int]] = {"worker": {"rpc": 14555}}
_HOST = r"[a-z0-9-]+\.[a-z0-9-]+"
_SOURCE = re.compile(
    rf"(nfs://{_HOST}\.nas\.aliyuncs\.com:|cpfs://{_HOST}\.cpfs\.aliyuncs\.com:/share)(/.*)?"
)
_SOCKETS = "/runtime-mnt/efc-sock"
_CHECK = {"initialDelaySeconds": 5, "failureThreshold": 3, "timeoutSeconds": 1}


class EFCBackend(Backend):
    """A master, workers that share the cache, and clients."""

    type = "efc"
    resource = EFCRuntime.RESOURCE

    def validate(self, cache: Cache) -> list[str]:
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
            if source.options or source.secrets:
                problems.append(f"{where}[{number}]: EFC has no options of mounts; see spec.fuse.properties")
        if not problems and (worst := _first(cache)) and (len(worst.paths) > 1 or worst.quotas[0] < 1 << 30):
            problems.append(f"{title}: spec.tieredstore.levels: EFC takes one path of at least 1Gi")
        if len((spec.get("tieredstore") or {}).get("levels") or []) > 1:
            problems.append(f"{title}: spec.tieredstore.levels: EFC takes one")
        for part in ("master", "worker"):
            problems += port_problems(cache, part, PORTS.get(part, {}))
        if (spec.get("worker") or {}).get("replicas"):
            problems.append(f"{title}: spec.worker.replicas: is spec.replicas")
        problems += [
            f"{title}: spec.{name}: nodes are not changed by a cache; tune them before"
            for name in ("osAdvise", "initFuse")
            if spec.get(name)
        ]
        for number, level in enumerate((spec.get("tieredstore") or {}).get("levels") or []):
            problems += [
                f"{title}: spec.tieredstore.levels[{number}].{name}: EFC has no water-marks"
                for name in ("high", "low")
                if level.get(name)
            ]
        return problems

    def host_ports(self, cache: Cache) -> list[str]:
        """Of the workers."""
        return port_names(cache, "worker", PORTS["worker"], host=_host(cache, "worker"))

    def components(self, cache: Cache) -> list[Component]:
        """Names are Fluid's."""
        used = ports_of(cache, "worker", PORTS["worker"], host=_host(cache, "worker"))
        count, name = int(cache.spec.get("replicas") or 0) or 1, f"{cache.name}-worker"
        enabled = not (cache.spec.get("worker") or {}).get("disabled")
        found = (
            [f"{name}-{n}.{name}.{cache.namespace}:{used['rpc']}" for n in range(count)] if enabled else []
        )
        endpoints = {"efc-worker-endpoints.json": json.dumps({"containerendpoints": found})}
        made = [Component("client", _client(cache), config_maps={f"{name}-endpoints": endpoints})]
        if not (cache.spec.get("master") or {}).get("disabled"):
            masters = int((cache.spec.get("master") or {}).get("replicas") or 1)
            made.append(Component("master", _master(cache), masters))
        if enabled:
            made.append(Component("worker", _worker(cache, used), count, services=(Service(name, used),)))
        return made

    def volume(self, cache: Cache) -> Volume:
        """The mount of the client."""
        return Volume(cache.mount_point, after="client")

    def warm(self, cache: Cache, load: DataLoad) -> Task | None:
        """EFC has no command for it; what is read is kept."""
        return None

    def clean(self, cache: Cache) -> Task:
        """The mount, and the directory of the cache."""
        return Task(clean_pod(cache.image, unmount=[cache.mount_point], remove=node_directories(cache)))


def _host(cache: Cache, part: str) -> bool:
    return on_host((cache.spec.get(part) or {}).get("networkMode"))


def _first(cache: Cache) -> Tier | None:
    return next(iter(tiers(cache)), None)


def _source(cache: Cache) -> str:
    return cache.sources[0].url.partition("://")[2].rstrip("/") + "/"


def _options(cache: Cache, part: str, own: list[str]) -> str:
    """Fluid's, then the runtime's."""
    protocol = ["protocol=nfs3"] if cache.sources[0].scheme == "cpfs" and part != "worker" else []
    said = (cache.spec.get(part) or {}).get("properties") or {}
    return ",".join([*protocol, *own, *(f"{name}={value}" for name, value in sorted(said.items()))])


def _endpoints(cache: Cache) -> tuple[Json, Json]:
    name = f"{cache.name}-worker-endpoints"
    return {"name": "endpoints", "configMap": {"name": name}}, mount("endpoints", "/etc/efc", read_only=True)


def _master(cache: Cache) -> Json:
    section, identity = cache.spec.get("master") or {}, f"{cache.namespace}-{cache.name}-master"
    volume, at = _endpoints(cache)
    options = _options(cache, "master", [f"client_owner={identity}", f"assign_uuid={identity}"])
    made = container(
        "efc-master",
        image(section.get("version") or {}, IMAGES["master"]),
        section,
        command=["/entrypoint.sh"],
        args=["master", _source(cache), "/efc/efc-master", options],
        mounts=[at, mount("shm", "/dev/shm"), mount("sock", "/var/run/efc")],
        livenessProbe={"exec": {"command": ["sh", "-c", "ps -ef | grep -q '[m]aster.py'"]}, **_CHECK},
        lifecycle={"preStop": {"exec": {"command": ["/entrypoint.sh", "stop_master", "/efc/efc-master"]}}},
    )
    volumes: list[Json] = [
        volume,
        {"name": "shm", "emptyDir": {"medium": "Memory"}},
        {"name": "sock", "emptyDir": {}},
    ]
    return pod(cache, section, [made], volumes, host=_host(cache, "master"), terminationGracePeriodSeconds=90)


def _worker(cache: Cache, used: Mapping[str, int]) -> Json:
    section, tier = cache.spec.get("worker") or {}, _first(cache)
    path = tier.paths[0] if tier else "/dev/shm"
    options = [f"cache_media={path}", f"server_port={used['rpc']}"]
    options.append(f"cache_capacity_gb={tier.quotas[0] >> 30 if tier else 1}")
    if tier is None or tier.medium == "MEM":
        options.append("tmpfs=true")
    volumes: list[Json] = list(tier.volumes) if tier else [{"name": "shm", "emptyDir": {"medium": "Memory"}}]
    made = container(
        "efc-worker",
        image(section.get("version") or {}, IMAGES["worker"]),
        section,
        command=["/entrypoint.sh"],
        args=["worker", _options(cache, "worker", options)],
        ports=used,
        mounts=tier.mounts if tier else [mount("shm", path)],
    )
    return pod(cache, section, [made | memory_request(cache)], volumes, host=_host(cache, "worker"))


def _client(cache: Cache) -> Json:
    section = cache.spec.get("fuse") or {}
    volume, at = _endpoints(cache)
    shared = not (cache.spec.get("worker") or {}).get("disabled")
    own = ["g_tier_EnableClusterCache=true", "g_tier_EnableClusterCachePrefetch=true"] if shared else []
    options = _options(cache, "fuse", [*own, f"assign_uuid={cache.namespace}-{cache.name}-fuse"])
    chosen = image(section.get("version") or {}, IMAGES["fuse"])
    made = client_pod(
        cache,
        name="efc-fuse",
        image=chosen["image"],
        command=["sh", "-c", PREPARE + 'exec /entrypoint.sh "$@"', "efc-fuse"],
        args=["fuse", _source(cache), cache.mount_point, options],
        env=[literal("FLUID_RUNTIME_TYPE", "efc")],
        volumes=[
            volume,
            {"name": "shm", "emptyDir": {"medium": "Memory"}},
            host_path("sock", _SOCKETS, "Directory"),
        ],
        mounts=[at, mount("shm", "/dev/shm"), mount("sock", "/var/run/efc")],
    )
    first = made["containers"][0] | chosen
    if section.get("resources"):
        first["resources"] = section["resources"]
    containers = [first, *made["containers"][1:]]
    return pod(
        cache,
        section,
        containers,
        made["volumes"],
        host=_host(cache, "fuse"),
        terminationGracePeriodSeconds=90,
    )
