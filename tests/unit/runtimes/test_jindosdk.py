"""Alibaba Cloud's own JindoSDK reads the configuration that clients get, where it can be had.

JINDOSDK=<directory> with the package `pyjindosdk` (pip install --target): the library that is in JindoCache's
clients, too. It needs glibc 2.34, on x86.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from addon_framework.api.meta import Json
from runtimes.jindo import JindoBackend
from tests.unit.runtimes.caches import by_role, cache

pytestmark = pytest.mark.skipif("JINDOSDK" not in os.environ, reason="JINDOSDK=<directory> with pyjindosdk")
LISTING = b"""<?xml version="1.0"?><ListBucketResult><Name>bucket</Name><IsTruncated>false</IsTruncated>
<KeyCount>1</KeyCount><Contents><Key>data/x</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>
<ETag>"a"</ETag><Type>Normal</Type><Size>5</Size><StorageClass>Standard</StorageClass></Contents>
</ListBucketResult>"""
LIST = """
import json, sys
from pyjindo import fs
found = fs.connect(sys.argv[1], "root", fs.read_config()).listdir(sys.argv[1] + "/")
print(json.dumps([[each.path, each.size] for each in found]))
"""


class _Store(BaseHTTPRequestHandler):
    asked: list[tuple[str, str]]

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers["Authorization"]))
        body = LISTING if self.command == "GET" else b""
        self.send_response(200 if body else 404)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("x-oss-request-id", "1")
        self.end_headers()
        self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def store() -> Iterator[Any]:
    """A bucket with one file, that notes what it is asked."""
    handler = type("Store", (_Store,), {"asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(("scheme", "signed"), [("oss", "OSS4-HMAC-SHA256"), ("s3", "AWS4-HMAC-SHA256")])
def test_it_finds_the_store_and_the_keys(store: Any, tmp_path: Path, scheme: str, signed: str) -> None:
    mount: Json = {
        "mountPoint": f"{scheme}://bucket/data",
        "name": "data",
        "options": {f"fs.{scheme}.endpoint": f"http://127.0.0.1:{store.server_port}"},
        "encryptOptions": [
            {"name": f"fs.{scheme}.{key}", "valueFrom": {"secretKeyRef": {"name": "keys", "key": key}}}
            for key in ("accessKeyId", "accessKeySecret")
        ],
    }
    parts = by_role(JindoBackend(), cache(JindoBackend(), mount, networkmode="ContainerNetwork"))
    (token,) = (v["projected"] for v in parts["client"].pod["volumes"] if v["name"] == "token")
    for item in (item for each in token["sources"] for item in each["secret"]["items"]):
        file = tmp_path / "token" / item["path"]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"the-{item['key']}")
    config = parts["master"].config_maps["data-jindofs-config"]["jindosdk.cfg"]
    lines = [line for line in config.splitlines() if not line.startswith("fs.xengine")]  # needs a master
    (tmp_path / "jindosdk.cfg").write_text(
        "\n".join(lines).replace("secrets:///token", f"secrets://{tmp_path}/token")
    )
    env = {"PYTHONPATH": os.environ["JINDOSDK"], "JINDOSDK_CONF_DIR": str(tmp_path), "HOME": str(tmp_path)}
    command = [sys.executable, "-c", LIST, f"{scheme}://bucket/data"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [[f"{scheme}://bucket/data/x", 5]]
    asked = store.RequestHandlerClass.asked
    assert all(f"{signed} Credential=the-accessKeyId/" in authorization for _, authorization in asked)
    assert all(path.startswith("/bucket/") for path, _ in asked)
