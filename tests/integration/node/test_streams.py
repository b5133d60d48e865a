"""exec, attach, port-forward and cp, by kubectl as people use it, and by the official Python client."""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import select
import shutil
import signal
import struct
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from kubernetes import client as official
from kubernetes import config as official_config
from kubernetes.stream import portforward, stream

from addon_framework.testing import eventually

from .cluster import PATIENCE, PREFIX, Cluster, descendants_mentioning

KUBECTLS = [str(PREFIX / "kubectl"), *([path] if (path := shutil.which("kubectl", path="/usr/bin")) else [])]
SERVER = """
import http.server, os
class Hello(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"x" * 3_000_000 + self.path.encode())
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer((os.environ["POD_IP"], 8000), Hello).serve_forever()
"""
POD_IP = [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]


async def start(
    cluster: Cluster, program: str, *arguments: str, **options: object
) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    streams = {"stdin": pipe, "stdout": pipe, "stderr": pipe} | options
    line = [program, "--kubeconfig", str(cluster.server.kubeconfig), "--namespace", cluster.namespace]
    return await asyncio.create_subprocess_exec(*line, *arguments, **streams)  # type: ignore[arg-type]


async def run(
    cluster: Cluster, program: str, *arguments: str, given: bytes = b""
) -> tuple[int, bytes, bytes]:
    process = await start(cluster, program, *arguments)
    async with asyncio.timeout(PATIENCE):
        out, err = await process.communicate(given)
    return process.returncode or 0, out, err


@pytest.mark.parametrize("kubectl", KUBECTLS)
async def test_52_exec(cluster: Cluster, kubectl: str) -> None:
    await cluster.pod(
        "p", "sleep 1000", container={"workingDir": "/usr", "env": [{"name": "A", "value": "b"}]}
    )
    await cluster.running("p")
    script = "echo out $A $PWD; echo err >&2; exit 3"
    assert await run(cluster, kubectl, "exec", "p", "--", "sh", "-c", script) == (
        3, b"out b /usr\n", b"err\ncommand terminated with exit code 3\n",
    )  # fmt: skip
    code, out, err = await run(cluster, kubectl, "exec", "-i", "p", "--", "cat", given=b"a\x00b" * 500_000)
    assert (code, out == b"a\x00b" * 500_000, err) == (0, True, b"")
    code, _, err = await run(cluster, kubectl, "exec", "p", "--", "/no/such/program")
    assert (code, b"no/such/program" in err) == (127, True)
    code, _, err = await run(cluster, kubectl, "exec", "p", "-c", "other", "--", "true")
    assert (code, b"container other is not valid for pod p" in err or b"not found" in err) == (1, True)
    code, _, err = await run(cluster, kubectl, "exec", "none", "--", "true")
    assert (code, b'pods "none" not found' in err) == (1, True)


async def test_52_exec_ends_with_the_client(cluster: Cluster) -> None:
    await cluster.pod("p", "sleep 1000")
    await cluster.running("p")
    process = await start(cluster, KUBECTLS[0], "exec", "p", "--", "sleep", "98765")
    await eventually(lambda: len(descendants_mentioning("98765")) >= 2)
    process.send_signal(signal.SIGKILL)
    await process.wait()
    await eventually(lambda: not descendants_mentioning("98765"))
    await cluster.kubectl("exec", "p", "--", "true")


@asynccontextmanager
async def terminal(
    cluster: Cluster, *arguments: str
) -> AsyncIterator[tuple[int, asyncio.subprocess.Process]]:
    """kubectl on a terminal of 100 by 30."""
    near, far = os.openpty()
    fcntl.ioctl(near, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), far)
    process = await start(cluster, KUBECTLS[0], *arguments, start_new_session=True, **streams)
    os.close(far)
    try:
        yield near, process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        os.close(near)


async def expect(descriptor: int, pattern: bytes) -> None:
    """Reads until that is on the screen."""
    seen, loop = b"", asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE
    while not re.search(pattern, seen):
        readable = await asyncio.to_thread(select.select, [descriptor], [], [], 1)
        assert loop.time() < deadline, seen
        try:
            seen += os.read(descriptor, 4096) if readable[0] else b""
        except OSError:  # kubectl has ended
            raise AssertionError(seen) from None


