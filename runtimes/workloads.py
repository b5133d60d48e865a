"""What the pods of caches with masters and workers have alike: networks, ports, overrides, files. Pure.

Fluid's rule for networks: unless the runtime asks for the container network, pods are in their node's. Ports
there are allocated, since two caches may meet on a node.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence

from addon_framework.api.meta import Json
from addon_framework.api.quantity import parse_quantity
from runtimes.interface import Cache, Source
from runtimes.pods import host_path, literal, mount
from runtimes.tiers import tiers

SECRETS = "/etc/fluid/secrets"
HADOOP = "/hdfs-config"
NATIVE = ("local", "pvc")  # schemes that are volumes of the pods


def configured(said: object) -> dict[str, str]:
    """The annotation by which pods are made anew when what they read at their start has changed."""
    text = json.dumps(said, sort_keys=True)
    return {"data.boundaryless.io/configured": hashlib.sha256(text.encode()).hexdigest()[:10]}


def on_host(mode: str | None) -> bool:
    """Whether a networkMode is the node's network."""
    return mode != "ContainerNetwork"


def given_ports(cache: Cache, part: str) -> Mapping[str, int]:
    """What the section of a part says of its ports."""
    return (cache.spec.get(part) or {}).get("ports") or {}


def ports(
    cache: Cache,
    part: str,
    defaults: Mapping[str, int],
    *,
    host: bool,
    given: Mapping[str, int] | None = None,
) -> dict[str, int]:
    """The ports of one part: what its section says, else one allocated on the nodes, else the usual one."""
    said = given_ports(cache, part) if given is None else given
    return {
        name: int(said.get(name) or (cache.ports.get(f"{part}.{name}") if host else None) or usual)
        for name, usual in defaults.items()
    }


def port_names(
    cache: Cache,
    part: str,
    defaults: Mapping[str, int],
    *,
    host: bool,
    given: Mapping[str, int] | None = None,
) -> list[str]:
    """Those of them that have to be allocated."""
    said = given_ports(cache, part) if given is None else given
    return [f"{part}.{name}" for name in defaults if host and not said.get(name)]


def port_problems(cache: Cache, part: str, known: Iterable[str]) -> list[str]:
    """Names of ports that the part does not have."""
    names = sorted(set(given_ports(cache, part)) - set(known))
    return [f"{cache.title}: spec.{part}.ports.{name}: there is no such port" for name in names]


def image(section: Json, default: str, *, policy: str = "") -> Json:
    """`image` and `imagePullPolicy` of a container, from image, imageTag and imagePullPolicy."""
    name, colon, tag = default.rpartition(":")
    if not colon or "/" in tag:
        name, tag = default, ""
    tag = section.get("imageTag") or ("" if section.get("image") else tag)
    made: Json = {"image": f"{section.get('image') or name}{tag and f':{tag}'}"}
    if said := section.get("imagePullPolicy") or policy:
        made["imagePullPolicy"] = said
    return made


def container(
    name: str,
    made: Json,
    section: Json,
    *,
    command: Sequence[str],
    args: Sequence[str] = (),
    env: Sequence[Json] = (),
    ports: Mapping[str, int] | None = None,
    mounts: Sequence[Json] = (),
    **fields: object,
) -> Json:
    """A container with what its section of the runtime adds: env, resources, volumeMounts.

    Fluid has variables and ports as maps in some kinds, in others as a container has them.
    """
    said, opened = section.get("env") or {}, section.get("ports")
    more = said if isinstance(said, list) else [literal(key, str(said[key])) for key in sorted(said)]
    result: Json = {
        "name": name,
        **made,
        "command": list(command),
        "env": [*env, *more],
        "ports": [
            *({"name": key, "containerPort": port} for key, port in (ports or {}).items()),
            *(opened if isinstance(opened, list) else ()),
        ],
        "volumeMounts": [*mounts, *(section.get("volumeMounts") or [])],
        "resources": section.get("resources") or {},
        **fields,
    }
    if args:
        result["args"] = list(args)
    return {key: value for key, value in result.items() if value not in ([], {}, None)}


def pod(
    cache: Cache,
    section: Json,
    containers: Sequence[Json],
    volumes: Sequence[Json],
    *,
    host: bool,
    **fields: object,
) -> Json:
    """A PodSpec with the section's placement, and the runtime's volumes that its containers mount."""
    used = {m["name"] for c in containers for m in c.get("volumeMounts") or []}
    extra = [volume for volume in cache.spec.get("volumes") or [] if volume.get("name") in used]
    made: Json = {
        "containers": list(containers),
        "volumes": [*volumes, *extra],
        "enableServiceLinks": False,
        "nodeSelector": section.get("nodeSelector"),
        "tolerations": section.get("tolerations"),
        "imagePullSecrets": section.get("imagePullSecrets") or cache.spec.get("imagePullSecrets"),
        **fields,
    }
    if host:
        made |= {"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"}
    return {key: value for key, value in made.items() if value not in ([], {}, None)}


def volume_problems(cache: Cache, parts: Iterable[str]) -> list[str]:
    """Mounts of volumes that the runtime does not have."""
    known = {volume.get("name") for volume in cache.spec.get("volumes") or []}
    return [
        f"{cache.title}: spec.{part}.volumeMounts[{n}].name: spec.volumes has no {m.get('name')!r}"
        for part in parts
        for n, m in enumerate((cache.spec.get(part) or {}).get("volumeMounts") or [])
        if m.get("name") not in known
    ]


