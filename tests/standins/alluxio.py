"""Stands for Alluxio, which cannot be had here: the same commands and words, a process for a master.

`alluxio serve` is that process; every other call asks it, where ALLUXIO_JAVA_OPTS says that it is. Where they
say nothing, the file ALLUXIO_STATE is the master. Words are those of Alluxio 2.9.
"""

from __future__ import annotations

import json
import os
import re
import sys
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from tests.standins.serving import ask, server

_WITH_VALUE = ("--option", "--replication", "--max")
State = dict[str, Any]


def main(arguments: list[str]) -> int:
    """One command, or the master."""
    options = os.path.expandvars(os.environ.get("ALLUXIO_JAVA_OPTS", ""))
    said = dict(re.findall(r"-D(\S+?)=(\S*)", options))
    host, port = said.get("alluxio.master.hostname"), int(said.get("alluxio.master.rpc.port", 0))
    if arguments == ["serve"]:
        state = _new()
        server("0.0.0.0", port, command=lambda words, out: _run(words, state, out)).serve_forever()
    if arguments == ["formatJournal"]:
        return int(said.get("alluxio.master.journal.folder") != "/journal")
    if host:
        return ask(f"{host}:{port}", arguments, sys.stdout)
    file = Path(os.environ["ALLUXIO_STATE"])
    state = json.loads(file.read_text()) if file.exists() else _new()
    code = _run(arguments, state, sys.stdout)
    file.write_text(json.dumps(state))
    return code


def _new() -> State:
    return {"mounts": {"/": "/u"}, "log": []}


def _run(arguments: list[str], state: State, out: TextIO) -> int:
    try:
        return _answer(arguments, state, out)
    finally:
        state["log"].append(arguments)


def _answer(arguments: list[str], state: State, out: TextIO) -> int:
    say, mounts = partial(print, file=out), state["mounts"]
    match arguments:
        case ["state"]:
            say(json.dumps(state))
        case ["fsadmin", "report"]:
            say("Alluxio cluster summary:")
        case ["fsadmin", "report", "summary"]:
            say(
                "Alluxio cluster summary:\n    Total Capacity: 2.00GB\n        Tier: MEM  Size: 2.00GB",
            )
            say(
                "    Used Capacity: 512.00MB\n        Tier: MEM  Size: 512.00MB\n    Free Capacity: 1.50GB",
            )
        case ["fsadmin", "report", "metrics"]:
            for name, value in (("Local", "3.00GB"), ("Remote", "1024.00MB"), ("UfsAll", "1.00GB")):
                say(f"    Cluster.BytesRead{name}  (Type: COUNTER, Value: {value})")
            for name, value in (("Local", "6.00MB"), ("Remote", "1024.00KB"), ("Ufs", "1.00MB")):
                say(f"    Cluster.BytesRead{name}Throughput  (Type: GAUGE, Value: {value}/MIN)")
        case ["fsadmin", "backup"] if "ALLUXIO_BACKUPS" in os.environ:
            made = Path(os.environ["ALLUXIO_BACKUPS"]) / "alluxio-backup-2026-11-28-1.gz"
            made.write_bytes(b"journal")
            say(f"Backup Host        : master\nBackup URI         : {made}\nBackup Entry Count : 1")
        case ["fsadmin", "backup"]:
            say("Failed to take backup: no quorum")
            return 1
        case ["fs", "count", _]:
            say(
                "File Count               Folder Count             Folder Size\n42        3       1536",
            )
        case ["fs", "mount"]:
            for path, url in mounts.items():
                say(
                    f"{url:30}  on  {path:20}  (s3, capacity=-1B, used=-1B, not shared, properties={{}})",
                )
        case ["fs", "mount", *rest]:
            path, url = [a for n, a in enumerate(rest) if not a.startswith("--") and not _is_value(rest, n)]
            if path in mounts:
                say(f"mount point {path} already exists")
                return 1
            mounts[path] = url
        case ["fs", "updateMount", *_, path]:
            return int(path not in mounts)
        case ["fs", "unmount", path]:
            del mounts[path]
        case ["fs", "ls", *_, path] if path.startswith("/missing"):
            say(f'Path "{path}" does not exist.')
            return 1
    return 0


def _is_value(arguments: list[str], number: int) -> bool:
    return number > 0 and arguments[number - 1] in _WITH_VALUE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
