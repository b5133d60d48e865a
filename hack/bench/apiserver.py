"""The API server's speed against its targets, and against what the machine can do in the same run.

Creates, gets, a long list and watch events, over TLS, from a load generator on the same cores. With
KUBEBUILDER_ASSETS set, a real kube-apiserver with etcd is measured beside it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import re
import sqlite3
import ssl
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import orjson
from aiohttp import web
from rich.console import Console
from rich.table import Table

from addon_framework.kube.config import ClientConfig, load_kubeconfig
from addon_framework.local.apiserver.store import Store
from addon_framework.local.pki import Authority
from addon_framework.testing.servers import ApiServer, EmbeddedApiServer, EnvtestApiServer, free_port

CONNECTIONS = 16
PATH = "/api/v1/namespaces/default/configmaps"
# Name, unit, target of issue 5, whether more is better.
TARGETS = {
    "ready": ("s", 1.5, False),
    "creates": ("1/s", 1000.0, True),
    "gets": ("1/s", 2500.0, True),
    "list of 5,000": ("ms", 300.0, False),
    "watch event, all of 100 have it, p50": ("ms", 25.0, False),
    "watch event, all of 100 have it, p99": ("ms", 25.0, False),
    "watch event, all of 1,000 have it, p50": ("ms", 250.0, False),
    "restart with 5,000 objects": ("s", 1.5, False),
    "start with 50,000 objects": ("s", 5.0, False),
}


class Connection:
    """A keep-alive connection that costs the load generator as little as can be."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, server: str, context: ssl.SSLContext) -> Connection:
        """To a server's URL."""
        url = urlsplit(server)
        return cls(*await asyncio.open_connection(url.hostname, url.port, ssl=context, limit=1 << 20))

    async def send(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """One request: its code and its body."""
        head = f"{method} {path} HTTP/1.1\r\nHost: bench\r\nAccept: application/json\r\n"
        self._writer.write(
            f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        )
        answer = await self._reader.readuntil(b"\r\n\r\n")
        code = int(answer[9:12])
        if match := re.search(rb"content-length: (\d+)", answer, re.I):
            return code, await self._reader.readexactly(int(match[1]))
        return code, b"".join([chunk async for chunk in self._chunks()])

    async def watch(self, path: str, on_line: Callable[[bytes], None]) -> None:
        """Calls back for every event until the stream ends."""
        self._writer.write(f"GET {path} HTTP/1.1\r\nHost: bench\r\nAccept: application/json\r\n\r\n".encode())
        await self._reader.readuntil(b"\r\n\r\n")
        async for chunk in self._chunks():
            for line in chunk.splitlines():
                on_line(line)

    async def _chunks(self):  # type: ignore[no-untyped-def]
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            yield await self._reader.readexactly(size)
            await self._reader.readexactly(2)
        await self._reader.readexactly(2)

    def close(self) -> None:
        """At once."""
        self._writer.transport.abort()


def config_map(name: str) -> bytes:
    """About 1 KB."""
    obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"k": "x" * 900}}
    return orjson.dumps(obj)


async def rate(
    config: ClientConfig, count: int, request: Callable[[Connection, int], Awaitable[int]]
) -> float:
    """Requests a second over some connections; each must succeed."""
    context = config.ssl_context()
    assert isinstance(context, ssl.SSLContext)
    connections = [await Connection.open(config.server, context) for _ in range(CONNECTIONS)]
    numbers = iter(range(count))

    async def work(connection: Connection) -> None:
        for number in numbers:
            code = await request(connection, number)
            assert code in (200, 201), code

    start = time.perf_counter()
    await asyncio.gather(*(work(connection) for connection in connections))
    seconds = time.perf_counter() - start
    for connection in connections:
        connection.close()
    return count / seconds


async def create(connection: Connection, number: int) -> int:
    return (await connection.send("POST", PATH, config_map(f"c{number}")))[0]


async def get(connection: Connection, number: int) -> int:
    return (await connection.send("GET", f"{PATH}/c{number % 1000}"))[0]


