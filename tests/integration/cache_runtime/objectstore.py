"""SeaweedFS as the S3 server of a test session."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from addon_framework.testing.servers import wait_ready

ACCESS_KEY, SECRET_KEY = "test-access", "test-secret-key"
BUCKET = "models"
DOMAIN = "s3.test"  # buckets are addressed below it, too


class ObjectStore:
    """`weed mini`, to be stopped and started again."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._ports = [_free_port() for _ in range(4)]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        """Its URL."""
        return f"http://127.0.0.1:{self._ports[0]}"

    def start(self) -> None:
        """Starts it and waits until it answers."""
        s3, master, volume, filer = self._ports
        data = self._directory / "data"
        data.mkdir(parents=True, exist_ok=True)
        command = [str(Path(sys.executable).parent / "weed"), "-logtostderr", "mini", f"-dir={data}"]
        command += ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false"]
        command += [f"-s3.port={s3}", "-s3.port.iceberg=0", "-s3.port.lance=0"]
        command += [f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}"]
        command += ["-webdav=false", "-admin.ui=false", f"-s3.domainName={DOMAIN}"]
        environment = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
        path = self._directory / "weed.log"
        with path.open("ab") as log:
            self._process = subprocess.Popen(
                command, env={**os.environ, **environment}, stdout=log, stderr=subprocess.STDOUT
            )
        wait_ready(f"{self.endpoint}/healthz", self._process, path, timeout=90)

    def stop(self) -> None:
        """Ends it."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(15)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
            for port in (each + more for each in self._ports for more in (0, 10000)):
                for path in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):  # which it leaves there
                    path.unlink()

    def client(self, checksums: str = "when_supported") -> Any:
        """boto3's. `checksums`: when uploads bring one that nobody asked for."""
        import boto3
        from botocore.config import Config

        client = boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            config=Config(request_checksum_calculation=checksums),
        )
        if BUCKET not in [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]:
            client.create_bucket(Bucket=BUCKET)
        return client


def _free_port() -> int:
    """With its gRPC port, which is 10000 above it; its sockets in /tmp are no other worker's either."""
    share = 11000 + 4700 * (int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 4)
    while True:
        port = random.randrange(share, share + 4700)
        try:
            for candidate in (port, port + 10000):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", candidate))
        except OSError:
            continue
        return port
