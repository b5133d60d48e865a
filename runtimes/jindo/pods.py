"""JindoCache's pods, as Fluid makes them. Pure."""

from __future__ import annotations

import os
from collections.abc import Mapping

from addon_framework.api.meta import Json
from runtimes.fuse import PREPARE, client_pod, ending
from runtimes.interface import Cache
from runtimes.jindo.config import (
    FUSE_IMAGE,
    LOCAL,
    META,
    TOKEN,
    addresses,
    masters,
    over_rdma,
    tier,
    token_files,
)
from runtimes.pods import field, literal, mount
from runtimes.workloads import container, image, memory_request, native, on_host, pod
from runtimes.workloads import ports as ports_of

IMAGE = "registry.cn-shanghai.aliyuncs.com/jindofs/smartdata:6.2.0"
PARTS: Mapping[str, Mapping[str, int]] = {"master": {"rpc": 8101, "raft": 8103}, "worker": {"rpc": 6101}}
METRICS = {"metrics": 10001}
_RDMA = ["SYS_RESOURCE", "IPC_LOCK"]  # what registering memory takes


def host(cache: Cache) -> bool:
    """All its pods are in one kind of network."""
    return on_host(cache.spec.get("networkmode"))


def known_ports(cache: Cache) -> dict[str, dict[str, int]]:
    """The usual ports of what this runtime has."""
    several, metrics = len(masters(cache)) > 1, (cache.spec.get("fuse") or {}).get("metrics") or {}
    master = {name: port for name, port in PARTS["master"].items() if name != "raft" or several}
    return {
        "master": master,
        "worker": dict(PARTS["worker"]),
        "fuse": METRICS if metrics.get("enabled") else {},
    }


def ports(cache: Cache) -> dict[str, dict[str, int]]:
    """The ports it uses, by part and name."""
    return {
        part: ports_of(cache, part, known, host=host(cache)) for part, known in known_ports(cache).items()
    }


def master(cache: Cache) -> Json:
    """Keeps what the files are."""
    used = ports(cache)
    names = masters(cache)
    env = [literal("NAMESPACE_BACKEND_RAFT_HOSTNAME", ",".join(names))]
    if len(names) > 1:
        voters = ",".join(f"{name}:{used['master']['raft']}:0" for name in names)
        env.append(literal("NAMESPACE_BACKEND_RAFT_INITIAL_CONF", voters))
    return _server(cache, "master", env, [mount("meta", META)], [{"name": "meta", "emptyDir": {}}])


def worker(cache: Cache) -> Json:
    """Keeps the data."""
    kept = tier(cache)
    env = [
        literal("STORAGE_NAMESPACE_RPC_ADDRESS", addresses(cache, ports(cache)["master"]["rpc"])),
        field("STORAGE_ADDRESS", "status.hostIP" if host(cache) else "status.podIP"),
        field("POD_NAME", "metadata.name"),
        *([] if host(cache) else [literal("STORAGE_DATA_PATH", ",".join(kept.paths))]),
    ]
    made = _server(cache, "worker", env, kept.mounts, list(kept.volumes))
    made["containers"][0] |= memory_request(cache)
    return made


def client(cache: Cache) -> Json:
    """Mounts all sources. On a worker's node it has the worker's directories, too."""
    section, used = cache.spec.get("fuse") or {}, ports(cache)
    volumes, mounts = _files(cache)
    kept = tier(cache)
    if kept.on_node and not (cache.spec.get("worker") or {}).get("disabled"):
        volumes, mounts = [*volumes, *kept.volumes], [*mounts, *kept.mounts]
    return client_pod(
        cache,
        name="jindofs-fuse",
        image=image(section, FUSE_IMAGE),
        section={name: value for name, value in section.items() if name != "env"},
        host=host(cache),
        command=["sh", "-c", PREPARE + 'exec /entrypoint.sh "$@"', "jindofs-fuse"],
        args=_arguments(cache, section, used["fuse"].get("metrics", 0)),
        env=[
            literal("FLUID_FUSE_MOUNTPOINT", cache.mount_point),
            literal("FLUID_RUNTIME_TYPE", "jindofs"),
            *_environment(cache, section),
        ],
        ports={f"jindo-{name}": port for name, port in used["fuse"].items()},
        volumes=[*volumes, {"name": "fuse", "hostPath": {"path": "/dev/fuse", "type": "CharDevice"}}],
        mounts=[*mounts, mount("fuse", "/dev/fuse")],
        lifecycle=ending("/prestop.sh"),
    )


