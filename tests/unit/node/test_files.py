"""What the node writes and reads: volumes, logs, hosts, sandboxes' command lines."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from addon_framework.local.node import sandbox as sandboxes
from addon_framework.local.node.hosts import hosts_file, service_lines
from addon_framework.local.node.logs import LogFile, select
from addon_framework.local.node.podstatus import ContainerState
from addon_framework.local.node.sandbox import Bind, Sandbox
from addon_framework.local.node.volumes import write_atomically


def test_content_is_swapped_as_a_whole(tmp_path: Path) -> None:
    assert write_atomically(tmp_path, {"a": b"1", "deep/b": b"2"}, 0o600)
    assert not write_atomically(tmp_path, {"a": b"1", "deep/b": b"2"}, 0o600)
    first = os.readlink(tmp_path / "..data")
    assert write_atomically(tmp_path, {"a": b"3"}, 0o600)
    assert os.readlink(tmp_path / "..data") != first
    assert sorted(entry.name for entry in tmp_path.iterdir() if not entry.name.startswith("..")) == ["a"]
    assert (tmp_path / "a").read_bytes() == b"3"
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / first).exists()


def test_lines_are_chosen_as_kubectl_asks() -> None:
    log = (
        b"2026-01-01T00:00:00.000000000Z stdout F one\n"
        b"2026-01-01T00:00:01.000000000Z stdout P tw\n"
        b"2026-01-01T00:00:01.000000000Z stdout F o\n"
        b"2026-01-01T00:00:02.000000000Z stderr F three\n"
    )
    assert select(log, {}) == b"one\ntwo\nthree\n"
    assert select(log, {"tailLines": "1"}) == b"three\n"
    assert select(log, {"tailLines": "0"}) == b""
    assert select(log, {"sinceTime": "2026-01-01T00:00:02Z"}) == b"three\n"
    assert select(log, {"limitBytes": "2"}) == b"on"
    assert select(log, {"timestamps": "true", "tailLines": "1"}) == b"2026-01-01T00:00:02.000000000Z three\n"


async def test_a_follower_sees_what_comes_and_the_end(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "c" / "0.log")
    stream = asyncio.StreamReader(limit=32)
    pump = asyncio.create_task(log.pump(stream, "stdout"))

    async def follow() -> bytes:
        return b"".join([line async for line in log.follow(0)])

    following = asyncio.create_task(follow())
    stream.feed_data(b"hello\n")
    await asyncio.sleep(0)
    stream.feed_data(b"no newline")
    stream.feed_eof()
    await pump
    log.close()
    assert select(await following, {}) == b"hello\nno newline\n"


def test_names_of_services_and_of_pods_of_headless_ones() -> None:
    services = [
        {"metadata": {"name": "web", "namespace": "a"}, "spec": {"clusterIP": "10.0.0.1"}},
        {"metadata": {"name": "db", "namespace": "a"}, "spec": {"clusterIP": "None"}},
    ]
    endpoint = {"addresses": ["10.1.0.1"], "conditions": {"ready": False}, "hostname": "db-0"}
    slices = [
        {
            "metadata": {"name": "db-x", "namespace": "a", "labels": {"kubernetes.io/service-name": "db"}},
            "endpoints": [endpoint],
        }
    ]
    own = service_lines(services, slices, "a")
    assert "10.0.0.1 web.a.svc.cluster.local web.a.svc web.a web\n" in own
    assert "10.1.0.1 db-0.db.a.svc.cluster.local db-0.db.a.svc db-0.db.a db-0.db\n" in own
    assert len(own.splitlines()) == 2  # the pod is not ready, so the service has no address
    assert "10.0.0.1 web.b" not in service_lines(services, slices, "b")
    assert service_lines(services, slices, "b").splitlines()[0].endswith("web.a")
    pod = {
        "metadata": {"name": "p", "namespace": "a"},
        "spec": {"hostAliases": [{"ip": "1.2.3.4", "hostnames": ["x", "y"]}]},
    }
    assert hosts_file(pod, "10.1.0.9", "").splitlines()[2:] == ["10.1.0.9 p", "1.2.3.4 x y"]


def command(**options: object) -> list[str]:
    return Sandbox(**options).command(["true"], status_fd=5, block_fd=None)  # type: ignore[arg-type]


def after(line: list[str], flag: str, *values: str) -> bool:
    return any(line[n : n + len(values) + 1] == [flag, *values] for n in range(len(line)))


def test_volumes_come_after_what_they_cover(tmp_path: Path) -> None:
    binds = [
        Bind(tmp_path / "b", "/dev/shm"),
        Bind(tmp_path / "a", "/models/deep", read_only=True),
        Bind(tmp_path / "c", "/var/run/secrets/x"),
    ]
    line = command(binds=binds, hidden=[str(tmp_path)])
    assert after(line, "--ro-bind", str(tmp_path / "a"), "/models/deep")
    assert after(line, "--bind", str(tmp_path / "b"), "/dev/shm")
    assert line.index("--dev") < line.index("/dev/shm")
    assert after(line, "--tmpfs", str(tmp_path))
    run = os.path.realpath("/var/run")
    assert after(line, "--bind", str(tmp_path / "c"), f"{run}/secrets/x")


def test_a_directory_of_the_host_is_opened_only_where_something_must_be_made(tmp_path: Path) -> None:
    line = command(binds=[Bind(tmp_path, "/etc/hosts", read_only=True)])
    assert after(line, "--ro-bind-try", "/etc", "/etc")
    line = command(binds=[Bind(tmp_path, "/etc/not-there/x")])
    assert not after(line, "--ro-bind-try", "/etc", "/etc")
    assert after(line, "--dir", "/etc")


def test_root_keeps_only_the_usual_capabilities(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandboxes.os, "geteuid", lambda: 0)
    line = command(binds=[], security={"capabilities": {"add": ["NET_ADMIN"], "drop": ["CHOWN"]}})
    assert after(line, "--cap-drop", "ALL")
    assert after(line, "--cap-add", "CAP_NET_ADMIN")
    assert "CAP_CHOWN" not in line
    assert "CAP_SYS_ADMIN" not in line
    assert "--cap-drop" not in command(binds=[], security={"privileged": True})
    line = command(binds=[], security={"runAsUser": 1000})
    assert after(line, "setpriv", "--clear-groups", "--reuid=1000", "--regid=0")
    monkeypatch.setattr(sandboxes.os, "geteuid", lambda: 1000)
    assert after(command(binds=[]), "--unshare-user", "--uid", "0")


def test_a_container_that_ran_before_the_node_did_counts_as_restarted() -> None:
    state = ContainerState({"name": "c"})
    state.resume({"restartCount": 2, "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}})
    assert state.restarts == 3
    assert state.last["terminated"]["exitCode"] == 137
    state = ContainerState({"name": "c"})
    state.resume({"restartCount": 0, "state": {"waiting": {"reason": "PodInitializing"}}, "lastState": {}})
    assert state.restarts == 0
