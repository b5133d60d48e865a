"""Limits of memory and CPU by Linux control groups, where this process is root and may make them.

Both versions: https://docs.kernel.org/admin-guide/cgroup-v2.html and .../cgroup-v1/index.html
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import structlog

from addon_framework.api.meta import Json
from addon_framework.api.quantity import parse_quantity

log = structlog.get_logger(__name__)
_PERIOD = 100_000  # microseconds
_MIN_QUOTA = 1_000
_ENTER = 'for each; do shift; [ "$each" = -- ] && break; echo 0 >"$each" || exit 1; done; exec "$@"'


class Cgroup:
    """One container's: a directory per controller, the same one for all in version 2."""

    def __init__(self, directories: Mapping[str, Path]) -> None:
        self._directories = directories

    def entering(self, argv: list[str]) -> list[str]:
        """The command line that puts itself into the group before it becomes the given one."""
        procs = [str(directory / "cgroup.procs") for directory in sorted(set(self._directories.values()))]
        return ["/bin/sh", "-c", _ENTER, "sh", *procs, "--", *argv]

    @property
    def oom_kills(self) -> int:
        """How many processes the kernel has ended for want of memory."""
        directory = self._directories.get("memory")
        if directory is None:
            return 0
        for name in ("memory.events", "memory.oom_control"):
            with contextlib.suppress(OSError):
                lines = (directory / name).read_text().splitlines()
                return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
        return 0

    def remove(self) -> None:
        """Once nobody is in it; what is busy still goes with the node's."""
        for directory in set(self._directories.values()):
            with contextlib.suppress(OSError):
                directory.rmdir()


class Cgroups:
    """One node's groups. Where there are none, limits count for scheduling only."""

    def __init__(self, parents: Mapping[str, Path]) -> None:
        self._parents = parents

    @classmethod
    def find(cls, node: Path) -> Cgroups:
        """Below this process's own groups, so that what limits it limits its pods, too."""
        if os.geteuid() != 0:
            return cls({})
        name = "boundaryless-" + hashlib.sha256(str(node).encode()).hexdigest()[:12]
        parents: dict[str, Path] = {}
        for controller, own in _own(Path("/proc/self")).items():
            directory = own / name
            try:
                if (own / "cgroup.controllers").exists():
                    (own / "cgroup.subtree_control").write_text(f"+{controller}")
                directory.mkdir(exist_ok=True)
                if (directory / "cgroup.controllers").exists():
                    (directory / "cgroup.subtree_control").write_text(f"+{controller}")
                parents[controller] = directory
            except OSError as error:
                log.info("limits are not enforced", controller=controller, reason=str(error))
        groups = cls(parents)
        groups.tidy()
        return groups

    def tidy(self) -> None:
        """What an earlier life of the node left."""
        for parent in self._parents.values():
            for leftover in parent.iterdir() if parent.exists() else ():
                if leftover.is_dir():
                    with contextlib.suppress(OSError):
                        leftover.rmdir()

    def remove(self) -> None:
        """The node stops."""
        self.tidy()
        for parent in self._parents.values():
            with contextlib.suppress(OSError):
                parent.rmdir()

    def make(self, name: str, container: Json) -> Cgroup | None:
        """A group with a container's limits; None where it has none, or none can be enforced."""
        limits = (container.get("resources") or {}).get("limits") or {}
        wanted = {
            each: limits[each] for each in ("memory", "cpu") if each in limits and each in self._parents
        }
        if not wanted:
            return None
        directories = {controller: self._parents[controller] / name for controller in wanted}
        for directory in directories.values():
            directory.mkdir(exist_ok=True)
        if "memory" in wanted:
            _limit_memory(directories["memory"], int(parse_quantity(wanted["memory"])))
        if "cpu" in wanted:
            _limit_cpu(directories["cpu"], max(_MIN_QUOTA, int(parse_quantity(wanted["cpu"]) * _PERIOD)))
        return Cgroup(directories)


def _limit_memory(directory: Path, limit: int) -> None:
    if (directory / "cgroup.controllers").exists():
        (directory / "memory.max").write_text(str(limit))
        with contextlib.suppress(OSError):  # a kernel without swap has no such file
            (directory / "memory.swap.max").write_text("0")
    else:
        (directory / "memory.limit_in_bytes").write_text(str(limit))
        with contextlib.suppress(OSError):
            (directory / "memory.memsw.limit_in_bytes").write_text(str(limit))


def _limit_cpu(directory: Path, quota: int) -> None:
    if (directory / "cgroup.controllers").exists():
        (directory / "cpu.max").write_text(f"{quota} {_PERIOD}")
    else:
        (directory / "cpu.cfs_period_us").write_text(str(_PERIOD))
        (directory / "cpu.cfs_quota_us").write_text(str(quota))


def _own(process: Path) -> dict[str, Path]:
    """Where this process's groups are, by controller; version 1 is preferred where it has the controller."""
    mounts: dict[str, tuple[str, str]] = {}
    for line in (process / "mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        root, point = before.split()[3:5]
        if kind in ("cgroup", "cgroup2"):
            for name in options.split(",") if kind == "cgroup" else [""]:
                mounts[name] = (root, point)
    found: dict[str, Path] = {}
    for line in reversed((process / "cgroup").read_text().splitlines()):
        _, names, path = line.split(":", 2)
        for name in names.split(","):
            if name not in mounts:
                continue
            root, point = mounts[name]
            own = Path(point) / path.removeprefix(root).lstrip("/")
            if name:
                offered = [name]
            else:
                listed = own / "cgroup.controllers"
                offered = listed.read_text().split() if listed.exists() else []
            found |= {each: own for each in offered if each in ("memory", "cpu")}
    return found
