"""The command line of a container's sandbox: the host's files read-only, volumes where they belong.

bubblewrap makes the namespaces: https://github.com/containers/bubblewrap. The network is the node's.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from addon_framework.api.meta import Json

MARKER = "/.sandbox"
_PSEUDO = ("/dev", "/proc", "/sys", "/run", "/tmp")
# What container runtimes leave to a process that is not privileged.
_CAPABILITIES = (
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE",
    "NET_RAW", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
)  # fmt: skip


class SandboxError(Exception):
    """The sandbox cannot be made here; the message says what is missing."""


@dataclass(frozen=True)
class Bind:
    """A volume: a path of the host and where the container sees it. `shared`: its mounts reach the host."""

    source: Path
    target: str
    read_only: bool = False
    shared: bool = False


@dataclass(frozen=True)
class Sandbox:
    """What one container sees and may do."""

    binds: Sequence[Bind]
    hidden: Sequence[str] = ()
    hostname: str = ""
    cwd: str = "/"
    security: Json = field(default_factory=dict)  # securityContext

    @property
    def grafts(self) -> list[Bind]:
        """Binds that bubblewrap cannot make."""
        return [bind for bind in self.binds if bind.shared]

    def command(self, argv: Sequence[str], *, status_fd: int, block_fd: int | None) -> list[str]:
        """bwrap's command line. It tells the child's pid on `status_fd` and waits for `block_fd`."""
        line = ["bwrap", "--die-with-parent", "--unshare-pid", "--unshare-ipc"]
        # A session of its own, but for those that get their terminal's: then setsid is the command.
        line += [] if argv[0] == "setsid" else ["--new-session"]
        # Root in a namespace of its own. Another id would take a second namespace, which nobody could enter.
        line += [] if os.geteuid() == 0 else ["--unshare-user", "--uid", "0", "--gid", "0"]
        line += ["--unshare-uts", "--hostname", self.hostname] if self.hostname else []
        line += ["--json-status-fd", str(status_fd)]
        line += ["--block-fd", str(block_fd)] if block_fd is not None else []
        line += [*self._capabilities(), "--tmpfs", "/", *self._root()]
        line += ["--dir", MARKER] if block_fd is not None else []
        if self.security.get("readOnlyRootFilesystem"):
            line += ["--remount-ro", "/", "--remount-ro", "/run"]
        return [*line, "--chdir", self.cwd, "--", *self._identity(), *argv]

    def _root(self) -> list[str]:
        """Everything of the host, then the pseudo file systems, then each volume at its path."""
        targets = [_resolved(bind.target) for bind in self.binds]
        opened = {"/"}
        for target in targets:
            opened |= _to_be_opened(target)
        line = []
        for directory in sorted(opened, key=lambda path: (path.count("/"), path)):
            line += ["--dir", directory] if directory != "/" else []
            line += _entries(directory, opened)
        if self.security.get("privileged"):
            line += ["--dev-bind", "/dev", "/dev", "--tmpfs", "/dev/shm"]
        else:
            line += ["--dev", "/dev"]
        line += ["--proc", "/proc", "--ro-bind", "/sys", "/sys", "--tmpfs", "/run", "--tmpfs", "/tmp"]
        for path in self.hidden:
            line += ["--tmpfs", path] if os.path.isdir(path) else []
        for bind, target in sorted(
            zip(self.binds, targets, strict=True), key=lambda pair: pair[1].count("/")
        ):
            if bind.shared:
                line += ["--dir", target]
            elif bind.source.is_relative_to("/dev") and not bind.source.is_relative_to("/dev/shm"):
                line += ["--dev-bind", str(bind.source), target]
            else:
                line += ["--ro-bind" if bind.read_only else "--bind", str(bind.source), target]
        return line

    def confinement(self) -> list[str]:
        """Puts the same limits on a command that enters later."""
        if (kept := self._kept()) is None:
            return self._identity()
        bounds = ",".join(["-all", *(f"+{name.lower()}" for name in kept)])
        return ["setpriv", f"--bounding-set={bounds}", "--", *self._identity()]

    def _capabilities(self) -> list[str]:
        if (kept := self._kept()) is None:
            return []
        return ["--cap-drop", "ALL", *(word for name in kept for word in ("--cap-add", f"CAP_{name}"))]

    def _kept(self) -> list[str] | None:
        """Root's capabilities; None for all. Without root there is nothing to take."""
        asked = self.security.get("capabilities") or {}
        drop, add = _plain(asked.get("drop") or ()), _plain(asked.get("add") or ())
        if os.geteuid() != 0 or self.security.get("privileged") or "ALL" in add:
            return None
        return sorted((set() if "ALL" in drop else set(_CAPABILITIES) - drop) | add)

    def _identity(self) -> list[str]:
        """runAsUser and runAsGroup, for which one has to be root."""
        user, group = self.security.get("runAsUser"), self.security.get("runAsGroup")
        if os.geteuid() != 0 or not (user or group):
            return []
        line = ["setpriv", "--clear-groups", f"--reuid={user or 0}", f"--regid={group or 0}"]
        return [*line, "--inh-caps=-all", "--ambient-caps=-all", "--"]


def graft_command(pid: int, binds: Iterable[Bind]) -> list[str]:
    """Hangs what bubblewrap cannot share into a sandbox that waits."""
    pairs = [part for bind in binds for part in (str(bind.source), _resolved(bind.target))]
    return [sys.executable, "-I", "-S", str(Path(__file__).with_name("graft.py")), str(pid), MARKER, *pairs]


def end_sandboxes(pods: Path) -> None:
    """Kills sandboxes that a killed node left.

    They die with the node, but for one: bubblewrap's child in the moment before it has asked for that.
    """
    own = f"{pods}/".encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            program, *arguments = (entry / "cmdline").read_bytes().split(b"\0")
            if os.path.basename(program) == b"bwrap" and any(word.startswith(own) for word in arguments):
                os.kill(int(entry.name), signal.SIGKILL)
        except OSError:
            continue


def _plain(names: Iterable[str]) -> set[str]:
    return {name.upper().removeprefix("CAP_") for name in names}


def _resolved(path: str) -> str:
    """A path whose parents are no symlinks of the host: /var/run is /run."""
    parent, name = os.path.split(os.path.normpath(path))
    return os.path.join(os.path.realpath(parent), name) if name else path


def _to_be_opened(target: str) -> set[str]:
    """Directories of the host in which something has to be made so that a volume can be at `target`.

    Nothing can be made in what is bound read-only, so they are rebuilt entry by entry; what is there already
    can be mounted over.
    """
    if os.path.lexists(target) or target.startswith(tuple(f"{pseudo}/" for pseudo in _PSEUDO)):
        return set()
    parent = os.path.dirname(target)
    while not os.path.isdir(parent):
        parent = os.path.dirname(parent)
    found = set()
    while parent != "/":
        found.add(parent)
        parent = os.path.dirname(parent)
    return found


def _entries(directory: str, opened: set[str]) -> list[str]:
    """The host's entries of a directory that is rebuilt, but for those that are rebuilt themselves."""
    line: list[str] = []
    with os.scandir(directory) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            path = os.path.join(directory, entry.name)
            if path in opened or path in _PSEUDO:
                continue
            if entry.is_symlink():
                line += ["--symlink", os.readlink(path), path]
            elif entry.is_dir() or entry.is_file():
                line += ["--ro-bind-try", path, path]
    return line
