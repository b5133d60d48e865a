"""A cluster for tests: the embedded API server and one node, each a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from addon_framework.api.core import NAMESPACES, NODES, PODS
from addon_framework.api.meta import Json, Resource
from addon_framework.kube import Client, wait_for
from addon_framework.local.pki import Authority
from addon_framework.local.private import write_private
from addon_framework.testing import EmbeddedApiServer

PREFIX = Path(sys.executable).parent
CHECKOUT = Path(__file__).parents[3]
SHELL_IMAGE = "busybox:1.36"
PYTHON_IMAGE = "example.org/python:3"
PATIENCE = 90  # seconds, on a machine that has much else to do


class NodeProcess:
    """`python -m addon_framework.local.node`, to be stopped, killed and started again."""

    def __init__(self, server: EmbeddedApiServer, directory: Path, name: str, network: str) -> None:
        self.server, self.directory, self.name = server, directory, name
        directory.mkdir(parents=True, exist_ok=True)
        authority = Authority.load(server.directory / "pki")
        pair = authority.issue(f"system:node:{name}", usage="server auth", addresses=["127.0.0.1"])
        write_private(directory / "kubelet.key", pair.key)
        (directory / "kubelet.crt").write_bytes(pair.cert)
        # Not below /tmp, which pods have an own one of anyway.
        self.secret = Path(tempfile.mkdtemp(prefix="boundaryless-test-", dir="/var/tmp"))
        (self.secret / "key").write_text("nobody may see this")
        config = {
            "address": "127.0.0.1",
            "addresses": network,
            "capacity": {"nvidia.com/gpu": "2"},
            "labels": {"topology.kubernetes.io/region": "here"},
            "images": {
                "busybox": {"command": ["sh"]},
                "example.org/python": {
                    "path": [str(PREFIX)],
                    "entrypoint": ["python"],
                    "files": [
                        sys.prefix,
                        sys.base_prefix,
                        str(CHECKOUT),
                    ],  # wherever they lie, below /tmp too
                },
            },
            "hidden": [str(self.secret)],
            "certificate": str(directory / "kubelet.crt"),
            "key": str(directory / "kubelet.key"),
            "client_ca": str(server.directory / "pki" / "ca.crt"),
        }
        (directory / "node.json").write_text(json.dumps(config))
        self.state = directory / "state"
        self.command = [sys.executable, "-m", "addon_framework.local.node", "--name", name, "--kubeconfig"]
        self.command += [str(server.kubeconfig), "--dir", str(self.state)]
        self.command += ["--config", str(directory / "node.json")]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts the process; it registers its node by itself."""
        with (self.directory / "node.log").open("ab") as output:
            self.process = subprocess.Popen(
                self.command,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Signals the process and waits for its end; its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        code = self.process.wait(90)
        self.process = None
        return code

    def remove(self) -> None:
        """What the test made outside its own directory."""
        shutil.rmtree(self.secret)

    @property
    def host(self) -> Path:
        """What hostPath "/" is."""
        return self.state / "host"

    def log(self) -> str:
        """What the node has said."""
        return (self.directory / "node.log").read_text()


def descendants_mentioning(text: str) -> list[int]:
    """Processes, whoever's, that have `text` among their arguments."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if text.encode() in line:
                found.append(int(entry.name))
    return found


class Cluster:
    """What tests do with it, in the words of a user."""

    def __init__(self, client: Client, server: EmbeddedApiServer, node: NodeProcess, namespace: str) -> None:
        self.client, self.server, self.node, self.namespace = client, server, node, namespace

    async def create(self, obj: Json) -> Json:
        """Creates an object in the test's namespace."""
        resource = await self.client.resource_for(obj["apiVersion"], obj["kind"])
        return await self.client.create(resource, obj, self.namespace if resource.namespaced else None)

    async def pod(self, name: str, script: str | None = None, **spec: Any) -> Json:
        """Creates a pod with one container that runs a shell script; `container` adds to that one."""
        return await self.create(pod(name, script, **spec))

    async def wait(
        self, resource: Resource, name: str, until: Any, what: str = "", timeout: float = PATIENCE
    ) -> Json:
        """Waits for an object that is there and as wanted."""
        found = await wait_for(
            self.client,
            resource,
            name,
            self.namespace if resource.namespaced else None,
            until=lambda obj: obj is not None and bool(until(obj)),
            timeout=timeout,
            what=what,
        )
        assert found is not None
        return found

    async def running(self, name: str, timeout: float = PATIENCE) -> Json:
        """Waits until a pod is ready."""
        return await self.wait(PODS, name, ready, "ready", timeout)

    async def ended(self, name: str, timeout: float = PATIENCE) -> Json:
        """Waits until a pod has succeeded or failed."""
        return await self.wait(
            PODS, name, lambda p: p["status"]["phase"] in ("Succeeded", "Failed"), "ended", timeout
        )

    async def gone(self, resource: Resource, name: str, timeout: float = PATIENCE) -> None:
        """Waits until an object is not there."""
        await wait_for(
            self.client,
            resource,
            name,
            self.namespace,
            until=lambda obj: obj is None,
            timeout=timeout,
            what="gone",
        )

    async def gone_namespace(self) -> None:
        """Waits until the namespace is gone with all it held."""
        await wait_for(
            self.client, NAMESPACES, self.namespace, until=lambda o: o is None, timeout=PATIENCE, what="gone"
        )

    async def logs(self, name: str, container: str = "main") -> str:
        """What a container has written."""
        path = PODS.path(self.namespace, name, "log")
        return await self.client.text(path, params={"container": container})

    async def output(self, name: str) -> str:
        """The log of a pod that ends."""
        await self.ended(name)
        return await self.logs(name)

    async def kubectl(self, *arguments: str, timeout: float = PATIENCE) -> str:
        """Runs kubectl in the namespace; its output. Raises AssertionError when it fails."""
        process = await asyncio.create_subprocess_exec(
            str(PREFIX / "kubectl"),
            "--kubeconfig",
            str(self.server.kubeconfig),
            "--namespace",
            self.namespace,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(timeout):
            output, _ = await process.communicate()
        assert process.returncode == 0, output.decode()
        return output.decode()

    async def node_ready(self) -> Json:
        """Waits until the node has registered."""
        return await self.wait(
            NODES, self.node.name, lambda n: (n.get("status") or {}).get("conditions"), "registered"
        )


def pod(name: str, script: str | None = None, **spec: Any) -> Json:
    """A pod with one container, `main`."""
    labels = spec.pop("labels", {})
    main = {"name": "main", "image": SHELL_IMAGE, **spec.pop("container", {})}
    if script is not None:
        main["command"] = ["/bin/sh", "-c", script]
    spec.setdefault("terminationGracePeriodSeconds", 1)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels},
        "spec": {"containers": [main], **spec},
    }


def ready(obj: Json) -> bool:
    """The pod's Ready condition."""
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
