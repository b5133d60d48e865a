"""On which nodes FUSE clients run: the label `fluid.io/f-...`, which the DaemonSet of lazy clients goes by.

"true": a client runs there, or shall. IDLE: it has gone, or shall; the label stays, since what it left on the
node is cleaned when the Dataset goes. A pod that uses the Dataset may be scheduled to any node where a client
could run. It is bound to the node first; then the label brings the client, and the pod's volume is not there
before the client's mount is (runtimes.node.publish), so the kubelet waits. A pod that comes while the client
goes may get a mount that dies under it; the next client's takes its place, as after any death
(runtimes.node.remount).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from addon_framework.api.core import PODS
from addon_framework.api.data import DataBackup, DataLoad
from addon_framework.api.meta import Json, Resource, from_dict
from addon_framework.kube import Key
from addon_framework.kube.informer import AnyInformer
from addons.cache_runtime.agent.backends import Binding
from addons.cache_runtime.agent.components import client_digest
from addons.cache_runtime.agent.names import HASH_ANNOTATION, IDLE, client_node_label, nodes_using
from addons.cache_runtime.agent.observing import of_operation
from addons.cache_runtime.agent.references import References
from runtimes.presence import ON_DEMAND, ON_FUSE_CHANGED, is_lazy, policy_of

_RUNS = "true"
_OVER = ("Complete", "Failed")


class Clients:
    """Over the informers' caches."""

    def __init__(self, cache: Callable[[Resource], AnyInformer], references: References) -> None:
        self._cache, self._references = cache, references

    def labels(self, binding: Binding, key: Key, pods: Sequence[Json]) -> Callable[[Json], str]:
        """Of a node the label's value, "" for none. `pods` are the clients that have not ended."""
        label = client_node_label(key, str(binding.dataset["metadata"].get("uid", "")))
        running = {node: pod for pod in pods if (node := pod["spec"].get("nodeName"))}
        lazy = is_lazy(binding.backend, binding.cache)
        policy = policy_of(binding.backend, binding.cache)
        everywhere = not lazy or self.wanted_by_operations(binding, key)
        used = self._used(key) if lazy else set()
        newest = client_digest(binding) if lazy and policy == ON_FUSE_CHANGED else ""

        def of(node: Json) -> str:
            name: str = node["metadata"]["name"]
            said: str = (node["metadata"].get("labels") or {}).get(label, "")
            if name in used or (everywhere and name in running):
                return _RUNS
            if everywhere or not said:
                return said
            goes = policy == ON_DEMAND
            if policy == ON_FUSE_CHANGED and name in running:
                annotations = running[name]["metadata"].get("annotations") or {}
                goes = annotations.get(HASH_ANNOTATION) != newest
            return IDLE if goes else said

        return of

    def wanted_by_operations(self, binding: Binding, key: Key) -> bool:
        """Whether something that works through clients is to be done, whoever uses the data."""
        cache, backend = binding.cache, binding.backend
        roles = {component.role for component in backend.components(cache)}
        for resource in (DataLoad.RESOURCE, DataBackup.RESOURCE):
            for op in self._cache(resource).in_namespace(key.namespace):
                if (op.get("status") or {}).get("phase") in _OVER or key not in of_operation(op):
                    continue
                if resource == DataBackup.RESOURCE and roles == {"client"}:
                    return True
                if resource == DataLoad.RESOURCE:
                    task = backend.warm(cache, from_dict(DataLoad, op))
                    if task is not None and (task.after == "client" or roles == {"client"}):
                        return True
        return False

    def _used(self, key: Key) -> set[str]:
        """Nodes with pods that use the data, by whichever claim."""
        keys = [key, *self._references.to(key)]
        return {node for each in keys for node in nodes_using(self._cache(PODS), each)}
