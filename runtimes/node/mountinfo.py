"""What is mounted where: https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

TABLE = Path("/proc/self/mountinfo")  # of our own mount namespace
FUSE = "fuse"


@dataclass(frozen=True)
class Device:
    """What tells one client's mount from another's."""

    number: str  # major:minor
    type: str
    source: str


@dataclass(frozen=True)
class Mount:
    """A line."""

    device: Device
    root: str  # what of the file system is mounted: "/", or a subPath
    point: str
    options: tuple[str, ...]
    id: str = ""
    parent: str = ""  # the id of what it is mounted on

    @classmethod
    def parse(cls, line: str) -> Mount:
        """From the kernel's words."""
        left, _, right = line.partition(" - ")
        fields, (type_, source) = left.split(), right.split()[:2]
        device = Device(fields[2], type_, source)
        options = tuple(fields[5].split(","))
        return cls(device, _plain(fields[3]), _plain(fields[4]), options, fields[0], fields[1])


def mounts(table: Path = TABLE, of: str = "") -> list[Mount]:
    """In the order of mounting; of file systems whose type begins with `of`. Raises OSError."""
    with table.open(errors="surrogateescape") as lines:
        found = [Mount.parse(line) for line in lines if f" - {of}" in line]
    return [mount for mount in found if mount.device.type.startswith(of)]


def mount_at(path: str, table: Sequence[Mount]) -> Mount | None:
    """The mount in which a path is found, going down as the kernel does, from mount to mount on it."""
    ids = {mount.id for mount in table}
    at = next((mount for mount in table if mount.parent not in ids and mount.point == "/"), None)
    below = at
    while below is not None:
        at = below
        on = [mount for mount in table if mount.parent == at.id != mount.id and within(path, mount.point)]
        below = min(on, key=lambda mount: len(mount.point), default=None)
    return at


def within(path: str, directory: str) -> bool:
    """Whether it is the directory or in it."""
    return path == directory or path.startswith(f"{directory.rstrip('/')}/")


def device_at(path: Path) -> str:
    """Of what is mounted on exactly this path, without asking it, which could take a client's time; or ""."""
    found = [mount.device.number for mount in mounts() if mount.point == str(path)]
    return found[-1] if found else ""


def _plain(text: str) -> str:
    """The kernel writes blanks and backslashes as octal."""
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, char)
    return text
