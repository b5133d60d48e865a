"""How far loads are, by the numbers that clusters say. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import inf

from addon_framework.api.meta import Json
from addons.cache_runtime.agent.sizes import human_duration, human_size, percentage

_SUMS = ("bytes", "totalBytes", "files", "totalFiles")
_RATE, _LEFT = "bytesPerSecond", "etaSeconds"


def of_report(said: Json) -> dict[str, int]:
    """Of one operation on one cluster: rate and time left while it runs, the other numbers ever after."""
    names = (*_SUMS, _RATE, _LEFT) if said.get("phase") == "Executing" else _SUMS
    return {name: int(said[name]) for name in names if str(said.get(name, "")).isdigit()}


def together(parts: Sequence[Mapping[str, int]], expected: int) -> dict[str, int]:
    """Of `expected` clusters. Of those that have not said yet how much they load, it is as much as of others;
    time is told where everybody who has not ended says so.
    """
    known = [part for part in parts if "bytes" in part]
    found: dict[str, int] = {}
    for name in _SUMS:
        if values := [part[name] for part in known if name in part]:
            silent = expected - len(values) if name.startswith("total") else 0
            found[name] = sum(values) + silent * max(values)
    running = [part for part in known if part["bytes"] < part.get("totalBytes", inf)]
    if rates := [part[_RATE] for part in running if _RATE in part]:
        found[_RATE] = sum(rates)
    if running and len(known) == expected and all(_LEFT in part for part in running):
        found[_LEFT] = max(part[_LEFT] for part in running)
    return found


def infos(found: Mapping[str, int]) -> dict[str, str]:
    """As status.infos of an operation has it: numbers, and the same for people."""
    said = {name: str(value) for name, value in found.items()}
    if "bytes" in found:
        said["loaded"] = human_size(found["bytes"])
    if found.get("totalBytes"):
        said["percentage"] = percentage(min(found.get("bytes", 0), found["totalBytes"]), found["totalBytes"])
    if _RATE in found:
        said["rate"] = f"{human_size(found[_RATE])}/s"
    if _LEFT in found:
        said["eta"] = human_duration(found[_LEFT])
    return said


def told(found: Mapping[str, int]) -> str:
    """45.0% of 1.40GiB, 3 of 10 files, 117.00MiB/s, 12s left; "" for nothing."""
    if not found.get("totalBytes"):
        return ""
    said = infos(found)
    parts: Iterable[str] = (
        f"{said['percentage']} of {human_size(found['totalBytes'])}",
        f"{found.get('files', 0)} of {found['totalFiles']} files" if found.get("totalFiles") else "",
        said.get("rate", ""),
        f"{said['eta']} left" if "eta" in said else "",
    )
    return ", ".join(filter(None, parts))