def secret_files(sources: Iterable[Source]) -> tuple[list[Json], list[Json]]:
    """Volumes and mounts that make each key of the sources' Secrets a file; see `secret_file`."""
    names = sorted({key.name for source in sources for key in source.secrets.values()})
    volumes = [{"name": f"secret-{n}", "secret": {"secretName": name}} for n, name in enumerate(names)]
    mounts = [mount(f"secret-{n}", f"{SECRETS}/{name}", read_only=True) for n, name in enumerate(names)]
    return volumes, mounts


def secret_options(sources: Iterable[Source]) -> dict[str, str]:
    """Option -> the file with its value. Raises ValueError when two sources keep one in different places."""
    files: dict[str, str] = {}
    for source in sources:
        for option, key in source.secrets.items():
            path = f"{SECRETS}/{key.name}/{key.key}"
            if files.setdefault(option, path) != path:
                raise ValueError(option)
    return files


def native(cache: Cache, root: str) -> tuple[list[Json], list[Json]]:
    """Volumes and mounts of the sources that are directories of nodes or claims, each below `root`."""
    volumes, mounts = [], []
    for number, source in enumerate(cache.sources):
        if source.scheme not in NATIVE:
            continue
        name, path = f"source-{number}", f"{root}{source.path}".rstrip("/")
        rest = source.url.partition("://")[2]
        if source.scheme == "local":
            volumes.append(host_path(name, f"/{rest.strip('/')}", "Directory"))
            mounts.append(mount(name, path, read_only=cache.read_only))
            continue
        claim, _, below = rest.partition("/")
        volumes.append(
            {"name": name, "persistentVolumeClaim": {"claimName": claim, "readOnly": cache.read_only}}
        )
        mounts.append(mount(name, path, read_only=cache.read_only, propagation="HostToContainer"))
        if below.strip("/"):
            mounts[-1]["subPath"] = below.strip("/")
    return volumes, mounts


def hadoop(cache: Cache) -> tuple[list[Json], list[Json]]:
    """The ConfigMap with core-site.xml and hdfs-site.xml."""
    if not (name := cache.spec.get("hadoopConfig")):
        return [], []
    return [{"name": "hdfs-confs", "configMap": {"name": name}}], [
        mount("hdfs-confs", HADOOP, read_only=True)
    ]


# A home of its own for each user that runAs names, for programs that look the user up.
_USERS = """
set -eu
cp /etc/passwd /users/passwd; cp /etc/group /users/group
echo "$USER_NAME:x:$USER_ID:$GROUP_ID::/tmp:/bin/sh" >>/users/passwd
echo "$GROUP_NAME:x:$GROUP_ID:" >>/users/group
for path in "$@"; do chown "$USER_ID:$GROUP_ID" "$path"; done
"""


def run_as(cache: Cache) -> Json:
    """The user of servers; root where runAs names none."""
    user = cache.spec.get("runAs") or {"uid": 0, "gid": 0}
    return {"securityContext": {"runAsUser": user["uid"], "runAsGroup": user["gid"]}}


def init_users(cache: Cache, owned: Sequence[Json] = ()) -> tuple[list[Json], list[Json], list[Json]]:
    """Init containers, volumes and mounts that make the user of runAs known; what is `owned` is its own.

    Those are mounts of volumes that the pod has.
    """
    user, section = cache.spec.get("runAs"), cache.spec.get("initUsers") or {}
    if not user:
        return [], [], []
    names = (("USER_NAME", "user"), ("USER_ID", "uid"), ("GROUP_NAME", "group"), ("GROUP_ID", "gid"))
    made = container(
        "init-users",
        image(section, cache.image),
        section,
        command=["sh", "-c", _USERS, "init-users", *(each["mountPath"] for each in owned)],
        env=[literal(name, str(user[key])) for name, key in names],
        mounts=[mount("users", "/users"), *owned],
        securityContext={"runAsUser": 0},
    )
    files = [{**mount("users", f"/etc/{f}", read_only=True), "subPath": f} for f in ("passwd", "group")]
    return [made], [{"name": "users", "emptyDir": {}}], files


def memory(cache: Cache) -> int:
    """Bytes of tiers in memory, which count as the worker's."""
    return sum(sum(tier.quotas) for tier in tiers(cache) if tier.medium == "MEM")


def memory_request(cache: Cache) -> Json:
    """The worker's resources, with no less memory than its tiers take."""
    said: Json = (cache.spec.get("worker") or {}).get("resources") or {}
    asked = parse_quantity((said.get("requests") or {}).get("memory") or "0")
    if asked >= memory(cache):
        return {"resources": said} if said else {}
    return {"resources": {**said, "requests": {**(said.get("requests") or {}), "memory": str(memory(cache))}}}


def memory_problems(cache: Cache) -> list[str]:
    """A worker that could not hold its tiers."""
    limit = ((cache.spec.get("worker") or {}).get("resources") or {}).get("limits", {}).get("memory")
    try:
        if limit is None or parse_quantity(limit) >= memory(cache):
            return []
    except ValueError:
        return []  # of the tiers or the quantity, and said there
    return [
        f"{cache.title}: spec.worker.resources.limits.memory: {limit} is less than the tiers in memory, "
        f"{memory(cache)} bytes"
    ]
