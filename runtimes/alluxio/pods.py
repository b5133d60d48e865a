"""Alluxio's pods, as Fluid makes them: masters with their job masters, workers with theirs, clients. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from addon_framework.api.meta import Json
from runtimes.alluxio.commands import start
from runtimes.alluxio.properties import ROOT, port_property
from runtimes.fuse import PREPARE, client_pod
from runtimes.interface import Cache
from runtimes.pods import field, mount
from runtimes.tiers import tiers
from runtimes.workloads import (
    container,
    hadoop,
    image,
    init_users,
    memory_request,
    native,
    on_host,
    pod,
    run_as,
    secret_files,
    secret_options,
)
from runtimes.workloads import given_ports as ports_said
from runtimes.workloads import ports as ports_of

IMAGE = "alluxio/alluxio-dev:2.9.0"
# Usual ports by part; `embedded` is where masters agree when there are several.
PARTS: Mapping[str, Mapping[str, int]] = {
    "master": {"rpc": 19998, "web": 19999, "embedded": 19200},
    "jobMaster": {"rpc": 20001, "web": 20002, "embedded": 20003},
    "worker": {"rpc": 29999, "web": 30000},
    "jobWorker": {"rpc": 30001, "data": 30002, "web": 30003},
    "apiGateway": {"rest": 39999},
}
# As Fluid calls them in `ports`, where that differs.
PORTS_OF_FLUID = {"embedded": "embeddedJournal", "rest": "web"}
_MOUNT_POINT_SINCE = (2, 8)  # before, the image knows the variable MOUNT_POINT, and no such argument
GUESTS = {"jobMaster": "master", "jobWorker": "worker", "apiGateway": "master"}  # whose pod a part is in


def masters(cache: Cache) -> int:
    """How many."""
    return int((cache.spec.get("master") or {}).get("replicas") or 1)


def host(cache: Cache, part: str) -> bool:
    """Whether the part is in its node's network."""
    return on_host((cache.spec.get(GUESTS.get(part, part)) or {}).get("networkMode"))


def parts(cache: Cache) -> dict[str, dict[str, int]]:
    """The usual ports of the parts that this runtime has."""
    several = masters(cache) > 1
    gateway = bool((cache.spec.get("apiGateway") or {}).get("enabled"))
    return {
        part: {
            name: port
            for name, port in known.items()
            if (name != "embedded" or several) and (part != "apiGateway" or gateway)
        }
        for part, known in PARTS.items()
    }


def given_ports(cache: Cache, part: str) -> dict[str, int]:
    """What the runtime says of a part's ports, in properties or in its section."""
    said, properties = ports_said(cache, part), cache.spec.get("properties") or {}
    given = {n: said.get(n) or said.get(PORTS_OF_FLUID.get(n, "")) for n in PARTS[part]}
    set_ = {n: int(properties[p]) for n in PARTS[part] if (p := port_property(part, n)) in properties}
    return {name: port for name, port in {**given, **set_}.items() if port}


def ports(cache: Cache) -> dict[str, dict[str, int]]:
    """The ports it uses, by part and name."""
    return {
        part: ports_of(cache, part, known, host=host(cache, part), given=given_ports(cache, part))
        for part, known in parts(cache).items()
    }


def master(cache: Cache, used: Mapping[str, Mapping[str, int]]) -> Json:
    """Master and job master, and the gateway where it is enabled."""
    several = bool(used["master"].get("embedded"))
    name = field("ALLUXIO_MASTER_HOSTNAME", "metadata.name" if several else "status.podIP")
    journal = {"name": "alluxio-journal", "emptyDir": {"sizeLimit": "30Gi"}}
    extra = [mount("alluxio-journal", "/journal")]
    containers = [
        _server(cache, used, "master", ["master-only", "--no-format"], [name], extra),
        _server(cache, used, "jobMaster", ["job-master"], [name], []),
    ]
    if used["apiGateway"]:
        containers.append(_server(cache, used, "apiGateway", ["proxy"], [name], []))
    format_journal = {
        "name": "journal-format",
        **_image(cache),
        "command": ["alluxio", "formatJournal"],
        "envFrom": _configuration(cache),
        "volumeMounts": extra,
        **run_as(cache),
    }
    return _pod(cache, "master", containers, [format_journal], [journal])


def worker(cache: Cache, used: Mapping[str, Mapping[str, int]]) -> Json:
    """Worker and job worker, with the tiers."""
    names = [field("ALLUXIO_WORKER_HOSTNAME", "status.hostIP")]
    if not host(cache, "worker"):
        names.append(field("ALLUXIO_WORKER_CONTAINER_HOSTNAME", "status.podIP"))
    levels = tiers(cache)
    mounts = [made for tier in levels for made in tier.mounts]
    containers = [
        _server(cache, used, "worker", ["worker-only", "--no-format"], names, mounts),
        _server(cache, used, "jobWorker", ["job-worker"], names, mounts),
    ]
    containers[0] |= memory_request(cache)
    return _pod(cache, "worker", containers, [], [v for tier in levels for v in tier.volumes])