def load(cache: Cache, script: str, env: list[Json]) -> Json:
    """A pod with Jindo's programs and the cache's configuration."""
    volumes, mounts = _files(cache)
    made = container(
        "jindo-load",
        image(cache.spec.get("jindoVersion") or {}, IMAGE),
        {},
        command=["sh", "-c", script],
        env=[field("STORAGE_ADDRESS", "status.podIP"), *_environment(cache, {}), *env],
        mounts=mounts,
    )
    return pod(cache, {}, [made], volumes, host=False)


def _server(cache: Cache, part: str, env: list[Json], mounts: list[Json], volumes: list[Json]) -> Json:
    section = cache.spec.get(part) or {}
    shared, at = _files(cache)
    made = container(
        f"jindofs-{part}",
        image(cache.spec.get("jindoVersion") or {}, IMAGE),
        {name: value for name, value in section.items() if name != "env"},
        command=["/entrypoint.sh"],
        args=[part],
        env=[*env, *_environment(cache, section)],
        ports=ports(cache)[part],
        mounts=[*at, *mounts],
        **({"securityContext": {"capabilities": {"add": _RDMA}}} if over_rdma(cache) else {}),
    )
    return pod(cache, section, [made], [*shared, *volumes], host=host(cache))


def _environment(cache: Cache, section: Json) -> list[Json]:
    made = [literal("CLIENT_NAMESPACE_RPC_ADDRESS", addresses(cache, ports(cache)["master"]["rpc"]))]
    if cache.spec.get("user"):
        made.append(literal("RUN_AS_USER", cache.spec["user"]))
    return [*made, *(literal(name, value) for name, value in sorted((section.get("env") or {}).items()))]


def _config(name: str) -> Json:
    return {**mount("config", f"/{name}", read_only=True), "subPath": name}


def _files(cache: Cache) -> tuple[list[Json], list[Json]]:
    """Configuration, keys, Hadoop's files, and the sources that are directories."""
    volumes: list[Json] = [{"name": "config", "configMap": {"name": f"{cache.name}-jindofs-config"}}]
    mounts = [_config("jindocache.cfg"), _config("jindosdk.cfg")]
    if token := token_files(cache):
        volumes.append({"name": "token", "projected": {"sources": token}})
        mounts.append(mount("token", TOKEN, read_only=True))
    if name := cache.spec.get("hadoopConfig"):
        volumes.append({"name": "hdfs-confs", "configMap": {"name": name}})
        mounts.append({**mount("hdfs-confs", "/hdfs-site.xml", read_only=True), "subPath": "hdfs-site.xml"})
    more, at = native(cache, LOCAL)
    for source, made in zip((s for s in cache.sources if s.scheme in ("local", "pvc")), at, strict=True):
        if source.scheme == "local":  # JindoCache has the node's own path in its configuration
            made["mountPath"] = os.path.join("/", source.url.partition("://")[2].strip("/"))
    return [*volumes, *more], [*mounts, *at]


def _arguments(cache: Cache, section: Json, metrics: int) -> list[str]:
    given = list(section.get("args") or [])
    if not given:
        kept = ("kernel_cache", "ro", 7200) if cache.read_only else ("auto_cache", "", 0)
        given = [f"-o{kept[0]}", *(["-oro"] if kept[1] else [])]
        given += [f"-o{name}_timeout={kept[2]}" for name in ("attr", "entry", "negative")]
        given += ["-ono_symlink"] if len(cache.sources) <= 1 else []
    if not any(argument.startswith("-ometrics_port=") for argument in given):
        given.append(f"-ometrics_port={metrics}")
    if all((cache.spec.get(part) or {}).get("disabled") for part in ("master", "worker")):
        given.append(f"-ouri={cache.sources[0].url}")
    return given
