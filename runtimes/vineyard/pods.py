"""Vineyard's pods, with the options of its programs. Pure.

Users find `vineyard.sock` in the volume, and the workers' addresses in `rpc-conf`. It is the socket of the
node's own worker, or else of a vineyardd that keeps nothing itself.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from addon_framework.api.meta import Json
from runtimes.interface import Cache
from runtimes.node.publish import published_at
from runtimes.pods import field, host_path, literal, mount
from runtimes.tiers import tiers
from runtimes.workloads import container, image, memory_request, on_host, pod
from runtimes.workloads import ports as ports_of

IMAGE = "registry.aliyuncs.com/vineyard/vineyardd:v0.22.2"
PARTS: Mapping[str, Mapping[str, int]] = {"master": {"client": 2379, "peer": 2380}, "worker": {"rpc": 9600}}
OPTIONS = ("vineyardd.reserve.memory", "etcd.prefix", "wait.etcd.timeout")
FUSE_OPTIONS = ("size", "etcd_endpoint", "etcd_prefix")
_WORKERS = ".worker"  # the directory of the worker's socket, in that of the volume
_RUN, _RPC = "/var/run/vineyard", "/etc/vineyard"
SOCKET = f"{_RUN}/vineyard.sock"

# A second name, since a worker that restarts has another socket, and users' pods see this directory only.
_CLIENT = f"""
set -eu
worker="$FUSE_DIR/{_WORKERS}/vineyard.sock" socket="$FUSE_DIR/vineyard.sock" own=
mkdir -p "$FUSE_DIR/rpc-conf"
trap 'rm -f "$SHOWN" "$socket"; [ -z "$own" ] || kill "$own"; exit 0' TERM INT
while :; do
  cp {_RPC}/* "$FUSE_DIR/rpc-conf/"
  if [ -S "$worker" ]; then
    [ -z "$own" ] || {{ kill "$own"; wait "$own" || true; own=; }}
    [ "$socket" -ef "$worker" ] || ln -f "$worker" "$socket"
  elif [ -z "$own" ] || ! kill -0 "$own" 2>/dev/null; then
    rm -f "$socket"
    vineyardd --socket "$socket" --size "$SIZE" --etcd_endpoint "$ETCD_ENDPOINT" \\
      --etcd_prefix "$ETCD_PREFIX" --rpc=false & own=$!
  fi
  [ ! -S "$socket" ] || [ -L "$SHOWN" ] || ln -s "${{FUSE_DIR##*/}}" "$SHOWN"
  sleep 1 & wait $!
done
"""


def host(cache: Cache, part: str) -> bool:
    """Whether the part is in its node's network."""
    return on_host((cache.spec.get(part) or {}).get("networkMode"))


def ports(cache: Cache) -> dict[str, dict[str, int]]:
    """The ports it uses, by part and name."""
    return {part: ports_of(cache, part, known, host=host(cache, part)) for part, known in PARTS.items()}


def endpoint(cache: Cache) -> str:
    """Of etcd: the runtime's, or that of our masters."""
    given = str(((cache.spec.get("master") or {}).get("endpoint") or {}).get("uri") or "")
    if given:
        return given if "://" in given else f"http://{given}"
    name = f"{cache.name}-master"
    return f"http://{name}-0.{name}.{cache.namespace}:{ports(cache)['master']['client']}"


def rpc_endpoints(cache: Cache) -> str:
    """Of the workers."""
    name, port = f"{cache.name}-worker", ports(cache)["worker"]["rpc"]
    return ",".join(f"{name}-{n}.{name}.{cache.namespace}:{port}" for n in range(workers(cache)))


def workers(cache: Cache) -> int:
    """How many."""
    return int(cache.spec.get("replicas") or 0) or 1


def masters(cache: Cache) -> int:
    """How many etcds there are."""
    return int((cache.spec.get("master") or {}).get("replicas") or 1)


def master(cache: Cache) -> Json:
    """One etcd of the cluster."""
    section, used, name = cache.spec.get("master") or {}, ports(cache)["master"], f"{cache.name}-master"
    domain = f"{name}.{cache.namespace}"
    peers = ",".join(f"{name}-{n}=http://{name}-{n}.{domain}:{used['peer']}" for n in range(masters(cache)))
    own_data = not section.get("volumeMounts")
    made = container(
        "vineyard-master",
        image(section, IMAGE),
        section,
        command=["etcd"],
        args=[
            "--name=$(POD_NAME)",
            f"--initial-advertise-peer-urls=http://$(POD_NAME).{domain}:{used['peer']}",
            f"--listen-peer-urls=http://0.0.0.0:{used['peer']}",
            f"--advertise-client-urls=http://$(POD_NAME).{domain}:{used['client']}",
            f"--listen-client-urls=http://0.0.0.0:{used['client']}",
            f"--initial-cluster-token={cache.namespace}-{cache.name}",
            "--initial-cluster-state=new",
            f"--initial-cluster={peers}",
            "--data-dir=/etcd-data",
        ],
        env=[field("POD_NAME", "metadata.name")],
        ports=used,
        mounts=[mount("etcd-data", "/etcd-data")] if own_data else [],
        readinessProbe={"tcpSocket": {"port": used["client"]}, "periodSeconds": 2},
    )
    volumes: list[Json] = [{"name": "etcd-data", "emptyDir": {}}] if own_data else []
    return pod(cache, section, [made], volumes, host=host(cache, "master"))


