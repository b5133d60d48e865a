"""API servers that tests start: the embedded one, or kube-apiserver and etcd from a directory."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from addon_framework.local.pki import Authority, kubeconfig
from addon_framework.local.private import write_private


class ApiServer(Protocol):
    """What both have."""

    kubeconfig: Path

    @property
    def has_controllers(self) -> bool:
        """Whether garbage is collected, namespaces are emptied, requests are signed."""

    def start(self) -> None:
        """Starts it and waits until it is ready."""

    def stop(self) -> None:
        """Ends it in order."""

    def kill(self) -> None:
        """Ends it with kill -9; `start` takes up what was written."""


def free_port() -> int:
    """A TCP port nobody uses right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class EmbeddedApiServer:
    """The embedded server as a process of its own; `kill` and `start` again to test what survives."""

    def __init__(self, directory: Path, *, name: str = "test", service_cidr: str = "127.1.0.0/24") -> None:
        self.directory, self.name, self.service_cidr = directory, name, service_cidr
        self.port = free_port()
        self.kubeconfig = directory / "admin.kubeconfig"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def has_controllers(self) -> bool:
        """Its own."""
        return True

    def start(self) -> None:
        """Starts it and waits until it is ready."""
        log = self.directory / "apiserver.log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "addon_framework.local.apiserver", "--dir", str(self.directory)),
                    *("--name", self.name, "--port", str(self.port), "--service-cidr", self.service_cidr),
                ],
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        wait_ready(f"https://127.0.0.1:{self.port}/readyz", self._process, log)

    @property
    def pid(self) -> int:
        """The process, while it runs."""
        if self._process is None:
            raise RuntimeError("the API server does not run")
        return self._process.pid

    def stop(self) -> None:
        """SIGTERM, and waits for the end."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """kill -9."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None


CONTROLLERS = (
    "namespace-controller", "garbage-collector-controller", "serviceaccount-controller",
    "root-ca-certificate-publisher-controller", "clusterrole-aggregation-controller",
    "certificatesigningrequest-signing-controller", "certificatesigningrequest-approving-controller",
    "persistentvolumeclaim-protection-controller", "persistentvolume-protection-controller",
    "resourcequota-controller",
)  # fmt: skip
"""Of kube-controller-manager: those that the embedded server has, so that tests see the same on both."""


