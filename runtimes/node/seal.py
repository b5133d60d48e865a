"""Makes a FUSE file system read-only, whatever its client thinks: a Dataset that can only be read says so.

A read-only bind mount would not do: a container engine makes its own of it, and may make that writable again.
So the file system itself is reconfigured, for all who have it mounted. fspick(2), fsconfig(2)
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

_FSCONFIG, _FSPICK = 431, 433  # the same on every architecture since 2019
_AT_FDCWD = -100
_SET_FLAG, _RECONFIGURE = 0, 7
_libc = ctypes.CDLL(None, use_errno=True)


def seal(mount_point: Path) -> None:
    """Raises OSError when that is not possible."""
    if os.statvfs(mount_point).f_flag & os.ST_RDONLY:
        return
    picked = _checked(_libc.syscall(_FSPICK, _AT_FDCWD, str(mount_point).encode(), 0), mount_point)
    try:
        _checked(_libc.syscall(_FSCONFIG, picked, _SET_FLAG, b"ro", None, 0), mount_point)
        _checked(_libc.syscall(_FSCONFIG, picked, _RECONFIGURE, None, None, 0), mount_point)
    finally:
        os.close(picked)


def _checked(result: int, mount_point: Path) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"cannot be made read-only: {os.strerror(number)}", str(mount_point))
    return result