async def test_52_a_terminal_and_its_size(cluster: Cluster) -> None:
    await cluster.pod("p", "sleep 1000")
    await cluster.running("p")
    async with terminal(cluster, "exec", "-it", "p", "--", "sh") as (screen, process):
        os.write(screen, b"tty; stty size; trap 'echo; echo inter''rupted' INT\n")
        await expect(screen, rb"/dev/pts/\d+\r\n30 100\r\n")
        fcntl.ioctl(screen, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        process.send_signal(signal.SIGWINCH)
        os.write(screen, b"while [ \"$(stty size)\" != '40 120' ]; do :; done; echo resi''zed\n")
        await expect(screen, b"resized")
        os.write(screen, b"\x03\n")
        await expect(screen, b"interrupted")
        os.write(screen, b"exit 7\n")
        await expect(screen, b"exit code 7")
        assert await process.wait() == 7


async def test_52_attach(cluster: Cluster) -> None:
    container = {"stdin": True, "stdinOnce": True}
    await cluster.pod(
        "p", "read a; echo got $a; cat; echo bye; exit 4", container=container, restartPolicy="Never"
    )
    await cluster.running("p")
    code, out, _ = await run(cluster, KUBECTLS[0], "attach", "-i", "p", given=b"one\ntwo\n")
    assert out.endswith(b"got one\ntwo\nbye\n")
    assert (await cluster.ended("p"))["status"]["containerStatuses"][0]["state"]["terminated"][
        "exitCode"
    ] == 4
    assert await cluster.logs("p") == "got one\ntwo\nbye\n"
    assert code in (0, 4)


async def test_52_run_on_a_terminal(cluster: Cluster) -> None:
    line = ["run", "p", "-it", "--rm", "--image=busybox", "--restart=Never", "--command", "--", "sh", "-i"]
    async with terminal(cluster, *line) as (screen, process):
        await expect(screen, b"press(ing)? enter")  # the prompt came before kubectl did
        os.write(screen, b"\n")
        await expect(screen, rb"[#$] ")
        os.write(screen, b"stty size; exit\n")
        await expect(screen, b"30 100\r\n")
        await expect(screen, b'pod "p" deleted')
        assert await process.wait() == 0


async def fetch(port: int, path: str) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
    try:
        async with asyncio.timeout(PATIENCE):
            answer = await reader.read()
    except ConnectionResetError:  # how kubectl may end a connection that leads nowhere
        answer = b""
    writer.close()
    return answer.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize("kubectl", KUBECTLS)
async def test_52_port_forward(cluster: Cluster, kubectl: str) -> None:
    container = {
        "image": "example.org/python:3",
        "args": ["-c", SERVER],
        "env": POD_IP,
        "ports": [{"containerPort": 8000}],
    }
    container["readinessProbe"] = {"httpGet": {"port": 8000}, "periodSeconds": 1}  # type: ignore[assignment]
    await cluster.pod("web", container=container)
    await cluster.running("web")
    process = await start(cluster, kubectl, "port-forward", "pod/web", ":8000", ":8001")
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        lines = [await asyncio.wait_for(process.stdout.readline(), PATIENCE) for _ in range(4)]
        ports = {
            inner: int(outer) for outer, inner in re.findall(rb"127.0.0.1:(\d+) -> (\d+)", b"".join(lines))
        }
        answers = await asyncio.gather(*(fetch(ports[b"8000"], f"/{n}") for n in range(8)))
        assert [answer[-2:] for answer in answers] == [b"/%d" % n for n in range(8)]
        assert all(len(answer) == 3_000_002 for answer in answers)
        assert await fetch(ports[b"8000"], "/again") == b"x" * 3_000_000 + b"/again"
        assert await fetch(ports[b"8001"], "/") == b""  # nobody listens there
        async with asyncio.timeout(PATIENCE):
            while b"error forwarding port 8001" not in await process.stderr.readline():
                pass
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_52_cp(cluster: Cluster, tmp_path: Path) -> None:
    await cluster.pod("p", "sleep 1000")
    await cluster.running("p")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "f").write_bytes(content := os.urandom(5_000_000))
    await cluster.kubectl("cp", str(tmp_path / "d"), "p:/tmp/d")
    await cluster.kubectl("cp", "p:/tmp/d/f", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == content


async def test_53_http_through_the_api_server(cluster: Cluster) -> None:
    container = {"image": "example.org/python:3", "args": ["-c", SERVER], "env": POD_IP}
    container |= {"ports": [{"containerPort": 8000}]}  # type: ignore[dict-item]
    container["readinessProbe"] = {"httpGet": {"port": 8000}, "periodSeconds": 1}  # type: ignore[assignment]
    await cluster.pod("web", container=container, labels={"app": "web"})
    await cluster.running("web")
    ports = [{"name": "http", "port": 80, "targetPort": 8000}]
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}}
    await cluster.create({**service, "spec": {"selector": {"app": "web"}, "ports": ports}})
    mine = f"/api/v1/namespaces/{cluster.namespace}"

    async def get(path: str) -> bytes:
        code, out, err = await run(cluster, KUBECTLS[0], "get", "--raw", path)
        return out if code == 0 else err

    for name in ("web", "web:8000", "http:web:8000"):
        answer = await get(f"{mine}/pods/{name}/proxy/a/b?c=d")
        assert (answer[-8:], len(answer)) == (b"/a/b?c=d", 3_000_008), name

    assert (await get(f"{mine}/pods/web/proxy/a%3Fb"))[-6:] == b"/a%3Fb"

    async def by_service() -> bool:
        return (await get(f"{mine}/services/s:http/proxy/it")).endswith(b"x/it")

    await eventually(by_service)
    assert b"ServiceUnavailable" in await get(f"{mine}/services/s:other/proxy/")
    assert b"ServiceUnavailable" in await get(f"{mine}/pods/web:8001/proxy/")  # nobody listens there
    assert b"ServiceUnavailable" in await get(f"{mine}/pods/web:none/proxy/")
    node = f"/api/v1/nodes/{cluster.node.name}/proxy"
    said = await get(f"{node}/containerLogs/{cluster.namespace}/web/main")
    assert (await get(f"{mine}/pods/web/log")).startswith(said)
    assert b"(NotFound)" in await get(f"{node}/nothing")


