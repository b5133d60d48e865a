"""Stands for Alluxio, which cannot be had here: the same commands and words, a process for a master.

`alluxio_program.py serve` is that process; every other call asks it, where ALLUXIO_JAVA_OPTS says that it is.
Where they say nothing, the file ALLUXIO_STATE is the master. Words are those of Alluxio 2.9.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import socketserver
import sys
from pathlib import Path
from socket import create_connection
from typing import Any, cast

_WITH_VALUE = ("--option", "--replication", "--max")
State = dict[str, Any]


def main(arguments: list[str]) -> int:
    """One command, or the master."""
    options = os.path.expandvars(os.environ.get("ALLUXIO_JAVA_OPTS", ""))
    said = dict(re.findall(r"-D(\S+?)=(\S*)", options))
    at = (said.get("alluxio.master.hostname", ""), int(said.get("alluxio.master.rpc.port", 0)))
    if arguments == ["serve"]:
        _serve(at[1])
    if arguments == ["formatJournal"]:
        return int(said.get("alluxio.master.journal.folder") != "/journal")
    if at[0]:
        with create_connection(at, timeout=10) as connection, connection.makefile("rw") as stream:
            stream.write(json.dumps(arguments) + "\n")
            stream.flush()
            answer = json.loads(stream.readline())
    else:
        file = Path(os.environ["ALLUXIO_STATE"])
        state = json.loads(file.read_text()) if file.exists() else _new()
        answer = _answer(arguments, state)
        file.write_text(json.dumps(state))
    print(answer["output"], end="")
    return int(answer["code"])


class _Master(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        """One command."""
        state = cast("_Server", self.server).state
        self.wfile.write(json.dumps(_answer(json.loads(self.rfile.readline()), state)).encode() + b"\n")


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    state: State


def _serve(port: int) -> None:
    with _Server(("0.0.0.0", port), _Master) as server:
        server.state = _new()
        server.serve_forever()


def _new() -> State:
    return {"mounts": {"/": "/u"}, "log": []}


def _answer(arguments: list[str], state: State) -> State:
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        code = _run(arguments, state)
    state["log"].append(arguments)
    return {"code": code, "output": output.getvalue()}


def _run(arguments: list[str], state: State) -> int:
    mounts = state["mounts"]
    match arguments:
        case ["state"]:
            print(json.dumps(state))
        case ["fsadmin", "report"]:
            print("Alluxio cluster summary:")
        case ["fsadmin", "report", "summary"]:
            print("Alluxio cluster summary:\n    Total Capacity: 2.00GB\n        Tier: MEM  Size: 2.00GB")
            print("    Used Capacity: 512.00MB\n        Tier: MEM  Size: 512.00MB\n    Free Capacity: 1.50GB")
        case ["fsadmin", "report", "metrics"]:
            for name, value in (("Local", "3.00GB"), ("Remote", "1024.00MB"), ("UfsAll", "1.00GB")):
                print(f"    Cluster.BytesRead{name}  (Type: COUNTER, Value: {value})")
            for name, value in (("Local", "6.00MB"), ("Remote", "1024.00KB"), ("Ufs", "1.00MB")):
                print(f"    Cluster.BytesRead{name}Throughput  (Type: GAUGE, Value: {value}/MIN)")
        case ["fsadmin", "backup"] if "ALLUXIO_BACKUPS" in os.environ:
            made = Path(os.environ["ALLUXIO_BACKUPS"]) / "alluxio-backup-2026-11-28-1.gz"
            made.write_bytes(b"journal")
            print(f"Backup Host        : master\nBackup URI         : {made}\nBackup Entry Count : 1")
        case ["fsadmin", "backup"]:
            print("Failed to take backup: no quorum")
            return 1
        case ["fs", "count", _]:
            print("File Count               Folder Count             Folder Size\n42        3       1536")
        case ["fs", "mount"]:
            for path, url in mounts.items():
                print(f"{url:30}  on  {path:20}  (s3, capacity=-1B, used=-1B, not shared, properties={{}})")
        case ["fs", "mount", *rest]:
            path, url = [a for n, a in enumerate(rest) if not a.startswith("--") and not _is_value(rest, n)]
            if path in mounts:
                print(f"mount point {path} already exists")
                return 1
            mounts[path] = url
        case ["fs", "updateMount", *_, path]:
            return int(path not in mounts)
        case ["fs", "unmount", path]:
            del mounts[path]
        case ["fs", "ls", *_, path] if path.startswith("/missing"):
            print(f'Path "{path}" does not exist.')
            return 1
    return 0


def _is_value(arguments: list[str], number: int) -> bool:
    return number > 0 and arguments[number - 1] in _WITH_VALUE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