def client(cache: Cache) -> Json:
    """Mounts the whole of it. On a worker's node it reads the worker's directories itself."""
    section = cache.spec.get("fuse") or {}
    levels = [tier for tier in tiers(cache) if tier.on_node]
    return client_pod(
        cache,
        name="alluxio-fuse",
        image=image(section, IMAGE),
        section=section,
        host=on_host(section.get("networkMode")),
        command=["sh", "-c", PREPARE + 'exec /entrypoint.sh "$@"', "alluxio-fuse"],
        args=_fuse_arguments(cache, section),
        env=[field("ALLUXIO_CLIENT_HOSTNAME", "status.hostIP")],
        volumes=[volume for tier in levels for volume in tier.volumes],
        mounts=[made for tier in levels for made in tier.mounts],
        envFrom=_configuration(cache),
    )


def load(cache: Cache, script: str, env: list[Json]) -> Json:
    """A pod with Alluxio's programs and the cache's configuration."""
    made = container(
        "alluxio-load",
        _image(cache),
        {},
        command=["sh", "-c", script],
        env=env,
        envFrom=_configuration(cache),
    )
    return pod(cache, {}, [made], [], host=False)


def _server(
    cache: Cache,
    used: Mapping[str, Mapping[str, int]],
    part: str,
    args: list[str],
    env: list[Json],
    mounts: list[Json],
) -> Json:
    name = {"jobMaster": "job-master", "jobWorker": "job-worker", "apiGateway": "api-gateway"}.get(part, part)
    prefix = "job-" if part.startswith("job") else ""
    fields: dict[str, Any] = {"envFrom": _configuration(cache), **run_as(cache)}
    return container(
        name if part == "apiGateway" else f"alluxio-{name}",
        _image(cache),
        cache.spec.get(part) or {},
        command=["sh", "-c", start(secret_options(cache.sources)), "alluxio"],
        args=args,
        env=env,
        ports={prefix + key: port for key, port in used[part].items()},
        mounts=[
            *secret_files(cache.sources)[1],
            *native(cache, ROOT)[1],
            *hadoop(cache)[1],
            *init_users(cache)[2],
            *mounts,
        ],
        **fields,
    )


def _pod(cache: Cache, part: str, containers: list[Json], init: list[Json], volumes: list[Json]) -> Json:
    owned = [made for tier in tiers(cache) for made in tier.mounts] if part == "worker" else []
    users, user_volumes, _ = init_users(cache, owned)
    shared = [secret_files(cache.sources)[0], native(cache, ROOT)[0], hadoop(cache)[0], user_volumes]
    return pod(
        cache,
        cache.spec.get(part) or {},
        containers,
        [*(volume for some in shared for volume in some), *volumes],
        host=host(cache, part),
        initContainers=[*users, *init],
    )


def _configuration(cache: Cache) -> list[Json]:
    return [{"configMapRef": {"name": f"{cache.name}-config"}}]


def _image(cache: Cache) -> Json:
    return image(cache.spec.get("alluxioVersion") or {}, IMAGE)


def _fuse_arguments(cache: Cache, section: Json) -> list[str]:
    """As the runtime says, or Fluid's, with whose the files are and that all may read them."""
    owner = cache.dataset.spec.owner
    given = list(section.get("args") or [])
    if not given:
        web = all(s.scheme in ("http", "https") for s in cache.sources)
        given = [
            "fuse",
            f"--fuse-opts=kernel_cache,{_fuse_options(cache)}{',max_readahead=0' if web else ''}",
        ]
    if len(given) > 1:
        if owner is not None:
            given[1] += f",uid={owner.uid},gid={owner.gid}"
        if "allow_" not in given[1]:
            given[1] += ",allow_other"
    version = re.search(r"(\d+)\.(\d+)", str(image(section, IMAGE)["image"]).rpartition(":")[2])
    old = version is not None and tuple(map(int, version.groups())) < _MOUNT_POINT_SINCE
    return given if old else [*given, cache.mount_point, "/"]


def _fuse_options(cache: Cache) -> str:
    """By access, and by the version of libfuse that the properties name."""
    second = (cache.spec.get("properties") or {}).get("alluxio.fuse.jnifuse.libfuse.version") == "2"
    read = ",max_read=131072" if second else ""
    if not cache.read_only:
        return f"rw{read}"
    return f"ro{read},attr_timeout=7200,entry_timeout=7200{',nonempty' if second else ''}"
