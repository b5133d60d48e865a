"""Bad input: always a Status, never a crash, and the server goes on."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from urllib.parse import urlsplit

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from addon_framework.kube.config import load_kubeconfig
from addon_framework.testing import EmbeddedApiServer
from addon_framework.testing.servers import ApiServer
from tests.conformance.api import APPLY, JSON_PATCH, MERGE, STRATEGIC, Api
from tests.conformance.conftest import Connect
from tests.conformance.objects import config_map, config_maps

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def refused(code: int, raw: bytes) -> None:
    assert 400 <= code < 500, raw[:500]
    assert b'"kind":"Status"' in raw.replace(b'": "', b'":"'), raw[:500]


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"nul", b"[]", b'"text"', b"7", b"null", b"{}x", b'{"a":}', b"\xff\xfe\x00", b"\x00" * 50,
        b'{"metadata":{"name":"\xc3\x28"}}', b"[" * 100_000, b'{"a":' * 50_000, b'{"metadata":[]}',
        b'{"metadata":{"name":7}}', b'{"metadata":{"labels":"x"}}', b'{"metadata":{"annotations":{"a":1}}}',
        b'{"metadata":{"name":"a"},"data":[]}', b'{"metadata":{"name":"a"},"data":{"k":{}}}',
        b'{"metadata":{"name":"a","ownerReferences":[{}]}}', b'{"metadata":{"name":"a","ownerReferences":7}}',
        b'{"metadata":{"name":"a","finalizers":[7]}}', b'{"metadata":{"generateName":[]}}',
        b'{"metadata":{"name":"a","managedFields":"x"}}', b'{"kind":7,"metadata":{"name":"a"}}',
    ],
)  # fmt: skip
async def test_36_bodies_that_are_no_objects(api: Api, namespace: str, body: bytes) -> None:
    answer = await api.post(config_maps(namespace), body)
    refused(answer.code, answer.raw)


@pytest.mark.parametrize(
    "text",
    [b"a: b: c", b"\t- x", b"&a [*a, *a]", b"!!python/object/apply:os.system ['true']", b"- [}", b"? ? ?"],
)
async def test_36_yaml_that_is_none(api: Api, namespace: str, text: bytes) -> None:
    answer = await api.post(config_maps(namespace), text, content_type="application/yaml")
    refused(answer.code, answer.raw)
    answer = await api.apply(config_maps(namespace, "a"), text)
    refused(answer.code, answer.raw)


@pytest.mark.parametrize(
    "media", ["text/plain", "application/xml", "application/x-www-form-urlencoded", "nonsense"]
)
async def test_36_content_types(api: Api, namespace: str, media: str) -> None:
    answer = await api.post(config_maps(namespace), config_map("a"), content_type=media)
    answer.is_status(415, "UnsupportedMediaType")


async def test_36_too_much(api: Api, namespace: str) -> None:
    fits = config_map("fits", {"k": "x" * 900_000})
    (await api.post(config_maps(namespace), fits)).ok(201)
    answer = await api.post(config_maps(namespace), config_map("a", {"k": "x" * 3_200_000}))
    answer.is_status(413, "RequestEntityTooLarge")
    big = await api.post(config_maps(namespace), config_map("a", {"k": "x" * 1_100_000}))
    big.is_status(422, "Invalid")  # a ConfigMap holds 1 MiB


@given(value=JSON_VALUES)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_36_any_json_is_answered_by_a_status(kubeconfig: Path, value: object) -> None:
    asyncio.run(_anything(kubeconfig, value))


async def _anything(kubeconfig: Path, value: object) -> None:
    api = Api(load_kubeconfig(kubeconfig))
    try:
        base = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}
        for body in (value, {**base, "spec": value}, {**base, "metadata": value}):
            answer = await api.post("/api/v1/namespaces/default/pods", orjson.dumps(body), dryRun="All")
            assert answer.code in (201, 400, 403, 404, 409, 422), answer.raw
            assert answer.body["kind"] in ("Pod", "Status")
        for media in (MERGE, STRATEGIC, JSON_PATCH, APPLY):
            path = "/api/v1/namespaces/default"
            answer = await api.patch(path, orjson.dumps(value), media, dryRun="All", fieldManager="x")
            assert answer.code in (200, 400, 409, 415, 422), answer.raw
    finally:
        await api.close()


@pytest.mark.parametrize(
    "path",
    ["/api/v1/../../etc/passwd", "//api//v1//pods", "/api/v1/%00", "/%ff",
     "/api/v1/namespaces/default/pods/" + "a" * 5000],
)  # fmt: skip
async def test_36_tricks_with_paths(api: Api, path: str) -> None:
    code, raw = await plain(api, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert code in (301, 400, 404, 414), raw
    assert b"root:" not in raw


@pytest.mark.parametrize(
    "query", ["limit=x", "timeoutSeconds=x&watch=true", "labelSelector=%ff", "limit=1&continue=%00"]
)
async def test_36_parameters(api: Api, namespace: str, query: str) -> None:
    request = f"GET {config_maps(namespace)}?{query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    code, raw = await plain(api, request.encode())
    assert code == 400, raw


async def test_36_requests_that_are_none(api: Api) -> None:
    for request in (b"NONSENSE\r\n\r\n", b"GET / HTTP/9\r\n\r\n", b"\x16\x03\x01" * 20 + b"\r\n\r\n"):
        async with asyncio.timeout(60):
            await plain(api, request)
    (await api.get("/version")).ok()


async def test_36_clients_that_vanish(api: Api, connect: Connect, namespace: str) -> None:
    head = f"POST {config_maps(namespace)} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    for number in range(20):
        reader, writer = await dial(api)
        writer.write(f"{head}Content-Length: {1000 * number}\r\n\r\n{{".encode())
        await writer.drain()
        writer.transport.abort()
        del reader
    (await api.post(config_maps(namespace), config_map("a"))).ok(201)


async def test_36_nobody_hears_of_clients_that_vanish(own_server: ApiServer) -> None:
    if not isinstance(own_server, EmbeddedApiServer):
        pytest.skip("the log of the embedded server is read")
    api = Api(load_kubeconfig(own_server.kubeconfig))
    path = config_maps("default")
    for number in range(5):
        (await api.post(path, config_map(f"large{number}", {"k": "v" * 400_000}))).ok(201)
    for query in ("", "?watch=1", "?watch=1&resourceVersion=0"):
        for heard in (0, 1, 100_000):  # before the answer, at its begin, in its middle
            for _ in range(4):
                reader, writer = await dial(api)
                writer.write(f"GET {path}{query} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                await writer.drain()
                if heard:
                    await reader.read(heard)
                writer.transport.abort()
    (await api.post(path, config_map("last"))).ok(201)  # what watches have to be told
    await api.close()
    await asyncio.to_thread(own_server.stop)
    assert "Traceback" not in (own_server.directory / "apiserver.log").read_text()


async def dial(api: Api) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    server = urlsplit(api.config.server)
    context = api.config.ssl_context()
    assert isinstance(context, ssl.SSLContext)
    return await asyncio.open_connection(server.hostname, server.port, ssl=context)


async def plain(api: Api, request: bytes) -> tuple[int, bytes]:
    """The code and all bytes of an answer to bytes that are sent as they are."""
    reader, writer = await dial(api)
    try:
        writer.write(request)
        async with asyncio.timeout(60):
            raw = await reader.read()
    except ConnectionError:
        return 0, b""
    finally:
        writer.close()
    first = raw.split(b"\r\n", 1)[0].split()
    return (int(first[1]) if len(first) > 1 and first[1].isdigit() else 0), raw
