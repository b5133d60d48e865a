"""Stands for Alibaba Cloud's EFC, which comes with its NAS and cannot be had here: its images' entry point.

It takes `master SOURCE DIRECTORY OPTIONS`, `worker OPTIONS`, `fuse SOURCE MOUNTPOINT OPTIONS`, `stop_fuse
MOUNTPOINT` and `stop_master DIRECTORY`. The NAS is a directory, EFC_NAS, with one below it for each of its
hosts. Clients read files through the workers of /etc/efc/efc-worker-endpoints.json, and bring them what they
do not have; they need their node's session manager, as far as its directory goes.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from http.client import HTTPConnection
from io import BytesIO
from ipaddress import ip_address
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from tests.standins.keeping import Kept, Tree, holders, shown
from tests.standins.serving import File, server

_ENDPOINTS = Path("/etc/efc/efc-worker-endpoints.json")
_SOCKETS = Path("/var/run/efc")


def main(arguments: list[str]) -> int:
    """As the images' entry points."""
    match arguments:
        case ["master", *_] if Path(sys.argv[0]).name != "master.py":
            program = os.environ["EFC_MASTER"]  # by whose name the master's probe finds it
            os.execv(sys.executable, [sys.executable, program, *arguments])
        case ["master", source, _, options]:
            _nas(source), _workers(), _named(options, "client_owner", "assign_uuid")
            threading.Event().wait()
        case ["worker", options]:
            _work(_named(options, "cache_media", "server_port", "cache_capacity_gb"))
        case ["fuse", source, mount_point, options]:
            said = _named(options, "assign_uuid")
            if not _SOCKETS.is_dir():
                raise SystemExit(f"there is no session manager at {_SOCKETS}")
            shared = said.get("g_tier_EnableClusterCache") == "true"
            return _client(Tree(_nas(source)), mount_point, shared=shared)
        case ["stop_fuse", mount_point]:
            return subprocess.run(["umount", "-l", mount_point], check=False).returncode
        case ["stop_master", _]:
            return 0
        case _:
            raise SystemExit(f"entrypoint.sh: {arguments}")
    return 0


def _named(options: str, *needed: str) -> dict[str, str]:
    said = dict(option.split("=", 1) for option in options.split(","))
    if missing := set(needed) - set(said):
        raise SystemExit(f"options {sorted(missing)} are missing")
    return said


def _nas(source: str) -> Path:
    """ID.REGION.nas.aliyuncs.com:/path/ as a directory."""
    host, _, path = source.partition(":/")
    found = Path(os.environ["EFC_NAS"]) / host / path
    if not source.endswith("/") or not found.is_dir():
        raise SystemExit(f"mount.nfs: {source}: No such file or directory")
    return found


def _workers() -> list[str]:
    """By address, as Fluid has them."""
    found: list[str] = json.loads(_ENDPOINTS.read_text())["containerendpoints"]
    for at in found:
        ip_address(at.rpartition(":")[0])
    return found


def _work(said: dict[str, str]) -> None:
    """A worker knows no NAS: it keeps what clients bring."""
    kept = Kept(Path(said["cache_media"]), int(said["cache_capacity_gb"]) << 30)

    def find(path: str) -> File | None:
        if (found := kept.get(path)) is None:
            return None
        with found:
            return File(os.fstat(found.fileno()).st_size, lambda: kept.get(path) or BytesIO())

    here = socket.gethostbyname(os.environ["HOSTNAME"])  # other pods of this machine have the port, too
    server(here, int(said["server_port"]), find=find, store=kept.put).serve_forever()


def _client(nas: Tree, mount_point: str, *, shared: bool) -> int:
    def read(name: str) -> BinaryIO:
        at = holders(_workers() if shared else [], name)
        if not at:
            return nas.read(name)
        if (found := _request("GET", at[0], name)) is None:
            with nas.read(name) as stream:
                found = stream.read()
            _request("PUT", at[0], name, found)
        return BytesIO(found)

    return shown(nas, mount_point, read)


def _request(verb: str, at: str, name: str, body: bytes | None = None) -> bytes | None:
    host, _, port = at.rpartition(":")
    connection = HTTPConnection(host, int(port), timeout=30)
    try:
        connection.request(verb, f"/{quote(name)}", body)
        answer = connection.getresponse()
        found = answer.read()
        return found if answer.status == 200 else None
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
