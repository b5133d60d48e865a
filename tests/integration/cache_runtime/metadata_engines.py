"""Where JuiceFS may keep metadata: a file, Redis, and PostgreSQL, each a real one of a test's own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from addon_framework.testing.servers import free_port, wait_listening

PASSWORD = "not-in-any-argument"
_POSTGRES = "/usr/lib/postgresql"
ENGINES = ("sqlite3", "redis", "postgres")


def missing(engine: str) -> str:
    """What would have to be installed; "" when nothing."""
    if engine == "redis" and shutil.which("redis-server") is None:
        return "redis-server"
    if engine == "postgres" and _binaries() is None:
        return "postgresql"
    return ""


@contextmanager
def running(engine: str, directory: Path) -> Iterator[str]:
    """The address of one, with user and password. A file is in /shared of whoever uses it."""
    if engine == "sqlite3":
        yield "sqlite3:///shared/meta.db"
    elif engine == "redis":
        port = free_port()
        (directory / "redis.conf").write_text(
            f"bind 127.0.0.1\nport {port}\nrequirepass {PASSWORD}\nsave ''\n"
        )
        with _serving(["redis-server", str(directory / "redis.conf")], port, directory):
            yield f"redis://:{PASSWORD}@127.0.0.1:{port}/1"
    else:
        port = free_port()
        with TemporaryDirectory() as made:  # which its user can reach
            own = Path(made)
            with _serving(_postgres(own, port), port, own, user=_owner()):
                yield f"postgres://juicefs:{PASSWORD}@127.0.0.1:{port}/postgres?sslmode=disable"


def _postgres(directory: Path, port: int) -> list[str]:
    """A cluster of its own, and what serves it."""
    binaries, owner = _binaries(), _owner()
    assert binaries is not None
    data, password = directory / "data", directory / "password"
    password.write_text(PASSWORD)
    if owner is not None:
        for path in (directory, password):
            os.chown(path, owner, -1)
    made = [str(binaries / "initdb"), f"--pgdata={data}", "--username=juicefs", f"--pwfile={password}"]
    made += ["--auth=scram-sha-256", "--no-sync", "--no-instructions"]
    subprocess.run(made, check=True, capture_output=True, user=owner, cwd=directory)
    options = ["-c", "listen_addresses=127.0.0.1", "-c", f"port={port}", "-c", "fsync=off"]
    return [str(binaries / "postgres"), "-D", str(data), "-k", str(directory), *options]


@contextmanager
def _serving(command: list[str], port: int, directory: Path, user: int | None = None) -> Iterator[None]:
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=directory, stdout=log, stderr=subprocess.STDOUT, user=user)
    try:
        wait_listening(port, process, directory / "log")
        yield
    finally:
        process.send_signal(signal.SIGINT)  # PostgreSQL's fast end
        process.wait(90)


def _binaries() -> Path | None:
    """Of the newest version; Debian keeps them off PATH."""
    found = sorted(Path(_POSTGRES).glob("*/bin/initdb"))
    return found[-1].parent if found else None


def _owner() -> int | None:
    """PostgreSQL does not run as root."""
    if os.geteuid() != 0:
        return None
    return os.stat("/var/lib/postgresql").st_uid if Path("/var/lib/postgresql").exists() else 65534
