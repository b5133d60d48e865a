"""Compiled code carried from replica to replica: real archives, no engine."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
import time
from pathlib import Path

import pytest

from addons.inference_deployer.launcher.compiled import (
    Compiled,
    accelerator,
    archives,
    digest,
    key_of,
    variables,
)

KEY, OTHER = "a" * 32, "b" * 32


def replica(carried: Path, private: Path, key: str = KEY, limit: int = 1 << 20) -> Compiled:
    """A launcher's view just before its engine reads weights."""
    private.mkdir()
    it = Compiled(str(carried), str(private), limit)
    it.bring(key)
    return it


def compiles(it: Compiled, name: str, data: bytes = b"code") -> None:
    """The engine writes a file."""
    path = it.private / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def put(carried: Path, content: bytes, key: str = KEY) -> Path:
    """An archive as somebody else may have left it."""
    path = carried / f"{key}.{digest(io.BytesIO(content))}.tar"
    path.write_bytes(content)
    return path


def tar(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for info, data in members:
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return made.getvalue()


@pytest.fixture
def carried(tmp_path: Path) -> Path:
    path = tmp_path / "carried"
    path.mkdir()
    return path


def test_the_first_replica_publishes_and_the_next_finds_it(carried, tmp_path):
    first = replica(carried, tmp_path / "first")
    compiles(first, "inductor/ab/kernel.so", b"machine code")
    (first.private / "inductor/ab/kernel.so").chmod(0o755)
    compiles(first, "inductor/locks/kernel.lock")
    assert first.keep() == "none"
    assert [path.name for path in carried.iterdir()] == [archives(carried, KEY)[0].name]

    second = replica(carried, tmp_path / "second")
    found = second.private / "inductor/ab/kernel.so"
    assert found.read_bytes() == b"machine code"
    assert os.access(found, os.X_OK)
    assert not (second.private / "inductor/locks").exists()
    before = archives(carried)
    assert second.keep() == "all"
    assert archives(carried) == before  # nothing was added, so nothing is written


def test_what_a_later_replica_adds_comes_on_top_of_the_rest(carried, tmp_path):
    first = replica(carried, tmp_path / "first")
    compiles(first, "one.so")
    first.keep()
    second = replica(carried, tmp_path / "second")
    compiles(second, "two.so")
    assert second.keep() == "part"
    assert len(archives(carried)) == 1  # the old one is gone
    third = replica(carried, tmp_path / "third")
    assert sorted(os.listdir(third.private)) == ["one.so", "two.so"]


def test_another_key_finds_nothing_and_takes_nothing_away(carried, tmp_path):
    first = replica(carried, tmp_path / "first")
    compiles(first, "one.so")
    first.keep()
    other = replica(carried, tmp_path / "other", OTHER)
    assert os.listdir(other.private) == []
    compiles(other, "two.so")
    assert other.keep() == "none"
    assert archives(carried, KEY)
    assert archives(carried, OTHER)


def test_an_engine_that_compiles_nothing_leaves_nothing(carried, tmp_path):
    assert replica(carried, tmp_path / "eager").keep() == ""
    assert os.listdir(carried) == []


def test_a_damaged_archive_is_not_used_and_replaced(carried, tmp_path, capfd):
    first = replica(carried, tmp_path / "first")
    compiles(first, "one.so", b"x" * 5000)
    first.keep()
    with archives(carried)[0].open("r+b") as file:
        file.seek(1000)
        file.write(b"!")
    second = replica(carried, tmp_path / "second")
    assert os.listdir(second.private) == []
    assert "its SHA-256 is not the one in its name" in capfd.readouterr().err
    compiles(second, "one.so", b"x" * 5000)
    assert second.keep() == "none"
    third = replica(carried, tmp_path / "third")
    assert (third.private / "one.so").read_bytes() == b"x" * 5000


@pytest.mark.parametrize("name", ["../outside.so", "/tmp/outside-of-compiled.so"])
def test_nothing_is_unpacked_elsewhere(carried, tmp_path, name):
    put(carried, tar((tarfile.TarInfo("first.so"), b"1"), (tarfile.TarInfo(name), b"2")))
    it = replica(carried, tmp_path / "private")
    assert not (tmp_path / "outside.so").exists()
    assert not Path("/tmp/outside-of-compiled.so").exists()
    if name.startswith(".."):  # an absolute name becomes a relative one
        assert os.listdir(it.private) == []  # not the half of it either


def test_a_link_that_leads_out_is_refused(carried, tmp_path):
    link = tarfile.TarInfo("way")
    link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path)
    put(carried, tar((link, b""), (tarfile.TarInfo("way/outside.so"), b"2")))
    it = replica(carried, tmp_path / "private")
    assert os.listdir(it.private) == []
    assert not (tmp_path / "outside.so").exists()


def test_an_archive_that_is_cut_off_but_named_so_is_no_trouble(carried, tmp_path):
    whole = tar((tarfile.TarInfo("a.so"), b"a" * 4000), (tarfile.TarInfo("b.so"), b"b" * 4000))
    put(carried, whole[:6000])
    assert os.listdir(replica(carried, tmp_path / "private").private) == []


def test_too_much_is_neither_published_nor_unpacked(carried, tmp_path, capfd):
    first = replica(carried, tmp_path / "first")
    compiles(first, "one.so", b"x" * 3000)
    first.limit = 2000
    assert first.keep() == "none"
    assert os.listdir(carried) == []
    assert "it has 3000 bytes, 2000 are allowed" in capfd.readouterr().err
    put(carried, tar((tarfile.TarInfo("one.so"), b"x" * 3000)))
    assert os.listdir(replica(carried, tmp_path / "second", limit=2000).private) == []


