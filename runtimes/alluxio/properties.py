"""Alluxio's properties and Java options. Pure.

What a runtime says wins over Fluid's defaults; what a part says is for its own process, and comes last.
https://docs.alluxio.io/os/user/stable/en/reference/Properties-List.html
"""

from __future__ import annotations

from collections.abc import Mapping

from runtimes.interface import Cache
from runtimes.tiers import Tier, tiers
from runtimes.workloads import HADOOP, NATIVE

ROOT = "/underFSStorage"
_POLICY = "alluxio.client.block.policy"
# As Fluid tunes it: few large files, read mostly, by many.
DEFAULTS = {
    "alluxio.fuse.cached.paths.max": "1000000",
    "alluxio.fuse.debug.enabled": "false",
    "alluxio.fuse.jnifuse.enabled": "true",
    "alluxio.fuse.jnifuse.libfuse.version": "3",
    "alluxio.fuse.logging.threshold": "1000ms",
    "alluxio.fuse.user.group.translation.enabled": "true",
    "alluxio.job.master.finished.job.retention.time": "30sec",
    "alluxio.job.worker.threadpool.size": "32",
    "alluxio.master.journal.folder": "/journal",
    "alluxio.master.journal.log.size.bytes.max": "500MB",
    "alluxio.master.metadata.sync.concurrency.level": "128",
    "alluxio.master.metadata.sync.executor.pool.size": "128",
    "alluxio.master.metadata.sync.ufs.prefetch.pool.size": "128",
    "alluxio.master.metastore": "ROCKS",
    "alluxio.master.metastore.inode.cache.max.size": "10000000",
    "alluxio.master.rpc.executor.core.pool.size": "128",
    "alluxio.master.rpc.executor.max.pool.size": "1024",
    "alluxio.master.security.impersonation.root.groups": "*",
    "alluxio.master.security.impersonation.root.users": "*",
    "alluxio.security.authorization.permission.enabled": "false",
    "alluxio.security.stale.channel.purge.interval": "365d",
    "alluxio.underfs.object.store.breadcrumbs.enabled": "false",
    "alluxio.user.block.avoid.eviction.policy.reserved.size.bytes": "2GB",
    "alluxio.user.block.master.client.pool.gc.threshold": "10min",
    "alluxio.user.block.master.client.threads": "1024",
    "alluxio.user.block.size.bytes.default": "16MB",
    "alluxio.user.block.worker.client.pool.min": "512",
    "alluxio.user.block.write.location.policy.class": f"{_POLICY}.LocalFirstAvoidEvictionPolicy",
    "alluxio.user.client.cache.enabled": "false",
    "alluxio.user.file.create.ttl.action": "FREE",
    "alluxio.user.file.master.client.threads": "1024",
    "alluxio.user.file.passive.cache.enabled": "false",
    "alluxio.user.file.readtype.default": "CACHE",
    "alluxio.user.local.reader.chunk.size.bytes": "32MB",
    "alluxio.user.logging.threshold": "1000ms",
    "alluxio.user.metadata.cache.enabled": "true",
    "alluxio.user.metadata.cache.expiration.time": "10min",
    "alluxio.user.metadata.cache.max.size": "6000000",
    "alluxio.user.metrics.collection.enabled": "true",
    "alluxio.user.streaming.reader.chunk.size.bytes": "32MB",
    "alluxio.user.ufs.block.read.location.policy": f"{_POLICY}.LocalFirstPolicy",
    "alluxio.user.update.file.accesstime.disabled": "true",
    "alluxio.user.worker.list.refresh.interval": "2min",
    "alluxio.worker.allocator.class": "alluxio.worker.block.allocator.MaxFreeAllocator",
    "alluxio.worker.block.master.client.pool.size": "1024",
    "alluxio.worker.network.reader.buffer.size": "32MB",
}
_WEB = dict.fromkeys(
    (
        "alluxio.user.block.size.bytes.default",
        "alluxio.user.local.reader.chunk.size.bytes",
        "alluxio.user.streaming.reader.chunk.size.bytes",
        "alluxio.worker.network.reader.buffer.size",
    ),
    "256MB",
) | {"alluxio.user.streaming.data.timeout": "300sec"}


def rooted(cache: Cache) -> bool:
    """Whether the only source is the root itself; else each is mounted below."""
    return len(cache.sources) == 1 and cache.sources[0].path == "/" and cache.sources[0].scheme not in NATIVE


def port_property(part: str, name: str) -> str:
    """The property that sets a port, which users of Fluid may set instead of it."""
    if part == "apiGateway":
        return "alluxio.proxy.web.port"
    return f"alluxio.{_PROCESSES[part]}.{'embedded.journal' if name == 'embedded' else name}.port"


