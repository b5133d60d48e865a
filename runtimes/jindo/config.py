"""JindoCache's configuration: jindocache.cfg, jindosdk.cfg and cacheset.xml. Pure.

Secrets are files below /token, which the configuration names.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from xml.sax.saxutils import escape

from addon_framework.api.meta import Json
from runtimes.interface import Cache, SecretKey, Source
from runtimes.tiers import Tier, tiers
from runtimes.workloads import NATIVE, image

TOKEN = "/token"
LOCAL = "/underFSStorage"
META = "/var/lib/boundaryless/jindo"  # of the master, in its pod
MOUNT_OPTIONS = ("metaPolicy", "cacheStrategy", "readCacheReplica", "writeCacheReplica", "writePolicy")
KEYS = {"accessKeyId": "AccessKeyId", "accessKeySecret": "AccessKeySecret"}  # option's end -> file's name
SCHEMES = ("oss", "s3", "cos", "obs", "dls", "hdfs", *NATIVE)
FUSE_IMAGE = "registry.cn-shanghai.aliyuncs.com/jindofs/jindo-fuse:6.2.0"
RDMA = "fluid.io/runtime-rpc-protocol"  # annotation of a runtime: "rdma", else TCP
_USUAL = {"mediumtype": "MEM", "path": "/dev/shm", "quota": "1Gi"}  # without a tier, as with Fluid
_LEGACY_PREFETCHER = (6, 2, 0)  # up to this version of the client
_PROVIDER = "com.aliyun.jindodata.oss.auth.CustomCredentialsProvider"
_SERVER = {
    "namespace.backend.type": "rocksdb",
    "namespace.blocklet.cache.size": "1000000",
    "namespace.blocklet.threads": "100",
    "namespace.cluster.id": "local",
    "namespace.delete.scan.batch.size": "5000",
    "namespace.delete.scan.interval.second": "20",
    "namespace.filelet.atime.enable": "false",
    "namespace.filelet.cache.size": "100000",
    "namespace.filelet.threads": "200",
    "namespace.long-running.threads": "20",
    "namespace.meta-dir": f"{META}/server",
    "namespace.oss.copy.size": "1073741824",
    "namespace.permission.root.inode.perm.bits": "511",
}
_WORKER = {
    "storage.address": "localhost",
    "storage.cache.filelet.worker.threads": "200",
    "storage.cluster.id": "local",
    "storage.compaction.enable": "false",
    "storage.compaction.period.minute": "2",
    "storage.compaction.threshold": "16",
    "storage.maintainence.period.minute": "2",
}
_CLIENT = {
    "fs.jindocache.client.metrics.enable": "true",
    "fs.jindocache.request.user": "root",
    "fs.jindocache.rpc.timeout": "30000",
    "fs.jindocache.tmp.data.dir": "/tmp",
    "fs.oss.download.queue.size": "16",
    "fs.oss.download.thread.concurrency": "32",
    "fs.s3.download.queue.size": "16",
    "fs.s3.download.thread.concurrency": "32",
    "fs.xengine": "jindocache",
}
_LOGS = {
    "application.report.on": "true",
    "logger.cleanner.enable": "true",
    "logger.consolelogger": "true",
    "logger.dir": "/tmp/jindocache-log",
    "logger.jnilogger": "false",
    "logger.sync": "false",
    "logger.verbose": "0",
    "metric.report.on": "true",
}
_FUSE_LOGS = {
    "hadoopConf.enable": "false",
    "logger.cleaner.enable": "true",
    "logger.consolelogger": "true",
    "logger.dir": "/tmp/fuse-log",
    "logger.level": "2",
    "logger.sync": "false",
    "logger.verbose": "0",
}


def tier(cache: Cache) -> Tier:
    """What the runtime says, or Fluid's."""
    if found := tiers(cache):
        return found[0]
    spec = {**cache.spec, "tieredstore": {"levels": [_USUAL]}}
    return tiers(replace(cache, runtime={**cache.runtime, "spec": spec}))[0]


def unit(size: int) -> str:
    """Bytes as Jindo's own examples have them: 2g, 512m."""
    for power, name in ((30, "g"), (20, "m"), (10, "k")):
        if size and size % (1 << power) == 0:
            return f"{size >> power}{name}"
    return str(size)


def over_rdma(cache: Cache) -> bool:
    """Whether its parts speak RDMA with one another."""
    annotations = (cache.runtime.get("metadata") or {}).get("annotations") or {}
    return str(annotations.get(RDMA, "")) == "rdma"


def bucket(source: Source) -> str:
    """Of oss://bucket/prefix."""
    return source.url.partition("://")[2].partition("/")[0]


def masters(cache: Cache) -> list[str]:
    """Their names; as many as three, or one."""
    count = 3 if (cache.spec.get("master") or {}).get("replicas") == 3 else 1
    return [f"{cache.name}-jindofs-master-{n}.{cache.namespace}" for n in range(count)]


def addresses(cache: Cache, port: int) -> str:
    """Where clients and workers find them."""
    return ",".join(f"{name}:{port}" for name in masters(cache))