class EnvtestApiServer:
    """kube-apiserver and etcd from a directory such as setup-envtest makes.

    A kube-controller-manager that lies beside them runs too, with the controllers of the embedded server.
    """

    def __init__(self, directory: Path, assets: Path, *, service_cidr: str = "10.0.0.0/24") -> None:
        self.directory, self.assets, self.service_cidr = directory, assets, service_cidr
        self.kubeconfig = directory / "admin.kubeconfig"
        self.port, self.etcd_port, self._peer_port = free_port(), free_port(), free_port()
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def has_controllers(self) -> bool:
        """Where the directory has the program."""
        return (self.assets / "kube-controller-manager").exists()

    def start(self) -> None:
        """Starts them and waits until the API answers."""
        pki, etcd = self.directory / "pki", f"http://127.0.0.1:{self.etcd_port}"
        if not pki.exists():
            self._identities(pki)
        self._spawn(
            "etcd",
            f"--data-dir={self.directory / 'etcd'}",
            "--unsafe-no-fsync",
            f"--listen-client-urls={etcd}",
            f"--advertise-client-urls={etcd}",
            f"--listen-peer-urls=http://127.0.0.1:{self._peer_port}",
        )
        self._spawn(
            "kube-apiserver",
            f"--etcd-servers={etcd}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self.port}",
            f"--cert-dir={pki}",
            f"--client-ca-file={pki / 'ca.crt'}",
            f"--tls-cert-file={pki / 'server.crt'}",
            f"--tls-private-key-file={pki / 'server.key'}",
            f"--service-account-key-file={pki / 'sa.crt'}",
            f"--service-account-signing-key-file={pki / 'sa.key'}",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-cluster-ip-range={self.service_cidr}",
            "--authorization-mode=Node,RBAC",
            "--enable-bootstrap-token-auth",
            "--allow-privileged=true",
            # Pods wait for the account that a controller makes for every namespace.
            *([] if self.has_controllers else ["--disable-admission-plugins=ServiceAccount"]),
        )
        url = f"https://127.0.0.1:{self.port}/readyz"
        wait_ready(url, self._processes[-1], self.directory / "kube-apiserver.log")
        if self.has_controllers:
            self.start_controllers(CONTROLLERS)

    def _identities(self, pki: Path) -> None:
        pki.mkdir(parents=True)
        authority = Authority.create("envtest-ca")
        authority.save(pki)
        serving = authority.issue("kube-apiserver", usage="server auth", addresses=["127.0.0.1", "localhost"])
        accounts = authority.issue("service-accounts")
        for name, pair in (("server", serving), ("sa", accounts)):
            write_private(pki / f"{name}.key", pair.key)
            (pki / f"{name}.crt").write_bytes(pair.cert)
        admin = authority.issue("kubernetes-admin", ["system:masters"], lifetime=timedelta(days=1))
        url = f"https://127.0.0.1:{self.port}"
        write_private(self.kubeconfig, kubeconfig(url, authority.cert_pem, admin))

    def start_controllers(self, names: Sequence[str]) -> None:
        """Starts a kube-controller-manager with some of its controllers."""
        pki = self.directory / "pki"
        self._spawn(
            "kube-controller-manager",
            f"--kubeconfig={self.kubeconfig}",
            "--bind-address=127.0.0.1",
            f"--secure-port={free_port()}",
            f"--cert-dir={pki}",
            f"--root-ca-file={pki / 'ca.crt'}",
            f"--cluster-signing-cert-file={pki / 'ca.crt'}",
            f"--cluster-signing-key-file={pki / 'ca.key'}",
            f"--service-account-private-key-file={pki / 'sa.key'}",
            f"--controllers={','.join(names)}",
            "--leader-elect=false",
            "--kube-api-qps=200",
            "--kube-api-burst=400",
        )

    def stop(self) -> None:
        """Ends them, the store last."""
        for process in reversed(self._processes):
            process.terminate()
            process.wait(30)
        self._processes = []

    def kill(self) -> None:
        """kill -9 of all of them."""
        for process in reversed(self._processes):
            process.kill()
            process.wait()
        self._processes = []

    def _spawn(self, program: str, *arguments: str) -> None:
        with (self.directory / f"{program}.log").open("ab") as output:
            command = [str(self.assets / program), *arguments]
            self._processes.append(
                subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=self.directory)
            )


def chosen_server(directory: Path, *, name: str = "test", service_cidr: str = "127.1.0.0/24") -> ApiServer:
    """kube-apiserver where KUBEBUILDER_ASSETS says where it is, otherwise the embedded server."""
    if assets := os.environ.get("KUBEBUILDER_ASSETS"):
        return EnvtestApiServer(directory, Path(assets), service_cidr=service_cidr)
    return EmbeddedApiServer(directory, name=name, service_cidr=service_cidr)


def wait_ready(url: str, process: subprocess.Popen[bytes], log: Path, timeout: float = 60) -> None:
    """Returns when the URL answers 200; RuntimeError with the log's end when the process ends first."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    _wait(url, lambda: urllib.request.urlopen(url, context=context, timeout=2), process, log, timeout)


def wait_listening(port: int, process: subprocess.Popen[bytes], log: Path, timeout: float = 60) -> None:
    """Returns when 127.0.0.1 takes connections there; RuntimeError as wait_ready."""
    at = ("127.0.0.1", port)
    _wait(f"port {port}", lambda: socket.create_connection(at, timeout=2), process, log, timeout)


def _wait(
    what: str,
    attempt: Callable[[], AbstractContextManager[object]],
    process: subprocess.Popen[bytes],
    log: Path,
    timeout: float,
) -> None:
    deadline = time.monotonic() + timeout
    while True:
        try:
            with attempt():
                return
        except OSError:  # of urllib, too
            if process.poll() is not None or time.monotonic() > deadline:
                tail = log.read_text(errors="replace")[-2000:]
                raise RuntimeError(f"{what} does not get ready; the log ends with:\n{tail}") from None
            time.sleep(0.02)
