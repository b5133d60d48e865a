"""What tests do with the cluster, in the words of a user."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from addon_framework.api.core import NODES, PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, PODS, SECRETS
from addon_framework.api.data import (
    AlluxioRuntime,
    CacheRuntime,
    DataBackup,
    DataLoad,
    DataMigrate,
    DataProcess,
    Dataset,
    EFCRuntime,
    JindoRuntime,
    JuiceFSRuntime,
    LocalRuntime,
    ThinRuntime,
    VineyardRuntime,
)
from addon_framework.api.meta import Json, Resource
from addon_framework.kube import Client, NotFound, wait_for
from addon_framework.testing import eventually
from tests.integration.cache_runtime.objectstore import ACCESS_KEY, SECRET_KEY, ObjectStore

DATASETS, DATALOADS = Dataset.RESOURCE, DataLoad.RESOURCE
MIGRATES, PROCESSES = DataMigrate.RESOURCE, DataProcess.RESOURCE
BACKUPS = DataBackup.RESOURCE
PATIENCE = 120  # seconds, on a machine that has much else to do
OPERATIONS = (DATALOADS, MIGRATES, BACKUPS, PROCESSES)
RUNTIMES = {
    "local": LocalRuntime.RESOURCE,
    "juicefs": JuiceFSRuntime.RESOURCE,
    "thin": ThinRuntime.RESOURCE,
    "alluxio": AlluxioRuntime.RESOURCE,
    "jindo": JindoRuntime.RESOURCE,
    "efc": EFCRuntime.RESOURCE,
    "vineyard": VineyardRuntime.RESOURCE,
    "cache": CacheRuntime.RESOURCE,
}


def mounted() -> str:
    """What is, on this machine."""
    return Path("/proc/self/mountinfo").read_text()


class Fleet:
    """One namespace of a cluster, its node's files, and the agent."""

    def __init__(
        self,
        client: Client,
        host: Path,
        store: ObjectStore,
        namespace: str,
        agent: Callable[[], Coroutine[Any, Any, None]],
    ) -> None:
        self.client, self.host, self.store, self.namespace = client, host, store, namespace
        self.agent = agent
        self._task: asyncio.Task[None] | None = None

    def start_agent(self) -> None:
        """Runs the agent in the test's loop."""
        self._task = asyncio.create_task(self.agent())

    async def stop_agent(self) -> None:
        """Ends it in the middle of whatever it does, like a kill. One that died by itself is a failure."""
        if self._task is None:
            return
        died = self._task.done()
        self._task.cancel()
        (outcome,) = await asyncio.gather(self._task, return_exceptions=True)
        assert not died, f"the agent ended by itself: {outcome!r}"
        self._task = None

    async def secret(self, name: str = "keys", **data: str) -> str:
        """The credentials in the Dataset's namespace, as a user makes them."""
        wanted = {"accessKeyId": ACCESS_KEY, "secretAccessKey": SECRET_KEY, **data}
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in wanted.items()}
        await self.client.apply(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": name, "namespace": self.namespace},
                "data": encoded,
            },
            field_manager="tests",
        )
        return name

    def dataset(self, name: str, *, source: str = "s3://models/llama", secret: str = "keys") -> Json:
        """As the inference deployer writes it."""
        mount: Json = {"mountPoint": source, "name": name, "path": "/", "readOnly": True}
        if source.startswith("s3://"):
            mount["options"] = {"endpoint": self.store.endpoint}
            mount["encryptOptions"] = [
                {"name": option, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}
                for option, key in (("aws.accessKeyId", "accessKeyId"), ("aws.secretKey", "secretAccessKey"))
            ]
        return self.object(DATASETS, name, {"mounts": [mount], "accessModes": ["ReadOnlyMany"]})

    def runtime(self, kind: str, name: str, *, quota: str = "1Gi", **spec: Any) -> Json:
        """A runtime of one replica."""
        body: Json = {"replicas": 1, **spec}
        if kind == "thin":
            body.setdefault("profileName", "s3fs")
        else:
            level = {"mediumtype": "SSD", "path": "/var/lib/boundaryless/cache", "quota": quota}
            body["tieredstore"] = {"levels": [level]}
        return self.object(RUNTIMES[kind], name, body)

    def load(self, name: str, **spec: Any) -> Json:
        """A DataLoad of the Dataset of the same name."""
        target = {"name": spec.pop("dataset", name), "namespace": self.namespace}
        return self.object(DATALOADS, name, {"dataset": target, **spec})

    def process(self, name: str, script: str, *, dataset: str, **spec: Any) -> Json:
        """A DataProcess with a script for sh, the Dataset at /data."""
        processor = {"script": {"image": "busybox", "command": ["sh"], "source": script}}
        mounted = {"name": dataset, "namespace": self.namespace, "mountPath": "/data"}
        return self.object(PROCESSES, name, {"dataset": mounted, "processor": processor, **spec})

    def backup(self, name: str, path: str, *, dataset: str, **spec: Any) -> Json:
        """A DataBackup into a path."""
        return self.object(BACKUPS, name, {"dataset": dataset, "backupPath": path, **spec})

    def external(self, uri: str) -> Json:
        """Storage that no Dataset describes, with the user's keys."""
        named = (("access-key", "accessKeyId"), ("secret-key", "secretAccessKey"))
        options = [
            {"name": option, "valueFrom": {"secretKeyRef": {"name": "keys", "key": key}}}
            for option, key in named
        ]
        return {"externalStorage": {"uri": uri, "encryptOptions": options}}

    def reader(self, claim: str, script: str) -> Json:
        """A pod that mounts a claim at /models and ends."""
        mount = {
            "name": "model",
            "mountPath": "/models",
            "readOnly": True,
            "mountPropagation": "HostToContainer",
        }
        container = {
            "name": "main",
            "image": "busybox",
            "command": ["sh", "-c", script],
            "volumeMounts": [mount],
        }
        volume = {"name": "model", "persistentVolumeClaim": {"claimName": claim, "readOnly": True}}
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"reader-{claim}", "namespace": self.namespace},
            "spec": {
                "containers": [container],
                "volumes": [volume],
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": 1,
            },
        }

    def object(self, resource: Resource, name: str, spec: Json) -> Json:
        """Of any kind."""
        return {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": spec,
        }

    async def create(self, *objects: Json) -> None:
        """In this order."""
        for obj in objects:
            resource = await self.client.resource_for(obj["apiVersion"], obj["kind"])
            await self.client.create(resource, obj)

    async def until(
        self, resource: Resource, name: str, check: Callable[[Json], Any], timeout: float = PATIENCE
    ) -> Json:
        """Waits for an object to be as wanted."""
        namespace = self.namespace if resource.namespaced else None
        found = await wait_for(
            self.client,
            resource,
            name,
            namespace,
            until=lambda obj: obj is not None and bool(check(obj)),
            timeout=timeout,
        )
        assert found is not None
        return found

    async def phase(self, resource: Resource, name: str, phase: str, timeout: float = PATIENCE) -> Json:
        """Waits for status.phase."""
        return await self.until(
            resource, name, lambda obj: (obj.get("status") or {}).get("phase") == phase, timeout
        )

    async def output(self, pod: str) -> str:
        """The log of a pod that has succeeded."""
        ended = await self.until(
            PODS, pod, lambda p: (p.get("status") or {}).get("phase") in ("Succeeded", "Failed")
        )
        text = await self.client.text(PODS.path(self.namespace, pod, "log"))
        assert ended["status"]["phase"] == "Succeeded", text
        return text

    async def gone(self, resource: Resource, name: str, timeout: float = PATIENCE) -> None:
        """Waits until an object is not there."""
        namespace = self.namespace if resource.namespaced else None
        await wait_for(self.client, resource, name, namespace, until=lambda obj: obj is None, timeout=timeout)

    async def delete(self, resource: Resource, name: str) -> None:
        """Asks for deletion; content with what is not there."""
        try:
            await self.client.delete(resource, name, self.namespace if resource.namespaced else None)
        except NotFound:
            pass

    async def ends(self, kind: str, name: str) -> None:
        """Deletes a Dataset, and makes sure that nothing of it is left in the cluster or on its node."""
        await self.delete(DATASETS, name)
        for resource in (DATASETS, RUNTIMES[kind], PERSISTENTVOLUMECLAIMS):
            await self.gone(resource, name)
        await self.gone(PERSISTENTVOLUMES, f"{self.namespace}-{name}")
        for place in ("cache", "mounts"):
            assert not (self.host / "var/lib/boundaryless" / place / self.namespace).exists()
        assert self.namespace not in mounted()
        nodes = (await self.client.list(NODES))["items"]
        assert not [label for n in nodes for label in n["metadata"]["labels"] if self.namespace in label]

    async def clean(self) -> None:
        """Everything of the namespace goes, with the agent there to let it go."""
        for pod in (await self.client.list(PODS, self.namespace))["items"]:
            if pod["metadata"]["name"].startswith("reader-"):
                await self.delete(PODS, pod["metadata"]["name"])
        for resource in (*OPERATIONS, DATASETS, *RUNTIMES.values()):
            for obj in (await self.client.list(resource, self.namespace))["items"]:
                await self.delete(resource, obj["metadata"]["name"])
        await eventually(self._empty)

    async def _empty(self) -> bool:
        for resource in (*OPERATIONS, DATASETS, *RUNTIMES.values(), PODS):
            if (await self.client.list(resource, self.namespace))["items"]:
                return False
        volumes = await self.client.list(PERSISTENTVOLUMES)
        return not [v for v in volumes["items"] if v["metadata"]["name"].startswith(f"{self.namespace}-")]

    async def hub_secret(self, name: str, **labels: str) -> None:
        """As the inference deployer puts it into the cluster namespace of the hub."""
        data = {"accessKeyId": ACCESS_KEY, "secretAccessKey": SECRET_KEY}
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
        await self.client.create(
            SECRETS,
            {
                "metadata": {"name": name, "namespace": "cluster1", "labels": labels},
                "data": encoded,
                "type": "Opaque",
            },
        )
