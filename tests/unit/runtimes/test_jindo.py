"""What the `jindo` backend describes. Its scripts meet programs that only note commands."""

from __future__ import annotations

import configparser
import json
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from addon_framework.api.data import DataLoad
from addon_framework.api.meta import Json, from_dict
from addon_framework.testing import eventually
from runtimes.fuse import UNMOUNT
from runtimes.interface import Cache, CacheState
from runtimes.jindo import JindoBackend
from runtimes.jindo.config import cache_sets
from tests.unit.runtimes.caches import DISKS, KEYS, MEMORY, OSS, by_role, cache

JINDO = JindoBackend()


def jindo(*mounts: Json, **spec: Any) -> Cache:
    return cache(
        JINDO, *(mounts or (OSS,)), **{"tieredstore": DISKS, "networkmode": "ContainerNetwork", **spec}
    )


def ini(made: Cache, name: str) -> configparser.ConfigParser:
    """A file of Jindo's configuration."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    (config,) = (c.config_maps for c in JINDO.components(made) if c.config_maps)
    parser.read_string(config["data-jindofs-config"][name])
    return parser


def test_jindos_parts_are_named_as_fluids() -> None:
    parts = by_role(JINDO, jindo(master={"replicas": 3}))
    assert {role: part.name for role, part in parts.items()} == {
        "master": "data-jindofs-master",
        "worker": "data-jindofs-worker",
        "client": "data-jindofs-fuse",
    }
    assert [service.name for service in parts["master"].services] == [
        f"data-jindofs-master-{n}" for n in range(3)
    ]
    assert JINDO.hcfs(jindo()) == "data-jindofs-master-0.demo:8101"
    assert JINDO.host_ports(jindo(networkmode="")) == ["master.rpc", "worker.rpc"]
    roles = {role: (part.labels["app"], part.labels["role"]) for role, part in parts.items()}
    fluids = {"master": "master", "worker": "worker", "client": "fuse"}
    assert roles == {role: ("jindofs", f"jindofs-{name}") for role, name in fluids.items()}


def test_jindos_configuration_has_tiers_sources_and_what_the_runtime_says() -> None:
    made = jindo(worker={"properties": {"storage.address": "x"}}, fuse={"properties": {"fs.a": "b"}})
    config = ini(made, "jindocache.cfg")
    worker = config["jindocache-worker"]
    assert worker["storage.data-dirs"] == "/a/demo/data,/b/demo/data"
    assert worker["storage.data-dirs.capacities"] == "1g,2g"
    assert worker["storage.watermark.high.ratio"] == "0.9"
    assert worker["storage.address"] == "x"
    assert config["jindocache-common"]["jindocache.oss.bucket.bucket.endpoint"] == "oss.example.org"
    sdk = ini(made, "jindosdk.cfg")["jindosdk"]
    assert sdk["fs.oss.bucket.bucket.endpoint"] == "oss.example.org"
    assert sdk["fs.jindocache.namespace.rpc.address"] == "data-jindofs-master-0.demo:8101"
    assert sdk["fs.a"] == "b"
    sets = cache_sets(made)
    command = JINDO.prepare(made)
    assert command is not None
    assert shlex.quote(sets) in command.command[-1], "a file of a ConfigMap would be of the pod's start"
    assert "<path>oss://bucket/data</path>" in sets
    assert "<metaPolicy><type>ALWAYS</type></metaPolicy>" in sets


def test_jindos_endpoints_are_hosts() -> None:
    secure = {**OSS, "options": {"fs.oss.endpoint": "https://oss.example.org/"}}
    address = {"mountPoint": "s3://other", "name": "o", "options": {"fs.s3.endpoint": "http://10.0.0.1:9000"}}
    sdk = ini(jindo(secure, address), "jindosdk.cfg")["jindosdk"]
    for name in ("fs.oss.bucket.bucket", "fs.oss"):
        assert (sdk[f"{name}.endpoint"], sdk[f"{name}.https.enable"]) == ("oss.example.org", "true")
    assert (sdk["fs.s3.endpoint"], sdk["fs.s3.second.level.domain.enable"]) == ("10.0.0.1:9000", "true")


def test_jindo_without_a_tier_has_fluids() -> None:
    made = jindo(tieredstore={})
    worker = ini(made, "jindocache.cfg")["jindocache-worker"]
    assert (worker["storage.data-dirs"], worker["storage.ram.cache.size"]) == ("/dev/shm/demo/data", "1g")
    parts = by_role(JINDO, made)
    for role in ("worker", "client"):
        mounts = parts[role].pod["containers"][0]["volumeMounts"]
        assert "/dev/shm/demo/data" in [mount["mountPath"] for mount in mounts], role
    assert "--remove=/dev/shm/demo/data" in json.dumps(JINDO.clean(made).pod)


def test_jindo_over_rdma() -> None:
    made = jindo()
    made.runtime["metadata"] = {
        **made.runtime["metadata"],
        "annotations": {"fluid.io/runtime-rpc-protocol": "rdma"},
    }
    parts, config = by_role(JINDO, made), ini(made, "jindocache.cfg")
    assert config["jindocache-server"]["namespace.rpc.rdma.enable"] == "true"
    assert config["jindocache-worker"]["storage.rpc.rdma.enable"] == "true"
    client = "fs.jindocache.storage.rpc.rdma.enable"
    assert ini(made, "jindosdk.cfg")["jindosdk"][client] == "true"
    assert client not in config["jindocache-client"], "programs in the servers' pods use TCP"
    for role in ("master", "worker"):
        security = parts[role].pod["containers"][0]["securityContext"]
        assert security == {"capabilities": {"add": ["SYS_RESOURCE", "IPC_LOCK"]}}


@pytest.mark.parametrize(
    ("tag", "prefetcher"), [("6.2.0", "legacy"), ("6.10.1", "default"), ("x", "default")]
)
def test_jindos_clients_are_told_what_their_version_knows(tag: str, prefetcher: str) -> None:
    client = ini(jindo(fuse={"imageTag": tag}), "jindosdk.cfg")["jindosdk"]
    assert client["jindofsx.read.readahead.prefetcher.version"] == prefetcher
    assert client["fs.oss.endpoint"] == client["aliyun.oss.endpoint"] == "oss.example.org"
    assert client["aliyun.oss.bucket.bucket.provider.url"] == "secrets:///token/bucket/"


def test_jindos_clients_are_scraped_where_that_is_asked_for() -> None:
    name, metrics = "prometheus.fuse.fluid.io/scrape", {"enabled": True, "scrapeTarget": "MountPod"}
    assert by_role(JINDO, jindo(fuse={"metrics": metrics}))["client"].annotations[name] == "true"
    assert name not in by_role(JINDO, jindo())["client"].annotations


def test_jindos_keys_are_files_by_bucket() -> None:
    for part in by_role(JINDO, jindo()).values():
        (token,) = [v for v in part.pod["volumes"] if v["name"] == "token"]
        paths = [item["path"] for s in token["projected"]["sources"] for item in s["secret"]["items"]]
        assert paths == ["bucket/AccessKeyId", "bucket/AccessKeySecret"]
    common = ini(jindo(), "jindocache.cfg")["jindocache-common"]
    assert common["jindocache.oss.bucket.bucket.provider.endpoint"] == "secrets:///token/bucket/"


def test_jindo_has_one_pair_of_keys_for_a_bucket() -> None:
    more = {**OSS, "mountPoint": "oss://bucket/more", "name": "more"}
    volumes = by_role(JINDO, jindo(OSS, more))["worker"].pod["volumes"]
    (token,) = (volume["projected"]["sources"] for volume in volumes if volume["name"] == "token")
    assert len(token) == 2, "a path may be there once"
    others = [{**key, "valueFrom": {"secretKeyRef": {"name": "other", "key": "k"}}} for key in KEYS]
    (problem,) = JINDO.validate(jindo(OSS, {**more, "encryptOptions": others}))
    assert "spec.mounts[1].encryptOptions: another mount has other keys" in problem


def test_jindos_summary_is_of_the_tiers_medium() -> None:
    disk, memory = ("3.00GB", "1.00GB"), ("250B", "0B")
    output = "".join(
        f"Total {kind} Capacity: {total}\nUsed {kind} Capacity: {used}\n"
        for kind, (total, used) in (("Disk", disk), ("MEM", memory))
    )
    state = JINDO.summarize(jindo(), output)
    assert (state.cached, state.capacity) == (1 << 30, 3 << 30)
    assert JINDO.summarize(jindo(tieredstore=MEMORY), output).capacity == 250


async def test_what_we_cannot_list_jindo_counts_beside_its_summary(tmp_path: Path) -> None:
    count = 'echo "  DIRS 21 1024 $3"; [ ! -e "$TMPDIR/gone" ]'
    for name, does in (("jindocache", "echo Used Disk Capacity: 512MB"), ("jindo", count)):
        (tmp_path / name).write_text(f"#!/bin/sh\n{does}\n")
        (tmp_path / name).chmod(0o755)
    hdfs = {"mountPoint": "hdfs://namenode:8020/x", "name": "x"}
    made = jindo(OSS, hdfs)
    assert await JINDO.measure(made, {}) is None
    command = JINDO.summary(made)
    assert command is not None
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin", "TMPDIR": str(tmp_path)}

    def told() -> CacheState:
        done = subprocess.run(command.command, env=env, capture_output=True, text=True, check=True)
        return JINDO.summarize(made, done.stdout)

    (tmp_path / "gone").touch()
    assert (told().cached, told().source) == (512 << 20, None)
    (tmp_path / "gone").unlink()
    await eventually(lambda: told().source == (2048, 42))
    for given, counts in ((jindo(secret="jindos-own"), True), (jindo(), False)):
        command = JINDO.summary(given)
        assert command is not None
        assert ("-count" in command.command[-1]) == counts


def test_jindo_loads_memory_where_its_tier_is(tmp_path: Path) -> None:
    for spec, options, flags in (
        ({}, {}, "-data"),
        ({"tieredstore": MEMORY}, {}, "-data -m"),
        ({"tieredstore": MEMORY}, {"loadMemorydata": "false"}, "-data"),
    ):
        load = from_dict(DataLoad, {"metadata": {"name": "l"}, "spec": {"options": options}})
        task = JINDO.warm(jindo(**spec), load)
        assert task is not None
        assert {"name": "FLAGS", "value": flags} in task.pod["containers"][0]["env"]


def test_jindos_load_has_the_flags_of_its_options(tmp_path: Path) -> None:
    for name in ("jindo", "jindocache"):
        (tmp_path / name).write_text(f'#!/bin/sh\necho {name} "$@" >>{tmp_path}/log\n')
        (tmp_path / name).chmod(0o755)
    spec = {
        "dataset": {"name": "data"},
        "loadMetadata": True,
        "target": [{"path": "/a", "replicas": 3}, {"path": "/b"}],
        "options": {"atomicCache": "true", "threadNum": "8"},
    }
    task = JINDO.warm(jindo(), from_dict(DataLoad, {"metadata": {"name": "l"}, "spec": spec}))
    assert task is not None
    assert task.once
    (container,) = task.pod["containers"]
    env = {e["name"]: e["value"] for e in container["env"] if "value" in e}
    env["PATH"] = f"{tmp_path}:/usr/bin:/bin"
    done = subprocess.run(container["command"], env=env, capture_output=True, text=True, check=True)
    assert (tmp_path / "log").read_text().splitlines() == [
        "jindo fs -ls jindo:///a",
        "jindocache -load -meta -data -atomic -thread 8 -s -R -replica 3 jindo:///a",
        "jindo fs -ls jindo:///b",
        "jindocache -load -meta -data -atomic -thread 8 -s -R -replica 1 jindo:///b",
    ]
    assert json.loads(done.stdout.splitlines()[-1])["report"] == "done"
    assert (
        subprocess.run(["bash", "-c", JINDO.prepare(jindo()).command[-1]], env=env, check=True).returncode
        == 0
    )  # type: ignore[union-attr]
    assert "jindocache -mount /data oss://bucket/data" in (tmp_path / "log").read_text()


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (jindo({**OSS, "options": {}}), "spec.mounts[0].options: fs.oss.endpoint is needed"),
        (jindo({**OSS, "encryptOptions": KEYS[:1]}), "spec.mounts[0].encryptOptions: must be"),
        (jindo({"mountPoint": "ftp://a/b", "name": "x"}), "spec.mounts[0].mountPoint: 'ftp://a/b'"),
        (jindo(master={"replicas": 2}), "spec.master.replicas: 2; JindoCache has 1 or 3"),
        (jindo(labels={"a": "b"}, podMetadata={"labels": {"c": "d"}}), "spec.labels: is the old name"),
        (jindo(worker={"disabled": True}), "spec.worker.disabled: a cache has both"),
        (jindo(fuse={"disabled": True}), "spec.fuse.disabled: pods could not mount"),
        (
            jindo(fuse={"metrics": {"enabled": True, "scrapeTarget": "All"}}),
            "spec.fuse.metrics.scrapeTarget: 'All' must be None or MountPod",
        ),
        (jindo(fuse={"metrics": {"scrapeTarget": "MountPod"}}), "spec.fuse.metrics.enabled: nothing could"),
    ],
)
def test_what_jindo_cannot_do_is_said_with_the_field(made: Cache, said: str) -> None:
    (problem,) = JINDO.validate(made)
    assert said in problem


def test_jindos_client_alone_reads_the_source_itself() -> None:
    off = {"disabled": True}
    (client,) = JINDO.components(jindo(master=off, worker=off))
    assert client.pod["containers"][0]["args"][-1] == "-ouri=oss://bucket/data"
    assert JINDO.prepare(jindo(master=off, worker=off)) is None
    assert JINDO.hcfs(jindo(master=off, worker=off)) == ""


# Notes commands, and lists what was mounted.
_JINDOCACHE = """#!/bin/sh
echo jindocache "$@" >>"$STATE/log"
[ "$1" != -unmount ] || { grep -v " $2 -" "$STATE/mounts" >"$STATE/rest"; mv "$STATE/rest" "$STATE/mounts"; }
[ "$1" = -mount ] || exit 0
if [ $# = 3 ]; then echo "UFS $3 $2 -" >>"$STATE/mounts"; else cat "$STATE/mounts" 2>/dev/null || true; fi
"""


def test_jindo_mounts_a_source_though_another_begins_like_it(tmp_path: Path) -> None:
    (tmp_path / "jindocache").write_text(_JINDOCACHE)
    (tmp_path / "jindocache").chmod(0o755)
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin", "STATE": str(tmp_path)}
    long = {**OSS, "mountPoint": "oss://bucket/ab", "name": "ab", "encryptOptions": []}
    short = {**long, "mountPoint": "oss://bucket/a/", "name": "a"}

    def prepare(*mounts: Json) -> subprocess.CompletedProcess[str]:
        command = JINDO.prepare(jindo(*mounts))
        assert command is not None
        script = ["bash", "-c", command.command[-1]]
        return subprocess.run(script, env=env, capture_output=True, text=True, check=False)

    for mounts in ([long], [long, short], [long, short]):
        assert prepare(*mounts).returncode == 0
    asked = (tmp_path / "log").read_text().splitlines()
    assert [line for line in asked if line.count(" ") > 2 and " -mount " in line] == [
        "jindocache -mount /ab oss://bucket/ab",
        "jindocache -mount /a oss://bucket/a/",
    ]
    changed = {**short, "mountPoint": "oss://bucket/b"}
    assert prepare(changed).returncode == 0
    assert (tmp_path / "mounts").read_text() == "UFS oss://bucket/b /a -\n"


def test_jindos_clients_end_by_what_their_image_unmounts_with() -> None:
    client = by_role(JINDO, jindo())["client"].pod["containers"][0]
    assert client["lifecycle"]["preStop"]["exec"]["command"][-1] == f"/prestop.sh; {UNMOUNT}"
