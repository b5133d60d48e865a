"""Probes: HTTP, TCP, gRPC and exec, with the kubelet's thresholds.

https://kubernetes.io/docs/concepts/configuration/liveness-readiness-startup-probes/
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import aiohttp

from addon_framework.api.meta import Json

_EAGER = 0.2  # seconds
Execute = Callable[[list[str], float], Awaitable[tuple[int, str]]]


async def probe_loop(
    probe: Json,
    container: Json,
    address: str,
    execute: Execute,
    report: Callable[[bool, str], None],
    *,
    eager: bool = False,
) -> None:
    """Probes until cancelled; reports when the thresholds turn the verdict, and every further run of them.

    `eager`: until the first success an HTTP or TCP probe also looks between its periods; only success counts
    there. A container is ready when it is, not up to ten seconds later.
    """
    await asyncio.sleep(float(probe.get("initialDelaySeconds") or 0))
    period = float(probe.get("periodSeconds") or 10)
    limits = {True: int(probe.get("successThreshold") or 1), False: int(probe.get("failureThreshold") or 3)}
    run, last = 0, None
    eager = eager and "exec" not in probe and limits[True] == 1
    while True:
        good, why = await check(probe, container, address, execute)
        run = run + 1 if good == last else 1
        last = good
        if run % limits[good] == 0:
            report(good, why)
        eager = eager and not good
        if eager and await _soon(probe, container, address, execute, period):
            run, last, eager = 1, True, False
            report(True, "")
        if not eager:
            await asyncio.sleep(period)


async def _soon(probe: Json, container: Json, address: str, execute: Execute, period: float) -> bool:
    """Whether the probe succeeds before the next period."""
    deadline = asyncio.get_running_loop().time() + period
    while (left := deadline - asyncio.get_running_loop().time()) > 0:
        await asyncio.sleep(min(_EAGER, left))
        if left > _EAGER and (await check(probe, container, address, execute))[0]:
            return True
    return False


async def check(probe: Json, container: Json, address: str, execute: Execute) -> tuple[bool, str]:
    """One attempt: the verdict, and why when it is bad."""
    timeout = float(probe.get("timeoutSeconds") or 1)
    try:
        if action := probe.get("exec"):
            code, output = await execute(action["command"], timeout)
            return code == 0, output.strip()[-200:] or f"exit code {code}"
        if action := probe.get("httpGet"):
            return await http(action, container, address, timeout)
        if action := probe.get("tcpSocket"):
            port = port_of(action["port"], container)
            async with asyncio.timeout(timeout):
                _, writer = await asyncio.open_connection(action.get("host") or address, port)
            writer.close()
            return True, ""
        if action := probe.get("grpc"):
            from addon_framework.local.node.grpcprobe import healthy  # few pods need HTTP/2

            return await healthy(address, int(action["port"]), action.get("service") or "", timeout)
    except (OSError, aiohttp.ClientError, TimeoutError, ValueError) as error:
        return False, str(error) or type(error).__name__
    return False, "the probe has no action"


def port_of(port: int | str, container: Json) -> int:
    """A number, or the container's port of that name. Raises ValueError."""
    if isinstance(port, int) or str(port).isdigit():
        return int(port)
    for declared in container.get("ports") or ():
        if declared.get("name") == port:
            return int(declared["containerPort"])
    raise ValueError(f"container {container['name']} has no port named {port!r}")


async def http(action: Json, container: Json, address: str, timeout: float) -> tuple[bool, str]:
    """One GET; certificates are not looked at, as the kubelet does it."""
    scheme = str(action.get("scheme") or "HTTP").lower()
    host = action.get("host") or address
    url = f"{scheme}://{host}:{port_of(action['port'], container)}{action.get('path') or '/'}"
    headers = {header["name"]: header["value"] for header in action.get("httpHeaders") or ()}
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=timeout)) as session,
        session.get(url, headers=headers, ssl=False, allow_redirects=False) as response,
    ):
        return 200 <= response.status < 400, f"HTTP probe failed with statuscode: {response.status}"
