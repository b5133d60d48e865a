from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from grpc_health.v1.health import HealthServicer
from grpc_health.v1.health_pb2 import HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server

from addon_framework.local.node.probes import check, port_of, probe_loop


async def never(command: list[str], timeout: float) -> tuple[int, str]:
    raise AssertionError("not an exec probe")


async def test_thresholds_turn_the_verdict() -> None:
    codes: Iterator[int] = iter([0, 1, 1, 1, 0])
    reports: list[bool] = []

    async def execute(command: list[str], timeout: float) -> tuple[int, str]:
        if (code := next(codes, None)) is None:
            raise asyncio.CancelledError
        return code, "output"

    probe = {"exec": {"command": ["x"]}, "periodSeconds": 0.001, "failureThreshold": 2}
    loop = asyncio.create_task(
        probe_loop(probe, {"name": "c"}, "127.0.0.1", execute, lambda good, why: reports.append(good))
    )
    await asyncio.gather(loop, return_exceptions=True)
    assert reports == [True, False, True]


async def test_a_probe_that_hopes_for_success_does_not_wait_for_its_period() -> None:
    """The server comes a moment after the first probe; the next period would be in an hour."""
    succeeded = asyncio.Event()
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()

    def report(good: bool, why: str) -> None:
        if good:
            succeeded.set()

    probe = {"tcpSocket": {"port": port}, "periodSeconds": 3600}
    loop = asyncio.create_task(probe_loop(probe, {"name": "c"}, "127.0.0.1", never, report, eager=True))
    await asyncio.sleep(0)
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", port)
    async with asyncio.timeout(60):
        await succeeded.wait()
    loop.cancel()
    server.close()


async def test_nobody_listening_is_a_failure_with_a_reason() -> None:
    good, why = await check({"httpGet": {"port": 1, "path": "/x"}}, {"name": "c"}, "127.0.0.1", never)
    assert not good
    assert "127.0.0.1" in why


def test_ports_by_name() -> None:
    container = {"name": "c", "ports": [{"name": "http", "containerPort": 8000}]}
    assert (port_of("http", container), port_of("90", container), port_of(9, container)) == (8000, 90, 9)


@pytest.fixture
def health() -> Iterator[tuple[HealthServicer, int]]:
    """The health service of a real gRPC server, and its port."""
    service = HealthServicer()
    server = grpc.server(ThreadPoolExecutor(2))
    add_HealthServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield service, port
    server.stop(None)


async def test_grpc(health: tuple[HealthServicer, int]) -> None:
    service, port = health
    deep = "deep." * 40 + "Service"

    async def asked(name: str = "") -> tuple[bool, str]:
        return await check({"grpc": {"port": port, "service": name}}, {"name": "c"}, "127.0.0.1", never)

    assert (await asked())[0]
    service.set(deep, HealthCheckResponse.NOT_SERVING)
    assert await asked(deep) == (False, 'service unhealthy (responded with "NOT_SERVING")')
    service.set(deep, HealthCheckResponse.SERVING)
    assert (await asked(deep))[0]
    assert (await asked("none"))[1].startswith("rpc failed: code 5")


async def test_grpc_without_health_or_without_grpc() -> None:
    server = grpc.server(ThreadPoolExecutor(2))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    good, why = await check({"grpc": {"port": port}}, {"name": "c"}, "127.0.0.1", never)
    server.stop(None)
    assert (good, "does not implement the grpc health protocol" in why) == (False, True)
    other = await asyncio.start_server(
        lambda reader, writer: writer.write(b"HTTP/1.1 400 no\r\n\r\n"), "127.0.0.1", 0
    )
    probe = {"grpc": {"port": other.sockets[0].getsockname()[1]}}
    good, why = await check(probe, {"name": "c"}, "127.0.0.1", never)
    other.close()
    assert (good, bool(why)) == (False, True)
