"""A Ceph cluster of one monitor, one OSD in memory and one metadata server, from Debian's packages.

https://docs.ceph.com/en/latest/install/manual-deployment/
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
import uuid
from pathlib import Path

PROGRAMS = ("ceph", "ceph-authtool", "monmaptool", "ceph-mon", "ceph-osd", "ceph-mds", "ceph-fuse")
PACKAGES = "ceph-common ceph-mon ceph-osd ceph-mds ceph-fuse"
_CONFIG = """
[global]
fsid = {fsid}
mon_host = {mon_host}
mon_initial_members = a
auth_cluster_required = cephx
auth_service_required = cephx
auth_client_required = cephx
public_addr = 127.0.0.1
keyring = {home}/$name.keyring
mon_data = {home}/$name
osd_data = {home}/$name
mds_data = {home}/$name
run_dir = {home}
admin_socket = {home}/$name.asok
log_file = {home}/$name.log
crash_dir = {home}/crash
osd_objectstore = memstore
memstore_device_bytes = 268435456
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
"""


def missing() -> list[str]:
    """Its programs that are not installed."""
    return [name for name in PROGRAMS if shutil.which(name) is None]


class Ceph:
    """Runs from `start` to `stop`; the file system in it is called `models`."""

    def __init__(self, home: Path) -> None:
        self.home, self.fsid = home, str(uuid.uuid4())
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.mon_host = f"[v2:127.0.0.1:{free.getsockname()[1]}/0]"
        self._running: list[subprocess.Popen[bytes]] = []

    @property
    def key(self) -> str:
        """Of client.admin."""
        return self._run("ceph-authtool", str(self.home / "client.admin.keyring"), "-n", "client.admin", "-p")

    def start(self) -> None:
        """Returns when files can be stored. Raises CalledProcessError and TimeoutError."""
        text = _CONFIG.format(fsid=self.fsid, mon_host=self.mon_host, home=self.home)
        (self.home / "ceph.conf").write_text(text)
        self._monitor()
        self._keyring("osd.0", "mon", "allow profile osd", "osd", "allow *")
        self._keyring("mds.a", "mon", "allow profile mds", "osd", "allow *", "mds", "allow *")
        osd = str(uuid.uuid4())
        self.ceph("osd", "new", osd)
        (self.home / "osd.0").mkdir()
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd, "-c", self._config)
        self._daemon("ceph-osd", "0")
        for pool in ("metadata", "data"):
            self.ceph("osd", "pool", "create", pool, "4")
        self.ceph("fs", "new", "models", "metadata", "data")
        (self.home / "mds.a").mkdir()
        self._daemon("ceph-mds", "a")
        deadline = time.monotonic() + 60
        while ":active" not in (said := self.ceph("mds", "stat")):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the metadata server is not active: {said}")

    def stop(self) -> None:
        """Nothing of it runs any more."""
        for process in reversed(self._running):
            process.kill()
            process.wait()

    def write(self, files: dict[str, bytes]) -> None:
        """By a client of its own."""
        directory = self.home / "writer"
        directory.mkdir()
        self._run("ceph-fuse", "-c", self._config, "-n", "client.admin", str(directory))
        try:
            for path, content in files.items():
                (directory / path).parent.mkdir(parents=True, exist_ok=True)
                (directory / path).write_bytes(content)
        finally:
            self._run("umount", str(directory))

    def ceph(self, *arguments: str) -> str:
        """What an administrator's command says."""
        return self._run("ceph", "-c", self._config, "--connect-timeout", "30", *arguments)

    @property
    def _config(self) -> str:
        return str(self.home / "ceph.conf")

    def _monitor(self) -> None:
        admin, mon = self.home / "client.admin.keyring", self.home / "mon.a.keyring"
        everything = [part for what in ("mon", "osd", "mds", "mgr") for part in ("--cap", what, "allow *")]
        for path, name in ((admin, "client.admin"), (mon, "mon.")):
            caps = everything if path is admin else ["--cap", "mon", "allow *"]
            self._run("ceph-authtool", "--create-keyring", str(path), "--gen-key", "-n", name, *caps)
        self._run("ceph-authtool", str(mon), "--import-keyring", str(admin))
        monmap = str(self.home / "monmap")
        address = self.mon_host.removesuffix("/0]") + "]"
        self._run("monmaptool", "--create", "--addv", "a", address, "--fsid", self.fsid, monmap)
        made = ["-i", "a", "--mkfs", "--monmap", monmap, "--keyring", str(mon)]
        self._run("ceph-mon", "-c", self._config, *made)
        self._daemon("ceph-mon", "a")

    def _keyring(self, name: str, *caps: str) -> None:
        self.ceph("auth", "get-or-create", name, *caps, "-o", str(self.home / f"{name}.keyring"))

    def _daemon(self, program: str, name: str) -> None:
        with (self.home / f"{program}.out").open("wb") as output:
            command = [program, "-f", "-i", name, "-c", self._config]
            self._running.append(subprocess.Popen(command, stdout=output, stderr=output))

    def _run(self, *command: str) -> str:
        done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
        if done.returncode:
            with contextlib.suppress(OSError):
                self.stop()
            raise RuntimeError(f"{' '.join(command)}: {done.stderr[-1500:]}")
        return done.stdout.strip()
