"""A container as a process in its own mount namespace: the host's files read-only, volumes where they belong.

Two ways to the same view. bubblewrap for ordinary containers. For privileged ones whose mounts must reach the
node (mountPropagation: Bidirectional, as FUSE clients need), `unshare` and a chroot that keeps the volumes'
peer group, which bubblewrap cuts. https://docs.kernel.org/filesystems/sharedsubtree.html
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_PSEUDO = ("dev", "proc", "sys")


class SandboxError(Exception):
    """The sandbox cannot be made here; the message says what is missing."""


@dataclass(frozen=True)
class Bind:
    """A volume: a path of the host and where the container sees it."""

    source: Path
    target: str
    read_only: bool = False


@dataclass(frozen=True)
class Step:
    """One line of the plan for a root directory: bind, tmpfs, dir or symlink."""

    action: str
    target: str
    source: str = ""
    read_only: bool = False


def plan(binds: Sequence[Bind], hidden: Sequence[str] = ()) -> list[Step]:
    """How to make a root: everything of the host read-only, and each volume at its path.

    A volume's parents that exist on the host are rebuilt entry by entry, since nothing can be created in what
    is bound read-only.
    """
    targets = {_clean(bind.target) for bind in binds}
    opened = {parent for target in targets for parent in _parents(_resolved(target))} | {"/"}
    steps: list[Step] = []
    for directory in sorted(opened, key=lambda path: path.count("/") if path != "/" else 0):
        if directory != "/":
            steps.append(Step("dir", directory))
        if Path(directory).is_dir():
            steps += _entries(directory, opened, targets)
    steps += [Step("tmpfs", "/run"), Step("tmpfs", "/tmp")]
    # What lies below an emptied directory was not listed above, so its parents are made again.
    steps += [Step("tmpfs", path) for path in hidden if Path(path).is_dir()]
    for bind in sorted(binds, key=lambda bind: bind.target.count("/")):
        target = _resolved(_clean(bind.target))
        steps += [Step("dir", parent) for parent in _parents(target)]
        steps.append(Step("bind", target, str(bind.source), bind.read_only))
    return steps


def bubblewrap(steps: Sequence[Step], command: Sequence[str], *, cwd: str, status_fd: int) -> list[str]:
    """The command line of bwrap; it reports the child's pid on `status_fd`."""
    argv = ["bwrap", "--die-with-parent", "--unshare-pid", "--unshare-ipc", "--new-session"]
    argv += ["--json-status-fd", str(status_fd), "--tmpfs", "/"]
    for step in steps:
        match step.action:
            case "dir":
                argv += ["--dir", step.target]
            case "tmpfs":
                argv += ["--tmpfs", step.target]
            case "symlink":
                argv += ["--symlink", step.source, step.target]
            case "bind":
                argv += ["--ro-bind" if step.read_only else "--bind", step.source, step.target]
    argv += ["--dev", "/dev", "--proc", "/proc"]
    if os.path.isdir("/sys"):
        argv += ["--ro-bind", "/sys", "/sys"]
    return [*argv, "--chdir", cwd, "--", *command]


def privileged(steps: Sequence[Step], command: Sequence[str], *, cwd: str, root: Path) -> list[str]:
    """The command line of unshare with a script that builds the root and becomes the command."""
    quoted = shlex.quote
    lines = ["set -e", f"mkdir -p {quoted(str(root))}", f"mount -t tmpfs none {quoted(str(root))}"]
    for step in steps:
        target = quoted(f"{root}{step.target}")
        match step.action:
            case "dir":
                lines.append(f"mkdir -p {target}")
            case "tmpfs":
                lines.append(f"mkdir -p {target}; mount -t tmpfs none {target}")
            case "symlink":
                lines.append(f"[ -e {target} ] || ln -s {quoted(step.source)} {target}")
            case "bind":
                source = quoted(step.source)
                make = "mkdir -p" if os.path.isdir(step.source) else f"mkdir -p $(dirname {target}); touch"
                # Volumes keep their propagation; the host's own directories are taken without what is below.
                how = "--rbind" if not step.read_only else "--bind"
                lines.append(f"{make} {target}; mount {how} {source} {target}")
                if step.read_only:
                    lines.append(f"mount -o remount,bind,ro {target}")
    for name in _PSEUDO:
        lines.append(f"mkdir -p {quoted(f'{root}/{name}')}; mount --rbind /{name} {quoted(f'{root}/{name}')}")
    lines.append(f'exec chroot {quoted(str(root))} /bin/sh -c \'cd "$1"; shift; exec "$@"\' sh {quoted(cwd)} "$@"')
    script = "\n".join(lines)
    return ["unshare", "--mount", "--propagation", "unchanged", "/bin/sh", "-c", script, "sh", *command]


def _clean(path: str) -> str:
    return os.path.normpath(path)


def _resolved(path: str) -> str:
    """A path whose parents are no symlinks of the host: /var/run is /run."""
    parent, name = os.path.split(path)
    return os.path.join(os.path.realpath(parent), name) if name else path


def _parents(path: str) -> list[str]:
    """From the top down, without / and the path itself."""
    parts = path.strip("/").split("/")[:-1]
    return ["/" + "/".join(parts[: n + 1]) for n in range(len(parts))]


def _entries(directory: str, opened: set[str], targets: set[str]) -> list[Step]:
    """The host's entries of a directory that is rebuilt, but for those that are rebuilt or mounted over."""
    steps = []
    with os.scandir(directory) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            path = os.path.join(directory, entry.name)
            if path in opened or path in targets or (directory == "/" and entry.name in (*_PSEUDO, "run", "tmp")):
                continue
            if entry.is_symlink():
                steps.append(Step("symlink", path, os.readlink(path)))
            elif entry.is_dir() or entry.is_file():
                steps.append(Step("bind", path, path, read_only=True))
    return steps