async def list_ms(config: ClientConfig) -> float:
    """The best of five whole lists, received and not parsed."""
    context = config.ssl_context()
    assert isinstance(context, ssl.SSLContext)
    connection = await Connection.open(config.server, context)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        code, body = await connection.send("GET", f"{PATH}?limit=5000")
        times.append(1000 * (time.perf_counter() - start))
        assert code == 200
        assert body.count(b'"resourceVersion"') > 1000
    connection.close()
    return min(times)


async def watch_ms(
    config: ClientConfig, writes: int, per_second: int, prefix: str = "w", count: int = 100
) -> list[float]:
    """Of each write, the milliseconds from its sending until every watcher has its event."""
    context = config.ssl_context()
    assert isinstance(context, ssl.SSLContext)
    writer = await Connection.open(config.server, context)
    _, listed = await writer.send("GET", f"{PATH}?limit=1")
    version = json.loads(listed)["metadata"]["resourceVersion"]
    sent: dict[bytes, float] = {}
    received: dict[bytes, list[float]] = {}
    name = re.compile(rb'"name":"(%b\d+)"' % prefix.encode())

    left, complete = writes * count, asyncio.Event()

    def on_line(line: bytes) -> None:
        nonlocal left
        if match := name.search(line):
            received.setdefault(match[1], []).append(time.perf_counter())
            left -= 1
            if not left:
                complete.set()

    watchers = [await Connection.open(config.server, context) for _ in range(count)]
    path = f"{PATH}?watch=true&resourceVersion={version}&timeoutSeconds=300"
    tasks = [asyncio.create_task(watcher.watch(path, on_line)) for watcher in watchers]
    await asyncio.sleep(0.5)
    start = time.perf_counter()
    for number in range(writes):
        await asyncio.sleep(max(0.0, start + number / per_second - time.perf_counter()))
        key = f"{prefix}{number}"
        sent[key.encode()] = time.perf_counter()
        await writer.send("POST", PATH, config_map(key))
    await asyncio.wait_for(complete.wait(), 60)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for connection in (writer, *watchers):
        connection.close()
    return [1000 * (max(received[key]) - at) for key, at in sent.items()]


def measure(server: ApiServer, quick: bool) -> dict[str, float]:
    """All numbers of one server."""
    objects = 1500 if quick else 5000
    start = time.perf_counter()
    server.start()
    found = {"ready": time.perf_counter() - start}
    try:
        config = load_kubeconfig(server.kubeconfig)
        found["creates"] = asyncio.run(rate(config, objects, create))
        found["gets"] = asyncio.run(rate(config, 2 * objects, get))
        if not quick:
            found["list of 5,000"] = asyncio.run(list_ms(config))
        delays = sorted(asyncio.run(watch_ms(config, 200 if quick else 1000, 200)))
        found["watch event, all of 100 have it, p50"] = statistics.median(delays)
        found["watch event, all of 100 have it, p99"] = delays[int(0.99 * len(delays))]
        if not quick:
            many = asyncio.run(watch_ms(config, 100, 10, "m", 1000))
            found["watch event, all of 1,000 have it, p50"] = statistics.median(many)
        if isinstance(server, EmbeddedApiServer) and not quick:
            found["restart with 5,000 objects"] = restart(server, 0)
            found["start with 50,000 objects"] = restart(server, 50_000)
    finally:
        server.stop()
    return found


def restart(server: EmbeddedApiServer, more: int) -> float:
    """Seconds from a start after a kill until it answers, with more objects than before."""
    server.kill()
    with closing(Store(server.directory / "store.db")) as store:
        for number in range(more):
            obj = orjson.loads(config_map(f"s{number}"))
            obj["metadata"] |= {"uid": f"s{number}", "namespace": "default"}
            store.put("configmaps", ("default", f"s{number}"), obj)
    start = time.perf_counter()
    server.start()
    return time.perf_counter() - start


