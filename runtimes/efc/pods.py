"""EFC's pods, as Fluid makes them. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from addon_framework.api.meta import Json
from runtimes.fuse import PREPARE, client_pod, ending
from runtimes.interface import Cache
from runtimes.pods import host_path, literal, mount
from runtimes.tiers import Tier, tiers
from runtimes.workloads import container, image, memory_request, on_host, pod

IMAGES = {
    name: f"registry.cn-zhangjiakou.aliyuncs.com/nascache/efc-{name}:v1.2.2-19dcee9"
    for name in ("master", "worker", "fuse")
}
PORTS: Mapping[str, Mapping[str, int]] = {"worker": {"rpc": 14555}}
_SOCKETS = "/runtime-mnt/efc-sock"
# Workers by address, as EFC has them from Fluid; their names follow pods that start elsewhere.
_ENDPOINTS = """
addresses() {
  found=
  names=$(sed 's/[^"]*"containerendpoints"://; s/[^A-Za-z0-9.:-]/ /g' /endpoints/efc-worker-endpoints.json)
  for at in $names; do
    address=${at%:*}
    ! command -v getent >/dev/null || address=$(getent ahosts "$address" | head -n 1 | cut -d ' ' -f 1)
    # One that cannot be looked up now has not left.
    [ -n "$address" ] || [ ! -e /etc/efc/efc-worker-endpoints.json ] || return 0
    [ -z "$address" ] || found="$found${found:+,}\\"$address:${at##*:}\\""
  done
  echo "{\\"containerendpoints\\":[$found]}" >/etc/efc/new
  cmp -s /etc/efc/new /etc/efc/efc-worker-endpoints.json || mv /etc/efc/new /etc/efc/efc-worker-endpoints.json
}
addresses
(while sleep 5; do addresses; done) &
exec /entrypoint.sh "$@"
"""
_CHECK = {"initialDelaySeconds": 5, "failureThreshold": 3, "timeoutSeconds": 1}


def host(cache: Cache, part: str) -> bool:
    """Whether the part is in its node's network."""
    return on_host((cache.spec.get(part) or {}).get("networkMode"))


def first(cache: Cache) -> Tier | None:
    """The tier, of which there is at most one."""
    return next(iter(tiers(cache)), None)


def _source(cache: Cache) -> str:
    return cache.sources[0].url.partition("://")[2].rstrip("/") + "/"


def _options(cache: Cache, part: str, own: list[str]) -> str:
    """Fluid's, then the runtime's."""
    protocol = ["protocol=nfs3"] if cache.sources[0].scheme == "cpfs" and part != "worker" else []
    said = (cache.spec.get(part) or {}).get("properties") or {}
    return ",".join([*protocol, *own, *(f"{name}={value}" for name, value in sorted(said.items()))])


def _endpoints(cache: Cache) -> tuple[list[Json], list[Json]]:
    name = f"{cache.name}-worker-endpoints"
    volumes: list[Json] = [{"name": "endpoints", "configMap": {"name": name}}]
    volumes.append({"name": "addresses", "emptyDir": {}})
    return volumes, [mount("endpoints", "/endpoints", read_only=True), mount("addresses", "/etc/efc")]


def master(cache: Cache) -> Json:
    """Knows the workers."""
    section, identity = cache.spec.get("master") or {}, f"{cache.namespace}-{cache.name}-master"
    volumes, at = _endpoints(cache)
    options = _options(cache, "master", [f"client_owner={identity}", f"assign_uuid={identity}"])
    made = container(
        "efc-master",
        image(section.get("version") or {}, IMAGES["master"]),
        section,
        command=["sh", "-c", _ENDPOINTS, "efc-master"],
        args=["master", _source(cache), "/efc/efc-master", options],
        mounts=[*at, mount("shm", "/dev/shm"), mount("sock", "/var/run/efc")],
        livenessProbe={"exec": {"command": ["sh", "-c", "ps -ef | grep -q '[m]aster.py'"]}, **_CHECK},
        lifecycle={"preStop": {"exec": {"command": ["/entrypoint.sh", "stop_master", "/efc/efc-master"]}}},
    )
    volumes.append({"name": "shm", "emptyDir": {"medium": "Memory"}})
    volumes.append({"name": "sock", "emptyDir": {}})
    return pod(cache, section, [made], volumes, host=host(cache, "master"), terminationGracePeriodSeconds=90)


def worker(cache: Cache, used: Mapping[str, int]) -> Json:
    """Keeps what clients read."""
    section, tier = cache.spec.get("worker") or {}, first(cache)
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
    return pod(cache, section, [made | memory_request(cache)], volumes, host=host(cache, "worker"))


def client(cache: Cache) -> Json:
    """Mounts the source."""
    section = cache.spec.get("fuse") or {}
    volumes, at = _endpoints(cache)
    shared = not (cache.spec.get("worker") or {}).get("disabled")
    own = ["g_tier_EnableClusterCache=true", "g_tier_EnableClusterCachePrefetch=true"] if shared else []
    options = _options(cache, "fuse", [*own, f"assign_uuid={cache.namespace}-{cache.name}-fuse"])
    made = client_pod(
        cache,
        name="efc-fuse",
        image=image(section.get("version") or {}, IMAGES["fuse"]),
        section=section,
        host=host(cache, "fuse"),
        command=["sh", "-c", PREPARE + _ENDPOINTS, "efc-fuse"],
        args=["fuse", _source(cache), cache.mount_point, options],
        env=[literal("FLUID_RUNTIME_TYPE", "efc")],
        volumes=[
            *volumes,
            {"name": "shm", "emptyDir": {"medium": "Memory"}},
            host_path("sock", _SOCKETS, "Directory"),
        ],
        mounts=[*at, mount("shm", "/dev/shm"), mount("sock", "/var/run/efc")],
        lifecycle=ending('/entrypoint.sh stop_fuse "$MOUNT_POINT"'),  # so that its session ends, too
    )
    return {**made, "terminationGracePeriodSeconds": 90}