def worker(cache: Cache) -> Json:
    """vineyardd with the memory of the first tier, spilling to the second; and who says what it holds."""
    section, used = cache.spec.get("worker") or {}, ports(cache)["worker"]
    options = {**((cache.spec.get("master") or {}).get("options") or {}), **(section.get("options") or {})}
    memory, *spills = tiers(cache)
    args = [
        *("--socket", SOCKET, "--size", str(sum(memory.quotas)), "--etcd_endpoint", endpoint(cache)),
        *("--etcd_prefix", options.get("etcd.prefix", "/vineyard")),
        *("--meta_timeout", options.get("wait.etcd.timeout", "120"), "--rpc_socket_port", str(used["rpc"])),
    ]
    if options.get("vineyardd.reserve.memory", "true") == "true":
        args.append("--reserve_memory")
    for tier in spills[:1]:
        args += ["--spill_path", tier.paths[0], "--spill_lower_rate", tier.low or "0.3"]
        args += ["--spill_upper_rate", tier.high or "0.8"]
    if not cache.spec.get("disablePrometheus"):
        args.append("--metrics")
    run = mount("run", _RUN)
    # A worker that restarts must not find the socket of the one before.
    start = 'rm -f "$1"; shift; exec vineyardd "$@"'
    made = container(
        "vineyard-worker",
        image(section, IMAGE),
        section,
        command=["sh", "-c", start, "vineyardd", SOCKET],
        args=args,
        env=[
            literal("VINEYARDD_NAME", f"{cache.name}-vineyardd"),
            literal("VINEYARDD_NAMESPACE", cache.namespace),
            field("MY_NODE_NAME", "spec.nodeName"),
            field("MY_POD_NAME", "metadata.name"),
            field("MY_POD_NAMESPACE", "metadata.namespace"),
            field("MY_POD_IP", "status.podIP"),
            field("MY_HOST_NAME", "status.podIP"),
            field("USER", "metadata.name"),
        ],
        ports=used,
        mounts=[run, *(m for tier in spills for m in tier.mounts)],
        readinessProbe={"tcpSocket": {"port": used["rpc"]}, "periodSeconds": 2, "failureThreshold": 10},
        livenessProbe={"tcpSocket": {"port": used["rpc"]}, "periodSeconds": 60, "failureThreshold": 3},
        **memory_request(cache),
    )
    report: Json = {
        "name": "report",
        "image": cache.image,
        "command": ["python", "-m", "runtimes.vineyard.report", SOCKET],
        "volumeMounts": [run],
    }
    volumes = [host_path("run", f"{cache.mount_point}/{_WORKERS}"), *(v for t in spills for v in t.volumes)]
    return pod(cache, section, [made, report], volumes, host=host(cache, "worker"))


def client(cache: Cache) -> Json:
    """Keeps the socket in the volume, which is there while the socket is."""
    parent = os.path.dirname(cache.mount_point)
    section = cache.spec.get("fuse") or {}
    options = {"size": "0", "etcd_endpoint": endpoint(cache), "etcd_prefix": _prefix(cache)}
    options |= section.get("options") or {}
    made = container(
        "vineyard-fuse",
        image(section, IMAGE),
        section,
        command=["sh", "-c", _CLIENT],
        env=[
            literal("FUSE_DIR", cache.mount_point),
            literal("SHOWN", shown(cache)),
            *(literal(name.upper(), value) for name, value in sorted(options.items())),
        ],
        mounts=[mount("mounts", parent), mount("rpc-conf", _RPC, read_only=True)],
        readinessProbe={
            "exec": {"command": ["sh", "-c", '[ -S "$SHOWN/vineyard.sock" ]']},
            "periodSeconds": 2,
        },
    )
    volumes = [
        host_path("mounts", parent),
        {"name": "rpc-conf", "configMap": {"name": f"{cache.name}-rpc-conf"}},
    ]
    return pod(cache, section, [made], volumes, host=host(cache, "fuse"))


def shown(cache: Cache) -> str:
    """The link at which pods find the directory with the socket, as with what is mounted."""
    return str(published_at(Path(cache.mount_point)))


def _prefix(cache: Cache) -> str:
    options: Json = {}
    for part in ("master", "worker"):
        options |= (cache.spec.get(part) or {}).get("options") or {}
    return str(options.get("etcd.prefix", "/vineyard"))
