"""What the webhooks answer, from the objects as the agent's informers have them."""

from __future__ import annotations

import base64
import copy
from collections.abc import Callable

import jsonpatch
import orjson

from addon_framework.api.core import NODES
from addon_framework.api.meta import Json, Resource
from addon_framework.kube import Key
from addon_framework.kube.informer import AnyInformer
from addons.cache_runtime.admission import affinity, sidecar
from addons.cache_runtime.admission.affinity import Cached
from addons.cache_runtime.agent.backends import Binding, Resolver
from addons.cache_runtime.agent.components import template
from addons.cache_runtime.agent.names import (
    DATASETS,
    IN_USE_ANNOTATION,
    cache_node_label,
    client_node_label,
)
from runtimes.interface import Component, Missing

AFFINITY_LABEL = "fuse.serverful.fluid.io/inject"
SIDECAR_LABEL = "serverless.fluid.io/inject"


class RefusedError(Exception):
    """The request is answered with no, and why."""


class Reviewer:
    """Over the agent's informers."""

    def __init__(self, resolver: Resolver, cache: Callable[[Resource], AnyInformer]) -> None:
        self._resolver, self._cache = resolver, cache

    async def mutate(self, review: Json) -> Json:
        """A pod that asks for it, brought to its data or its data to it."""
        request = review["request"]
        pod = copy.deepcopy(request["object"])
        try:
            self._pod(pod, request.get("namespace") or "")
        except RefusedError as error:
            return _answer(review, problem=str(error))
        return _answer(review, patch=jsonpatch.make_patch(request["object"], pod).patch)

    async def validate(self, review: Json) -> Json:
        """A Dataset or a runtime that its backend could never set up."""
        request = review["request"]
        obj, old = request["object"], request.get("oldObject") or {}
        if obj["metadata"].get("deletionTimestamp") or obj.get("spec") == old.get("spec"):
            return _answer(review)
        return _answer(review, problem="; ".join(self._problems(obj, request)))

    # Pods

    def _pod(self, pod: Json, namespace: str) -> None:
        labels = pod["metadata"].get("labels") or {}
        used = self._used(pod, namespace)
        if labels.get(SIDECAR_LABEL) == "true":
            if used and sidecar.DONE_LABEL not in labels:
                sidecar.bring(pod, [_client(binding) for binding in used])
        elif not used:
            affinity.keep_away(pod)
        else:
            affinity.attract(pod, [self._cached(binding) for binding in used])
        if used:
            annotations = pod["metadata"].get("annotations") or {}
            names = ",".join(sorted(binding.cache.name for binding in used))
            pod["metadata"]["annotations"] = {**annotations, IN_USE_ANNOTATION: names}

    def _used(self, pod: Json, namespace: str) -> list[Binding]:
        """The Datasets whose claims it mounts, once each."""
        claims = dict.fromkeys(
            volume["persistentVolumeClaim"]["claimName"]
            for volume in pod["spec"].get("volumes") or []
            if "persistentVolumeClaim" in volume
        )
        found = []
        for claim in claims:
            key = Key(namespace, claim)
            dataset = self._cache(DATASETS).get(key)
            binding = self._resolver.bind(dataset, key) if dataset is not None else None
            if binding is not None:
                found.append(binding)
        return found

    def _cached(self, binding: Binding) -> Cached:
        key, uid = Key(binding.cache.namespace, binding.cache.name), binding.dataset["metadata"]["uid"]
        roles = {component.role for component in binding.backend.components(binding.cache)}
        label = (cache_node_label if "worker" in roles else client_node_label)(key, uid)
        nodes = [n for n in self._cache(NODES) if (n["metadata"].get("labels") or {}).get(label) == "true"]
        return Cached(key.name, label, nodes)

    # Datasets and runtimes

    def _problems(self, obj: Json, request: Json) -> list[str]:
        """Of the pair, as soon as there are both."""
        key = Key(request.get("namespace") or "", obj["metadata"].get("name") or "")
        obj = {**obj, "metadata": {**obj["metadata"], "namespace": key.namespace, "uid": ""}}
        if request["kind"]["kind"] == DATASETS.kind:
            pairs = [(backend, obj, runtime) for backend, runtime in self._resolver.runtimes(key)]
        else:
            backend = self._resolver.of_kind(request["kind"]["kind"])
            dataset = self._cache(DATASETS).get(key)
            pairs = [(backend, dataset, obj)] if backend is not None and dataset is not None else []
        return [
            problem
            for backend, dataset, runtime in pairs
            for problem in backend.validate(self._resolver.cache(dataset, runtime))
            if not isinstance(problem, Missing)
        ]


def _client(binding: Binding) -> sidecar.Client:
    """Raises RefusedError when the pod cannot bring it along."""
    client: Component | None = next(
        (c for c in binding.backend.components(binding.cache) if c.role == "client"), None
    )
    where = f"label {SIDECAR_LABEL}: Dataset {binding.cache.namespace}/{binding.cache.name}"
    if binding.problems:
        raise RefusedError(f"{where} cannot be set up: {'; '.join(binding.problems)}")
    if client is None or not client.portable:
        kind = binding.runtime.get("kind")
        raise RefusedError(
            f"{where}: its {kind} keeps the data on nodes, so no sidecar can bring it; remove the label, "
            "and the pod runs on a node that has the data"
        )
    return sidecar.Client(binding.cache.name, template(binding, client)["spec"], binding.cache.mount_point)


def _answer(review: Json, *, problem: str = "", patch: list[Json] | None = None) -> Json:
    response: Json = {"uid": review["request"]["uid"], "allowed": not problem}
    if problem:
        response["status"] = {"code": 422, "reason": "Invalid", "message": problem}
    if patch:
        response |= {"patchType": "JSONPatch", "patch": base64.b64encode(orjson.dumps(patch)).decode()}
    return {"apiVersion": review["apiVersion"], "kind": "AdmissionReview", "response": response}