def files(cache: Cache, ports: Mapping[str, Mapping[str, int]]) -> dict[str, str]:
    """The ConfigMap."""
    sections = _sections(cache, ports)
    sdk = {"common": sections["common"], "jindosdk": sections["jindosdk"]}
    cfg = {name: values for name, values in sections.items() if name != "jindosdk"}
    return {"jindocache.cfg": _ini(cfg), "jindosdk.cfg": _ini(sdk)}


_READ = {
    "master": ("jindocache-common", "jindocache-server"),
    "worker": ("jindocache-common", "jindocache-worker"),
    "client": ("common", "jindosdk"),
}


def read_by(cache: Cache, part: str, ports: Mapping[str, Mapping[str, int]]) -> list[dict[str, str]]:
    """What a master, worker or client reads of it when it starts."""
    sections = _sections(cache, ports)
    return [sections[name] for name in _READ[part]]


def _sections(cache: Cache, ports: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, str]]:
    spec, rpc = cache.spec, {"fs.jindocache.namespace.rpc.address": addresses(cache, ports["master"]["rpc"])}
    store = storage(cache)
    client = {**_client(cache, ports, store), **((spec.get("fuse") or {}).get("properties") or {})}
    client = {**rpc, **(spec.get("properties") or {}), **client}
    own = {name: value for name, value in client.items() if ".rdma." not in name}
    logs = {**_LOGS, **(spec.get("logConfig") or {})}
    fuse_logs = {**_FUSE_LOGS, **((spec.get("fuse") or {}).get("logConfig") or {})}
    return {
        "jindocache-common": {**logs, **_token(cache), **store},
        "jindocache-server": {
            **_server(cache, ports),
            **((spec.get("master") or {}).get("properties") or {}),
        },
        "jindocache-worker": {
            **_worker(cache, ports),
            **((spec.get("worker") or {}).get("properties") or {}),
        },
        "common": {**fuse_logs, **_token(cache)},
        "jindocache-client": own,  # of programs in the servers' pods
        "jindosdk": client,
    }


def storage(cache: Cache) -> dict[str, str]:
    """How sources are reached."""
    made: dict[str, str] = {}
    for source in cache.sources:
        options = {k: v for k, v in source.options.items() if k not in MOUNT_OPTIONS}
        for option, value in options.items():
            name = option.removeprefix(f"fs.{source.scheme}.")
            if source.scheme == "oss":
                made |= _reached(f"jindocache.oss.bucket.{bucket(source)}.{name}", value)
            else:
                made |= _reached(option.replace("fs.", "jindocache.", 1), value)
        if source.scheme == "oss" and "dls" in options.get("fs.oss.endpoint", ""):
            made[f"jindocache.oss.bucket.{bucket(source)}.data.lake.storage.enable"] = "true"
    endpoints = {s.options["fs.oss.endpoint"] for s in cache.sources if "fs.oss.endpoint" in s.options}
    if len(endpoints) == 1:  # of what is not asked by bucket
        made |= _reached("jindocache.oss.endpoint", endpoints.pop())
    return made


def _reached(name: str, value: str) -> dict[str, str]:
    """An option as JindoSDK takes it: endpoints are hosts, to which it puts http:// and the bucket's name."""
    prefix, dot, last = name.rpartition(".")
    if not dot or last != "endpoint":
        return {name: value}
    scheme, _, host = value.rpartition("://")
    made = {name: host.rstrip("/")}
    if scheme == "https":
        made[f"{prefix}.https.enable"] = "true"
    with suppress(ValueError):  # an address has no names below it
        ipaddress.ip_address(host.rpartition(":")[0] or host)
        made[f"{prefix}.second.level.domain.enable"] = "true"
    return made


def token_files(cache: Cache) -> list[Json]:
    """Sources of a projected volume at /token: the keys of a bucket are below its name."""
    made: list[Json] = [{"secret": {"name": cache.spec["secret"]}}] if cache.spec.get("secret") else []
    files = {path: key for source in cache.sources for path, key in key_files(source).items()}
    return made + [
        {"secret": {"name": key.name, "items": [{"key": key.key, "path": path}]}}
        for path, key in files.items()
    ]


def key_files(source: Source) -> dict[str, SecretKey]:
    """The files of a source's keys, below /token; two mounts of a bucket have the same."""
    below = f"{bucket(source)}/" if source.scheme == "oss" else ""
    return {
        f"{below}{KEYS[end]}": key
        for option, key in sorted(source.secrets.items())
        if (end := option.rpartition(".")[2]) in KEYS
    }


def _token(cache: Cache) -> dict[str, str]:
    made = {"default.credential.provider": f"secrets://{TOKEN}/" if token_files(cache) else "none"}
    for source in cache.sources:
        if source.secrets and source.scheme == "oss":
            made |= _provider(
                f"jindocache.oss.bucket.{bucket(source)}", f"secrets://{TOKEN}/{bucket(source)}/"
            )
        elif source.secrets or cache.spec.get("secret"):
            made[f"jindocache.{source.scheme}.provider.endpoint"] = f"secrets://{TOKEN}/"
    return made


