"""Stands for Alluxio's own program, which cannot be had here: the same commands and words, one file of state.

The file ALLUXIO_STATE has the mounts and every command so far. Words are those of Alluxio 2.9.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

STATE = Path(os.environ.get("ALLUXIO_STATE", "/nowhere"))
_WITH_VALUE = ("--option", "--replication", "--max")


def main(arguments: list[str]) -> int:
    """One command."""
    state: dict[str, Any] = {"mounts": {"/": "/u"}, "log": []}
    if STATE.exists():
        state = json.loads(STATE.read_text())
    state["log"].append(arguments)
    code = _run(arguments, state["mounts"])
    STATE.write_text(json.dumps(state))
    return code


def _run(arguments: list[str], mounts: dict[str, str]) -> int:
    match arguments:
        case ["fsadmin", "report"]:
            print("Alluxio cluster summary:")
        case ["fsadmin", "report", "summary"]:
            print("Alluxio cluster summary:\n    Total Capacity: 2.00GB\n        Tier: MEM  Size: 2.00GB")
            print("    Used Capacity: 512.00MB\n        Tier: MEM  Size: 512.00MB\n    Free Capacity: 1.50GB")
        case ["fsadmin", "report", "metrics"]:
            for name, value in (("Local", "3.00GB"), ("Remote", "1024.00MB"), ("UfsAll", "1.00GB")):
                print(f"    Cluster.BytesRead{name}  (Type: COUNTER, Value: {value})")
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
            mounts[path] = url
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
