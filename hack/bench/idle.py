"""What a hub and two spokes cost when nobody asks anything of them, and how soon they are there.

Memory is the pages that the fleet's processes have, each counted once, whatever else runs on the machine:
the sum of their PSS is less when another fleet has the same programs open. Reading which pages needs root.
"""

from __future__ import annotations

import argparse
import array
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from addon_framework.local.fleet.state import Layout

PAGE = os.sysconf("SC_PAGE_SIZE")
# Name, unit, target of issue 5.
TARGETS = {"joined": ("s", 5.0), "memory": ("MB", 450.0), "of one core": ("%", 3.0)}
_PRESENT, _FRAME = 1 << 63, (1 << 55) - 1  # https://docs.kernel.org/admin-guide/mm/pagemap.html


def tree(pid: int) -> Iterator[int]:
    """A process and all below it."""
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield from tree(int(child))


def frames(pid: int) -> set[int]:
    """The page frames that a process has mapped."""
    found: set[int] = set()
    with open(f"/proc/{pid}/pagemap", "rb", 0) as pagemap:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            start, end = (int(each, 16) for each in line.split()[0].split("-"))
            if start >= 1 << 63:  # the kernel's own
                continue
            pagemap.seek(start // PAGE * 8)
            entries = array.array("Q", pagemap.read((end - start) // PAGE * 8))
            found.update(entry & _FRAME for entry in entries if entry & _PRESENT)
    return found


def cpu_seconds(pid: int) -> float:
    """Of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def name(pid: int) -> str:
    """The start of its command line."""
    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().replace("\0", " ").split()
    return " ".join([Path(words[0]).name, *words[1:5]])[:50]


def measure(directory: Path, settle: float, seconds: float) -> tuple[dict[str, float], dict[str, float]]:
    """What is found, and the memory of each process; a shared page counts in parts."""
    command = [str(Path(sys.executable).with_name("fleetadm"))]
    start = time.perf_counter()
    subprocess.run([*command, "up", "--dir", str(directory)], check=True, stdout=subprocess.DEVNULL)
    found = {"joined": time.perf_counter() - start}
    try:
        supervisor = int(Layout(directory).lock.read_text())
        found["joined, CPU seconds"] = sum(map(cpu_seconds, tree(supervisor)))
        time.sleep(settle)
        before = sum(map(cpu_seconds, tree(supervisor)))
        time.sleep(seconds)
        found["of one core"] = 100 * (sum(map(cpu_seconds, tree(supervisor))) - before) / seconds
        of_each = {pid: frames(pid) for pid in tree(supervisor)}
        count = Counter(frame for each in of_each.values() for frame in each)
        found["memory"] = len(count) * PAGE / 1e6
        parts = {
            f"{pid} {name(pid)}": sum(1 / count[frame] for frame in each) * PAGE / 1e6
            for pid, each in of_each.items()
        }
    finally:
        subprocess.run([*command, "delete", "--dir", str(directory)], check=True, stdout=subprocess.DEVNULL)
    return found, parts


def main() -> None:
    """Measures, prints, writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--quick", action="store_true", help="settled for 20 s rather than 120")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-idle-") as directory:
        found, parts = measure(Path(directory) / "fleet", 20 if options.quick else 120, 60)
    table = Table("", "target", "found")
    for title, value in found.items():
        unit, target = TARGETS.get(title, ("s", None))
        table.add_row(title, f"≤ {target:g} {unit}" if target else "", f"{value:.3g}")
    for title, value in parts.items():
        table.add_row(f"  {title}", "", f"{value:.1f}")
    Console().print(table)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    ratios = {f"{title}: target": target / max(found[title], 0.01) for title, (_, target) in TARGETS.items()}
    options.output.write_text(json.dumps({"found": found, "parts": parts, "ratios": ratios}, indent=2) + "\n")


if __name__ == "__main__":
    main()