async def test_52_the_official_python_client(cluster: Cluster) -> None:
    container = {"image": "example.org/python:3", "args": ["-c", SERVER], "env": POD_IP}
    container["readinessProbe"] = {"httpGet": {"port": 8000}, "periodSeconds": 1}  # type: ignore[assignment]
    await cluster.pod("web", container=container)
    await cluster.running("web")

    def use() -> tuple[str, int, bytes]:
        api = official.CoreV1Api(official_config.new_client_from_config(str(cluster.server.kubeconfig)))
        shell = stream(
            api.connect_get_namespaced_pod_exec, "web", cluster.namespace, stdin=True, stdout=True,
            stderr=True, tty=False, command=["sh", "-c", "read a; echo $a; exit 5"], _preload_content=False,
        )  # fmt: skip
        shell.write_stdin("typed\n")
        shell.run_forever(timeout=PATIENCE)
        ports = portforward(
            api.connect_get_namespaced_pod_portforward, "web", cluster.namespace, ports="8000"
        )
        connection = ports.socket(8000)
        connection.setblocking(True)
        connection.sendall(b"GET /it HTTP/1.0\r\n\r\n")
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
        return shell.read_stdout(), shell.returncode, answer[-3:]

    async with asyncio.timeout(PATIENCE):
        api_client = await asyncio.to_thread(use)
    assert api_client == ("typed\n", 5, b"/it")


async def test_39_streams_want_the_right_to_create(cluster: Cluster) -> None:
    await cluster.pod("p", "sleep 1000")
    await cluster.running("p")
    await cluster.kubectl("create", "role", "reads", "--verb=get", "--resource=pods,pods/exec")
    await cluster.kubectl("create", "rolebinding", "reads", "--role=reads", "--user=jane")
    code, _, err = await run(cluster, KUBECTLS[0], "exec", "p", "--as=jane", "--", "true")
    assert (code, b'cannot create resource "pods/exec"' in err) == (1, True)
    await cluster.kubectl("delete", "role", "reads")
    await cluster.kubectl("create", "role", "reads", "--verb=get,create", "--resource=pods,pods/exec")
    assert await run(cluster, KUBECTLS[0], "exec", "p", "--as=jane", "--", "true") == (0, b"", b"")
