"""Keeps engine hosts where models are served, so that the next replica on such a node starts in seconds.

A host comes only once a first replica is ready: a first start overlaps its own import with the data's load,
and two imports at once would slow both. It stays for as long as a Deployment wants it, since engines that it
forked live and die with it; for the same reason nodes are added to it and never taken away.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from addon_framework.api.conditions import is_true
from addon_framework.api.core import CONFIGMAPS, DAEMONSETS, DEPLOYMENTS, PODS
from addon_framework.api.meta import Json, owner_reference
from addon_framework.kube import Client, Controller, Key, NotFound, Watch
from addon_framework.kube.ensure import ensure, remove
from addons.inference_deployer.engines.host import HOST_APP, HOST_LABEL, host_daemon_set, host_key, host_nodes
from addons.inference_deployer.engines.vllm import IMAGE
from addons.inference_deployer.kinds import ENDPOINT_LABEL
from addons.inference_deployer.launcherfiles import launcher_config

MODES = SERVING, ALWAYS, NEVER = "serving", "always", "never"
LAUNCHER = "engine-host-launcher"
LABELS = {"app.kubernetes.io/managed-by": "inference-deployer", "app.kubernetes.io/name": HOST_APP}
HOSTS = f"app.kubernetes.io/name={HOST_APP}"
_MANAGER = "inference-deployer"


class EngineHostController(Controller):
    """One DaemonSet for each engine image; a key's name is the image's key."""

    name = "engine-host"

    def __init__(self, mode: str, namespace: str, owner: str) -> None:
        self._mode, self._namespace, self._owner = mode, namespace, owner

    def watches(self) -> list[Watch]:
        """Engine pods, the Deployments that want a host, and what we made."""
        return [
            Watch(PODS, map=wanted_hosts, label_selector=ENDPOINT_LABEL),
            Watch(DEPLOYMENTS, map=wanted_hosts, label_selector=ENDPOINT_LABEL),
            Watch(DAEMONSETS, map=_key_of, namespace=self._namespace, label_selector=HOSTS),
        ]

    async def start(self) -> None:
        """Without a model, `always` means a host of the image that most models will use."""
        if self._mode == ALWAYS:
            self.queue.add(Key("", host_key(IMAGE)))

    async def reconcile(self, key: Key) -> float | None:
        """One engine image."""
        name = f"{HOST_APP}-{key.name}"
        cache = self.cache(DAEMONSETS, namespace=self._namespace, label_selector=HOSTS)
        live: Json | None = cache.get(Key(self._namespace, name))
        image = self._image(key)
        if not image:
            await remove(self.client, DAEMONSETS, live)
            return None
        nodes: Sequence[str] = ()
        if self._mode == SERVING:
            nodes = sorted({*self._serving(key), *(host_nodes(live) if live is not None else ())})
            if not nodes:
                return None
        await self._ensure(live, image, nodes)
        return None

    def _image(self, key: Key) -> str:
        """The image whose host is wanted; empty when none is."""
        if self._mode == NEVER:
            return ""
        for deployment in self.cache(DEPLOYMENTS, label_selector=ENDPOINT_LABEL):
            if key in wanted_hosts(deployment) and not deployment["metadata"].get("deletionTimestamp"):
                return str(deployment["spec"]["template"]["spec"]["containers"][0]["image"])
        return IMAGE if self._mode == ALWAYS and key.name == host_key(IMAGE) else ""

    def _serving(self, key: Key) -> Iterable[str]:
        """The nodes with a ready engine that would have been quicker with a host."""
        for pod in self.cache(PODS, label_selector=ENDPOINT_LABEL):
            if key in wanted_hosts(pod) and is_true(pod, "Ready"):
                yield str(pod["spec"]["nodeName"])

    async def _ensure(self, live: Json | None, image: str, nodes: Sequence[str]) -> None:
        config = launcher_config(LAUNCHER, self._namespace, LABELS)
        daemon_set = host_daemon_set(
            image, nodes, namespace=self._namespace, labels=LABELS, launcher_config=LAUNCHER
        )
        owner = await _owner(self.client, self._namespace, self._owner)
        for obj in (config, daemon_set):
            if owner is not None:
                obj["metadata"]["ownerReferences"] = [owner]
        await ensure(self.client, await self._config(), config, field_manager=_MANAGER, resource=CONFIGMAPS)
        await ensure(self.client, live, daemon_set, field_manager=_MANAGER, resource=DAEMONSETS)

    async def _config(self) -> Json | None:
        try:
            return await self.client.get(CONFIGMAPS, LAUNCHER, self._namespace)
        except NotFound:
            return None


async def _owner(client: Client, namespace: str, name: str) -> Json | None:
    """Our own Deployment: when the add-on goes, so do its hosts."""
    try:
        deployment = await client.get(DEPLOYMENTS, name, namespace)
    except NotFound:
        return None
    return owner_reference(deployment, DEPLOYMENTS)


def wanted_hosts(obj: Json) -> list[Key]:
    """The host that a Pod's or Deployment's engine asks first."""
    holder = (obj.get("spec") or {}).get("template") or obj
    key = ((holder.get("metadata") or {}).get("labels") or {}).get(HOST_LABEL)
    return [Key("", key)] if key else []


def _key_of(daemon_set: Json) -> list[Key]:
    return [Key("", daemon_set["metadata"]["name"].removeprefix(f"{HOST_APP}-"))]