def properties(cache: Cache, ports: Mapping[str, Mapping[str, int]]) -> dict[str, str]:
    """Those of all processes."""
    made = {**DEFAULTS, **(_WEB if all(s.scheme in ("http", "https") for s in cache.sources) else {})}
    masters = int((cache.spec.get("master") or {}).get("replicas") or 1)
    made["alluxio.master.journal.type"] = "EMBEDDED" if masters > 1 else "UFS"
    made |= {port_property(part, name): str(port) for part in ports for name, port in ports[part].items()}
    if masters > 1:
        journal = ports["master"]["embedded"]
        addresses = ",".join(f"{cache.name}-master-{n}:{journal}" for n in range(masters))
        made["alluxio.master.embedded.journal.addresses"] = addresses
    else:
        made["alluxio.master.hostname"] = f"{cache.name}-master-0.{cache.namespace}"
    levels = tiers(cache)
    if any(not tier.on_node for tier in levels):  # whose directories no client can read itself
        made["alluxio.user.short.circuit.enabled"] = "false"
    if cache.read_only and len(levels) == 1 and len(levels[0].paths) == 1:
        made["alluxio.user.direct.memory.io.enabled"] = "true"
    for number, tier in enumerate(levels):
        made |= _level(number, tier)
    if levels:
        made["alluxio.worker.tieredstore.levels"] = str(len(levels))
    if cache.spec.get("hadoopConfig"):
        made["alluxio.underfs.hdfs.configuration"] = f"{HADOOP}/hdfs-site.xml:{HADOOP}/core-site.xml"
    made |= cache.spec.get("properties") or {}
    # What a Dataset says of its data is not for properties to change.
    if rooted(cache):
        source, root = cache.sources[0], "alluxio.master.mount.table.root"
        made |= source.options
        made[f"{root}.ufs"] = source.url
        made[f"{root}.readonly"] = str(cache.read_only or source.read_only).lower()
        made[f"{root}.shared"] = str(source.shared).lower()
    else:
        made["alluxio.master.mount.table.root.ufs"] = ROOT
    copies = int((cache.spec.get("data") or {}).get("replicas") or 0)
    made["alluxio.user.file.replication.max"] = str(max(copies, 1))
    return made


_PROCESSES = {"master": "master", "worker": "worker", "jobMaster": "job.master", "jobWorker": "job.worker"}
_JVM = {
    "master": ["-Xmx16G", "-XX:+UnlockExperimentalVMOptions"],
    "worker": ["-Xmx12G", "-XX:+UnlockExperimentalVMOptions", "-XX:MaxDirectMemorySize=32g"],
    "fuse": ["-Xmx16G", "-XX:+UseG1GC", "-XX:MaxDirectMemorySize=32g", "-XX:+UnlockExperimentalVMOptions"],
}
_HOST = {
    "master": "-Dalluxio.master.hostname=${ALLUXIO_MASTER_HOSTNAME}",
    "jobMaster": "-Dalluxio.master.hostname=${ALLUXIO_MASTER_HOSTNAME}",
    "worker": "-Dalluxio.worker.hostname=${ALLUXIO_WORKER_HOSTNAME}",
    "jobWorker": "-Dalluxio.worker.hostname=${ALLUXIO_WORKER_HOSTNAME}",
    "fuse": "-Dalluxio.user.hostname=${ALLUXIO_CLIENT_HOSTNAME}",
}
_CONTAINER = "-Dalluxio.worker.container.hostname=${ALLUXIO_WORKER_CONTAINER_HOSTNAME}"
_VARIABLES = {
    "master": "MASTER",
    "jobMaster": "JOB_MASTER",
    "worker": "WORKER",
    "jobWorker": "JOB_WORKER",
    "apiGateway": "PROXY",
    "fuse": "FUSE",
}


_READ = {
    "master": ("master", "jobMaster", "apiGateway"),
    "worker": ("worker", "jobWorker"),
    "client": ("fuse",),
}


def read_by(role: str, options: Mapping[str, str]) -> list[str]:
    """Of those variables what a component's processes read when they start."""
    own = (f"ALLUXIO_{_VARIABLES[part]}_JAVA_OPTS" for part in _READ[role])
    return [options[name] for name in ("ALLUXIO_JAVA_OPTS", *own)]


def java_options(cache: Cache, ports: Mapping[str, Mapping[str, int]], *, host: bool) -> dict[str, str]:
    """The variables that the image makes its configuration of; `host`: workers are in nodes' networks."""
    common = [f"-D{name}={value}" for name, value in sorted(properties(cache, ports).items())]
    made = {"ALLUXIO_JAVA_OPTS": " ".join([*common, *(cache.spec.get("jvmOptions") or [])])}
    for part, name in _VARIABLES.items():
        section = cache.spec.get(part) or {}
        options = [_HOST[part]] if part in _HOST else []
        if part == "worker" and not host:
            options.append(_CONTAINER)
        options += [f"-D{key}={value}" for key, value in sorted((section.get("properties") or {}).items())]
        made[f"ALLUXIO_{name}_JAVA_OPTS"] = " ".join(
            [*options, *(section.get("jvmOptions") or _JVM.get(part, []))]
        )
    return made


def unit(size: int) -> str:
    """Bytes as Alluxio writes them: powers of 1024, without an i."""
    for power, name in ((40, "TB"), (30, "GB"), (20, "MB"), (10, "KB")):
        if size and size % (1 << power) == 0:
            return f"{size >> power}{name}"
    return f"{size}B"


def _level(number: int, tier: Tier) -> dict[str, str]:
    name = f"alluxio.worker.tieredstore.level{number}"
    made = {
        f"{name}.alias": tier.medium,
        f"{name}.dirs.mediumtype": ",".join([tier.medium] * len(tier.paths)),
        f"{name}.dirs.path": ",".join(tier.paths),
        f"{name}.dirs.quota": ",".join(map(unit, tier.quotas)),
    }
    if tier.high:
        made[f"{name}.watermark.high.ratio"] = tier.high
    if tier.low:
        made[f"{name}.watermark.low.ratio"] = tier.low
    return made