def _provider(prefix: str, endpoint: str) -> dict[str, str]:
    return {
        f"{prefix}.credentials.provider": _PROVIDER,
        f"{prefix}.provider.endpoint": endpoint,
        f"{prefix}.provider.format": "JSON",
    }


def _reader(name: str, endpoint: str) -> dict[str, str]:
    """What a client reads its keys by; it has two names for where they are."""
    return {**_provider(f"fs.{name}", endpoint), f"aliyun.{name}.provider.url": endpoint}


def _client(cache: Cache, ports: Mapping[str, Mapping[str, int]], store: Mapping[str, str]) -> dict[str, str]:
    made = {**_CLIENT, "fs.jindocache.storage.rpc.port": str(ports["worker"]["rpc"])}
    made |= {name.replace("jindocache.", "fs.", 1): value for name, value in store.items()}
    made["fs.jindocache.ram.cache.enable"] = str(tier(cache).medium == "MEM").lower()
    made["jindofsx.read.readahead.prefetcher.version"] = _prefetcher(cache)
    if over_rdma(cache):
        made |= {f"fs.jindocache.{part}.rpc.rdma.enable": "true" for part in ("namespace", "storage")}
    if cache.read_only:
        made["fs.jindocache.read.only.enable"] = "true"
    for source in cache.sources:
        if source.secrets and source.scheme == "oss":
            made |= _reader(f"oss.bucket.{bucket(source)}", f"secrets://{TOKEN}/{bucket(source)}/")
        elif not source.secrets and not cache.spec.get("secret"):
            continue
        made |= _reader(source.scheme, f"secrets://{TOKEN}/")
    if "fs.oss.endpoint" in made:
        made["aliyun.oss.endpoint"] = made["fs.oss.endpoint"]
    return made


def _prefetcher(cache: Cache) -> str:
    named = str(image(cache.spec.get("fuse") or {}, FUSE_IMAGE)["image"]).rpartition(":")[2]
    version = re.match(r"(\d+)\.(\d+)\.(\d+)", named)
    old = version is not None and tuple(map(int, version.groups())) <= _LEGACY_PREFETCHER
    return "legacy" if old else "default"


def _server(cache: Cache, ports: Mapping[str, Mapping[str, int]]) -> dict[str, str]:
    made = {**_SERVER, "namespace.rpc.port": str(ports["master"]["rpc"])}
    if over_rdma(cache):
        made["namespace.rpc.rdma.enable"] = "true"
    if len(masters(cache)) == 3:
        made["namespace.backend.type"] = "raft"
        voters = (f"{name.partition('.')[0]}:{ports['master']['raft']}:0" for name in masters(cache))
        made["namespace.backend.raft.initial-conf"] = ",".join(voters)
    return made


def _worker(cache: Cache, ports: Mapping[str, Mapping[str, int]]) -> dict[str, str]:
    kept = tier(cache)
    quotas = ",".join(map(unit, kept.quotas))
    made = {
        **_WORKER,
        "storage.rpc.port": str(ports["worker"]["rpc"]),
        "storage.data-dirs": ",".join(kept.paths),
        "storage.data-dirs.capacities": quotas,
        "storage.watermark.high.ratio": kept.high or "0.8",
        "storage.watermark.low.ratio": kept.low or "0.6",
    }
    if kept.medium == "MEM":
        made |= {"storage.ram.cache.size": quotas, "storage.slicelet.buffer.size": quotas}
    if over_rdma(cache):
        made |= {"storage.namespace.rpc.rdma.enable": "true", "storage.rpc.rdma.enable": "true"}
    return made


def cache_sets(cache: Cache) -> str:
    """How each source is cached, for `jindocache -refreshCacheSet`."""
    made = []
    for source in cache.sources:
        said = source.options
        path = f"local://{LOCAL}{source.path}" if source.scheme == "pvc" else source.url
        meta = f"<metaPolicy><type>{said.get('metaPolicy', 'ONCE')}</type></metaPolicy>"
        fields = {
            "name": source.name,
            "path": path,
            "cacheStrategy": said.get("cacheStrategy", "DISTRIBUTED"),
            "readPolicy": "CACHE_ASIDE",
            "readCacheReplica": said.get("readCacheReplica", "1"),
            "writePolicy": said.get("writePolicy", "WRITE_AROUND"),
            "writeCacheReplica": said.get("writeCacheReplica", "1"),
        }
        made.append("".join(f"<{name}>{escape(value)}</{name}>" for name, value in fields.items()) + meta)
    sets = "".join(f"<cacheset>{text}</cacheset>" for text in made)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<cachesets>{sets}</cachesets>\n'


def _ini(sections: Mapping[str, Mapping[str, str]]) -> str:
    return "\n".join(
        "\n".join([f"[{name}]", *(f"{key} = {value}" for key, value in sorted(values.items())), ""])
        for name, values in sections.items()
    )
