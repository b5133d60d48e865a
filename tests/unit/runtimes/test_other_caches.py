"""What `efc` and `vineyard` describe."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest

from addon_framework.api.meta import Json
from addon_framework.testing import eventually
from runtimes.efc import EFCBackend
from runtimes.fuse import UNMOUNT
from runtimes.validation import notes
from runtimes.vineyard import VineyardBackend
from tests.unit.runtimes.caches import DISKS, MEMORY, OSS, by_role, cache

EFC, VINEYARD = EFCBackend(), VineyardBackend()
NAS: Json = {"mountPoint": "nfs://id-x.cn-hangzhou.nas.aliyuncs.com:/", "name": "nas"}
PLAIN = {"levels": [{"mediumtype": "MEM", "quota": "2Gi"}]}


def test_efcs_clients_end_their_session() -> None:
    client = by_role(EFC, cache(EFC, NAS, tieredstore=PLAIN))["client"].pod["containers"][0]
    said = client["lifecycle"]["preStop"]["exec"]["command"][-1]
    assert said == f'/entrypoint.sh stop_fuse "$MOUNT_POINT"; {UNMOUNT}'


async def test_efcs_programs_have_workers_by_address(tmp_path: Path) -> None:
    master = by_role(EFC, cache(EFC, NAS, tieredstore=PLAIN))["master"].pod["containers"][0]
    script = master["command"][2]
    for path in ("/endpoints", "/etc/efc", "/entrypoint.sh"):
        script = script.replace(path, f"{tmp_path}{path}")
        (tmp_path / path[1:]).parent.mkdir(exist_ok=True)
    (tmp_path / "entrypoint.sh").write_text("#!/bin/sh\nexec sleep 100\n")
    (tmp_path / "entrypoint.sh").chmod(0o755)
    for directory in ("endpoints", "etc/efc"):
        (tmp_path / directory).mkdir()
    name, found = "efc-worker-endpoints.json", tmp_path / "etc/efc/efc-worker-endpoints.json"
    workers = {"containerendpoints": ["127.0.0.9:1455", "nobody.invalid:1455", "127.0.0.8:1456"]}
    (tmp_path / "endpoints" / name).write_text(json.dumps(workers))
    program = await asyncio.create_subprocess_exec("sh", "-euc", script, "efc-master", start_new_session=True)
    try:
        await eventually(found.exists)
    finally:
        os.killpg(program.pid, signal.SIGKILL)
        await program.wait()
    assert json.loads(found.read_text()) == {"containerendpoints": ["127.0.0.9:1455", "127.0.0.8:1456"]}


def test_efcs_clients_find_the_workers() -> None:
    container = {"networkMode": "ContainerNetwork"}
    made = cache(
        EFC, NAS, tieredstore=PLAIN, worker=container, master=container, fuse={"properties": {"a": "b"}}
    )
    parts = by_role(EFC, made)
    endpoints = json.loads(parts["client"].config_maps["data-worker-endpoints"]["efc-worker-endpoints.json"])
    assert endpoints == {"containerendpoints": [f"data-worker-{n}.data-worker.demo:14555" for n in range(2)]}
    worker = parts["worker"].pod["containers"][0]
    assert worker["args"][1].split(",") == [
        "cache_media=/dev/shm/demo/data",
        "server_port=14555",
        "cache_capacity_gb=2",
        "tmpfs=true",
    ]
    args = parts["client"].pod["containers"][0]["args"]
    assert args[:3] == [
        "fuse",
        "id-x.cn-hangzhou.nas.aliyuncs.com:/",
        "/var/lib/boundaryless/mounts/demo/data",
    ]
    assert args[3].split(",")[-1] == "a=b"
    assert "g_tier_EnableClusterCache=true" in args[3]


@pytest.mark.parametrize(
    ("mount", "spec", "said"),
    [
        ({**NAS, "mountPoint": "nfs://host:/x"}, {}, "spec.mounts[0].mountPoint: 'nfs://host:/x' must be"),
        (NAS, {"tieredstore": {"levels": [{"mediumtype": "MEM", "quota": "10Mi"}]}}, "at least 1Gi"),
        ({**NAS, "options": {"a": "b"}}, {}, "spec.mounts[0].options: unknown a; known: none"),
    ],
)
def test_what_efc_cannot_do_is_said_with_the_field(mount: Json, spec: Json, said: str) -> None:
    (problem,) = EFC.validate(cache(EFC, mount, **{"tieredstore": PLAIN, **spec}))
    assert said in problem


def test_what_fluid_takes_and_does_not_use_is_told() -> None:
    made = cache(
        EFC, NAS, tieredstore=MEMORY, osAdvise={"enabled": True}, initFuse={"version": {"image": "x"}}
    )
    assert EFC.validate(made) == []
    assert [note.split(": has")[0].rpartition(" ")[2] for note in notes(EFC, made)] == [
        "spec.initFuse",
        "spec.osAdvise",
        "spec.tieredstore.levels[0].high",
        "spec.tieredstore.levels[0].low",
    ]
    made = cache(VINEYARD, tieredstore=PLAIN, worker={"ports": {"exporter": 9144}})
    assert VINEYARD.validate(made) == []
    assert "spec.worker.ports.exporter: has no effect: no exporter runs" in str(notes(VINEYARD, made))


def test_vineyards_etcd_may_be_anothers() -> None:
    own = by_role(VINEYARD, cache(VINEYARD, tieredstore=PLAIN, master={"networkMode": "ContainerNetwork"}))
    assert own["master"].services[0].name == "data-master"
    made = cache(VINEYARD, tieredstore=PLAIN, master={"endpoint": {"uri": "etcd.other:2379"}})
    other = by_role(VINEYARD, made)
    assert set(other) == {"worker", "client"}
    args = other["worker"].pod["containers"][0]["args"]
    assert args[args.index("--etcd_endpoint") + 1] == "http://etcd.other:2379"
    assert VINEYARD.host_ports(made) == ["worker.rpc"]


def test_vineyard_spills_to_the_second_tier() -> None:
    levels = [
        *PLAIN["levels"],
        {"mediumtype": "SSD", "path": "/spill", "quota": "5Gi", "high": "0.7", "low": "0.2"},
    ]
    args = by_role(VINEYARD, cache(VINEYARD, tieredstore={"levels": levels}))["worker"].pod["containers"][0][
        "args"
    ]
    assert args[args.index("--size") + 1] == str(2 << 30)
    assert args[args.index("--spill_path") + 1] == "/spill/demo/data"
    assert args[args.index("--spill_upper_rate") + 1] == "0.7"


@pytest.mark.parametrize(
    ("mounts", "spec", "said"),
    [
        ([OSS], {}, "spec.mounts: Vineyard reads no source"),
        ([], {"tieredstore": DISKS}, "spec.tieredstore.levels: one of MEM is needed"),
        ([], {"worker": {"options": {"x": "y"}}}, "spec.worker.options.x: is unknown"),
        ([], {"master": {"endpoint": {"uri": "a:1", "options": {"b": "c"}}}}, "spec.master.endpoint.options"),
    ],
)
def test_what_vineyard_cannot_do_is_said_with_the_field(mounts: list[Json], spec: Json, said: str) -> None:
    (problem,) = VINEYARD.validate(cache(VINEYARD, *mounts, **{"tieredstore": PLAIN, **spec}))
    assert said in problem


def test_vineyards_nodes_hold_different_objects() -> None:
    state = VINEYARD.state(cache(VINEYARD), [{"cached": 1, "capacity": 10}, {"cached": 2, "capacity": 10}])
    assert (state.cached, state.capacity) == (3, 20)