def test_the_oldest_make_room(carried, tmp_path):
    for number in range(4):
        path = put(carried, tar((tarfile.TarInfo("x.so"), bytes(5000))), str(number) * 32)
        os.utime(path, (number, number))
    it = replica(carried, tmp_path / "new", limit=35_000)
    compiles(it, "x.so", b"y" * 5000)
    it.keep()  # each archive has 10240 bytes
    assert {path.name[0] for path in archives(carried)} == {"a", "3", "2"}


def test_what_nobody_finished_goes_after_a_while(carried, tmp_path):
    (carried / ".old.new").touch()
    os.utime(carried / ".old.new", (0, 0))
    (carried / ".fresh.new").touch()
    it = replica(carried, tmp_path / "private")
    compiles(it, "x.so")
    it.keep()
    assert [path.name for path in carried.glob(".*")] == [".fresh.new"]


def test_a_directory_that_is_gone_costs_nothing_but_the_carrying(carried, tmp_path, capfd):
    carried.rmdir()
    it = replica(carried, tmp_path / "private")
    compiles(it, "x.so")
    assert it.keep() == "none"
    assert "the next replica compiles again" in capfd.readouterr().err


def test_the_key_is_of_the_model_the_engine_and_its_settings(tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text('{"hidden_size": 8}')
    (model / "model.safetensors").write_bytes(b"12345678")
    arguments = ["--model", str(model), "--port", "1", "--dtype=bfloat16"]
    machine = accelerator()
    key = key_of(str(model), arguments, {}, machine)
    moved = ["--model=/elsewhere", "--port=2", "--served-model-name", "x", "--dtype=bfloat16"]
    same = {"VLLM_HOST_IP": "10.0.0.1", "VLLM_API_KEY": "k", "VLLM_CACHE_ROOT": "/x", "HOME": "/y"}
    same |= {"VLLM_SERVICE_PORT": "80", "VLLM_PORT_80_TCP_ADDR": "10.1.1.1"}  # a Service called vllm
    assert key_of(str(model), moved, same, machine) == key

    others = [
        key_of(str(model), [*arguments, "--max-num-seqs=2"], {}, machine),
        key_of(str(model), arguments, {"VLLM_USE_AOT_COMPILE": "0"}, machine),
        key_of(str(model), arguments, {"OMP_NUM_THREADS": "3"}, machine),
        key_of(str(model), arguments, {"ENGINE_IMAGE": "vllm:2"}, machine),
    ]
    (model / "model.safetensors").write_bytes(b"123456789")
    others.append(key_of(str(model), arguments, {}, machine))
    (model / "config.json").write_text('{"hidden_size": 9}')
    others.append(key_of(str(model), arguments, {}, machine))
    others.append(key_of(str(model), arguments, {}, [*machine, "another"]))
    assert len({key, *others}) == 8
    with pytest.raises(ValueError, match="for which machine"):
        key_of(str(model), arguments, {}, [])


def test_the_key_of_a_model_in_several_files_is_known_before_they_are_there(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 9}, "weight_map": {"a": "1.safetensors"}}))
    key = key_of(str(tmp_path), [], {}, ["x"])
    (tmp_path / "1.safetensors").write_bytes(b"123456789")
    assert key_of(str(tmp_path), [], {}, ["x"]) == key
    index.write_text(json.dumps({"metadata": {"total_size": 8}, "weight_map": {"a": "1.safetensors"}}))
    assert key_of(str(tmp_path), [], {}, ["x"]) != key


def test_an_engine_keeps_all_in_one_directory_and_a_user_may_want_ahead_of_time(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")  # no GPU
    assert variables("/d") == {
        "VLLM_CACHE_ROOT": "/d",
        "TORCHINDUCTOR_CACHE_DIR": "/d/inductor",
        "TRITON_CACHE_DIR": "/d/triton",
        "VLLM_USE_AOT_COMPILE": "0",
    }
    monkeypatch.setenv("VLLM_USE_AOT_COMPILE", "1")
    assert variables("/d")["VLLM_USE_AOT_COMPILE"] == "1"


def test_gpus_are_part_of_what_code_is_for(tmp_path, monkeypatch):
    tool = tmp_path / "bin" / "nvidia-smi"
    tool.parent.mkdir()
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    machines = {tuple(accelerator())}
    for driver in ("570.1", "570.2"):
        tool.write_text(f"#!/bin/sh\necho 'NVIDIA H100 80GB HBM3, 9.0, {driver}'\n")
        tool.chmod(0o755)
        machines.add(tuple(accelerator()))
    assert len(machines) == 3
    assert "VLLM_USE_AOT_COMPILE" not in variables("/d")
    tool.write_text("#!/bin/sh\nexit 9\n")  # better nothing is carried than what is for other GPUs
    with pytest.raises(subprocess.CalledProcessError):
        accelerator()


def test_archives_are_newest_first(carried):
    now = time.time()
    for number, age in ((1, 10), (2, 5), (3, 20)):
        os.utime(put(carried, str(number).encode()), (now - age, now - age))
    (carried / f"{KEY}.tar").touch()  # not one of ours
    assert [path.read_bytes() for path in archives(carried, KEY)] == [b"2", b"1", b"3"]