def sqlite_commits(directory: Path) -> float:
    """Commits a second of the statements that a write makes, with nothing around them."""
    with closing(sqlite3.connect(directory / "limit.db", isolation_level=None)) as db:
        db.executescript(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
            "CREATE TABLE o (k TEXT PRIMARY KEY, b BLOB)"
        )
        start, count = time.perf_counter(), 3000
        for number in range(count):
            with db:
                db.execute("BEGIN IMMEDIATE")
                db.execute("INSERT INTO o VALUES (?, ?)", (f"c{number}", config_map(f"c{number}")))
        return count / (time.perf_counter() - start)


def hello(port: int, directory: str) -> None:
    """An aiohttp server over TLS that answers 1 KB."""
    body = config_map("hello")

    async def answer(request: web.BaseRequest) -> web.Response:
        return web.Response(body=body, content_type="application/json")

    async def serve() -> None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(f"{directory}/hello.crt", f"{directory}/hello.key")
        runner = web.ServerRunner(web.Server(answer, access_log=None))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port, ssl_context=context).start()
        await asyncio.Event().wait()

    import uvloop

    uvloop.run(serve())


def aiohttp_hellos(directory: Path, count: int) -> float:
    """Requests a second that aiohttp takes over TLS when there is nothing to do."""
    authority, port = Authority.create("bench"), free_port()
    pair = authority.issue("hello", usage="server auth", addresses=["127.0.0.1"])
    (directory / "hello.crt").write_bytes(pair.cert)
    (directory / "hello.key").write_bytes(pair.key)
    process = multiprocessing.get_context("spawn").Process(
        target=hello, args=(port, str(directory)), daemon=True
    )
    process.start()

    async def request(connection: Connection, number: int) -> int:
        return (await connection.send("GET", "/"))[0]

    async def run() -> float:
        config = ClientConfig(f"https://127.0.0.1:{port}", ca=authority.cert_pem)
        async with asyncio.timeout(20):
            while True:
                try:
                    return await rate(config, count, request)
                except ConnectionRefusedError:
                    await asyncio.sleep(0.05)

    try:
        return asyncio.run(run())
    finally:
        process.terminate()
        process.join()


def better(name: str, value: float, than: float) -> float:
    """How many times better a value is."""
    return value / than if TARGETS[name][2] else than / value


def shown(value: float) -> str:
    """With three digits that count."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def main() -> None:
    """Measures, prints, writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--quick", action="store_true", help="fewer requests, no long list")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-apiserver-") as directory:
        root = Path(directory)
        limits = {
            "creates": sqlite_commits(root),
            "gets": aiohttp_hellos(root, 3000 if options.quick else 10_000),
        }
        columns = {}
        for name in ("embedded", "real"):
            (root / name).mkdir()
        columns["embedded"] = measure(EmbeddedApiServer(root / "embedded"), options.quick)
        if assets := os.environ.get("KUBEBUILDER_ASSETS"):
            columns["real"] = measure(EnvtestApiServer(root / "real", Path(assets)), options.quick)
    embedded, real = columns["embedded"], columns.get("real", {})
    ratios = {f"{name}: target": better(name, embedded[name], TARGETS[name][1]) for name in embedded}
    ratios |= {f"{name}: limit": embedded[name] / limit for name, limit in limits.items()}
    ratios |= {f"{name}: real": better(name, embedded[name], real[name]) for name in embedded if name in real}
    table = Table("", "target", "embedded", *(["kube-apiserver + etcd"] if real else []), "limit, same run")
    for name, (unit, target, more) in TARGETS.items():
        if name in embedded:
            cells = [f"{'≥' if more else '≤'} {target:g} {unit}", shown(embedded[name])]
            cells += [shown(real[name]) if name in real else "-"] if real else []
            limit = {"creates": "SQLite commits", "gets": "aiohttp over TLS"}.get(name, "")
            table.add_row(name, *cells, f"{limits[name]:,.0f} {limit}" if name in limits else "")
    Console().print(table)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    result = {"embedded": embedded, "real": real or None, "limits": limits, "ratios": ratios}
    options.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
