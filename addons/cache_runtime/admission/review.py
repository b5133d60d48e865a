"""What the webhooks answer, from the objects as the agent's informers have them."""

from __future__ import annotations

import base64
import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jsonpatch
import orjson

from addon_framework.api.core import NODES, PERSISTENTVOLUMES
from addon_framework.api.meta import Json, Resource
from addon_framework.kube import Key, key_of
from addon_framework.kube.informer import AnyInformer
from addons.cache_runtime.admission import affinity, changes, operations, prefetch, sidecar
from addons.cache_runtime.admission.affinity import Cached
from addons.cache_runtime.admission.directories import enter
from addons.cache_runtime.agent import bypass, copies, reference_rules, volumes
from addons.cache_runtime.agent.backends import Binding, Resolver
from addons.cache_runtime.agent.components import template
from addons.cache_runtime.agent.names import (
    DATASETS,
    IN_USE_ANNOTATION,
    SIDECAR_DONE_LABEL,
    cache_node_label,
    client_node_label,
    volume_name,
)
from addons.cache_runtime.agent.operations.kinds import Kind
from addons.cache_runtime.agent.reference_rules import is_reference, reference_of, runtime_problems
from addons.cache_runtime.agent.references import References
from addons.cache_runtime.agent.status import BOUND
from runtimes import validation
from runtimes.interface import Backend, Component, Missing
from runtimes.presence import holder, is_lazy

SIDECAR_LABEL = "serverless.fluid.io/inject"


@dataclass(frozen=True)
class Used:
    """A claim of a pod, and the cache that has its data: its Dataset's, or that of the one it refers to."""

    namespace: str
    claim: str
    binding: Binding
    path: str = ""


class RefusedError(Exception):
    """The request is answered with no, and why."""


class Reviewer:
    """Over the agent's informers."""

    def __init__(
        self,
        resolver: Resolver,
        cache: Callable[[Resource], AnyInformer],
        kinds: Sequence[Kind],
        references: References,
    ) -> None:
        self._resolver, self._cache, self._references = resolver, cache, references
        self._kinds = {kind.name: kind for kind in kinds}

    async def mutate(self, review: Json) -> Json:
        """A pod that asks for it, brought to its data or its data to it."""
        request = review["request"]
        pod = copy.deepcopy(request["object"])
        try:
            self._pod(pod, request.get("namespace") or "")
        except RefusedError as error:
            return _answer(review, problem=str(error))
        return _answer(review, patch=jsonpatch.make_patch(request["object"], pod).patch)

    async def enter(self, review: Json) -> Json:
        """A pod that mounts a directory of another Dataset: it begins there."""
        request = review["request"]
        pod, directories = copy.deepcopy(request["object"]), {}
        for claim in prefetch.volumes_of(pod):
            dataset = self._cache(DATASETS).get(Key(request.get("namespace") or "", claim))
            named = reference_of(dataset) if dataset is not None else None
            if named is not None and named.path:
                directories[claim] = named.path
        enter(pod, directories)
        return _answer(review, patch=jsonpatch.make_patch(request["object"], pod).patch)

    async def validate(self, review: Json) -> Json:
        """A Dataset, runtime or profile that could never be set up, or an operation that could never work."""
        request = review["request"]
        obj, old = request["object"], request.get("oldObject") or {}
        if taken := changes.overwritten(obj, old):
            return _answer(review, problem=taken)
        if obj["metadata"].get("deletionTimestamp") or _said(obj) == _said(old):
            return _answer(review)
        key = Key(request.get("namespace") or "", obj["metadata"].get("name") or "")
        obj = {
            **obj,
            "metadata": {"uid": "", **obj["metadata"], "namespace": key.namespace, "name": key.name},
        }
        backend = self._profiled(str(request["kind"]["kind"]))
        if backend is not None:
            return _answer(review, problem="; ".join(validation.profile_problems(backend, obj)))
        kind = self._kinds.get(request["kind"]["kind"])
        if stranger := self._stranger(key, obj, old, kind):
            return _answer(review, problem=stranger)
        if kind is not None:
            said = operations.problem(kind, obj, old, self._cache(DATASETS), self._resolver)
            return _answer(review, problem=said)
        if problems := self._problems(key, obj, old):
            return _answer(review, problem="; ".join(problems))
        return _answer(review, warnings=self._notes(key, obj))

    # Pods

    def _pod(self, pod: Json, namespace: str) -> None:
        labels = pod["metadata"].get("labels") or {}
        if labels.get(SIDECAR_LABEL) != "true":  # a client that a pod brings is its own
            bypass.redirect(pod, namespace, self._cache(DATASETS))
        used = self._used(pod, namespace)
        volumes = {claim: name for claim, name in prefetch.volumes_of(pod).items() if claim in _claims(used)}
        if volumes and prefetch.wanted(pod):
            try:
                prefetch.bring(pod, volumes, used[0].binding.cache.image)
            except prefetch.PrefetchError as error:
                raise RefusedError(str(error)) from None
        if labels.get(SIDECAR_LABEL) == "true":
            if used and SIDECAR_DONE_LABEL not in labels:
                sidecar.bring(pod, [_client(each) for each in used])
        elif not used:
            affinity.keep_away(pod)
        else:
            affinity.attract(pod, [self._cached(each) for each in used])
        if used:
            annotations = pod["metadata"].get("annotations") or {}
            names = ",".join(sorted(each.claim for each in used))
            pod["metadata"]["annotations"] = {**annotations, IN_USE_ANNOTATION: names}

    def _used(self, pod: Json, namespace: str) -> list[Used]:
        """The Datasets whose claims it mounts, once each, with the caches that have their data."""
        claims = dict.fromkeys(
            volume["persistentVolumeClaim"]["claimName"]
            for volume in pod["spec"].get("volumes") or []
            if "persistentVolumeClaim" in volume
        )
        found = []
        for claim in claims:
            key, path = Key(namespace, claim), ""
            dataset = self._cache(DATASETS).get(key)
            if dataset is not None and (named := reference_of(dataset)) is not None:
                wrong = self._references.problems(dataset)
                key, path = named.physical, named.path
                dataset = self._cache(DATASETS).get(key) if not wrong else None
            binding = self._resolver.bind(dataset, key) if dataset is not None else None
            if binding is not None:
                found.append(Used(namespace, claim, binding, path))
        return found

    def _cached(self, used: Used) -> Cached:
        binding = used.binding
        key, uid = Key(binding.cache.namespace, binding.cache.name), binding.dataset["metadata"]["uid"]
        roles = {component.role for component in binding.backend.components(binding.cache)}
        held = holder(binding.backend, binding.cache) in roles
        label = (cache_node_label if held else client_node_label)(key, uid)
        nodes = [n for n in self._cache(NODES) if (n["metadata"].get("labels") or {}).get(label) == "true"]
        follows = not held and is_lazy(binding.backend, binding.cache)
        return Cached(used.claim, label, nodes, follows)

    # Datasets and runtimes

    def _stranger(self, key: Key, obj: Json, old: Json, kind: Kind | None) -> str:
        """Why one of the fleet's has no place here: what has its Dataset's name is the cluster's own."""
        if kind is not None:
            key = next(reversed(kind.targets(obj)), key)
        others = [] if (dataset := self._cache(DATASETS).get(key)) is None else [(DATASETS.kind, dataset)]
        if obj.get("kind") == DATASETS.kind:
            # A runtime that came later is not paired with it.
            found = [] if old else self._resolver.runtimes(key)
            others = [(backend.resource.kind, runtime) for backend, runtime in found]
        return copies.stranger(str(obj.get("kind")), obj, others)

    def _problems(self, key: Key, obj: Json, old: Json) -> list[str]:
        """Of the pair, as soon as there are both."""
        of_dataset = obj.get("kind") == DATASETS.kind
        dataset = obj if of_dataset else self._cache(DATASETS).get(key)
        if of_dataset and is_reference(obj):
            return self._references.problems(obj)
        if dataset is None:
            return []
        if is_reference(dataset):
            return runtime_problems(dataset, [obj])
        found = _changed_location(obj, old) if of_dataset else self._changed_profile(obj, old, dataset)
        for backend, runtime in self._runtimes(key, obj):
            found += self._resolver.problems(backend, self._resolver.cache(dataset, runtime))
        found = [problem for problem in found if not isinstance(problem, Missing)]
        return found or self._too_late(key, obj, old, dataset)

    def _too_late(self, key: Key, obj: Json, old: Json, dataset: Json) -> list[str]:
        """What can no longer change, once pods may have the data."""
        if not old:
            return []
        volume = self._cache(PERSISTENTVOLUMES).get(Key("", volume_name(key)))
        bound = self._resolver.bind(dataset, key)
        if volume is None or bound is None or volumes.is_stranger(volume, key):
            return []
        backend, of_dataset = bound.backend, obj.get("kind") == DATASETS.kind
        if not of_dataset and obj.get("kind") != backend.resource.kind:
            return []

        def bind(version: Json) -> Binding:
            pair = (version, bound.runtime) if of_dataset else (dataset, version)
            return Binding(*pair, backend, self._resolver.cache(*pair))

        if self._resolver.problems(backend, bind(old).cache):
            return []
        return changes.refused(old, obj, bind)

    def _notes(self, key: Key, obj: Json) -> list[str]:
        """What of the pair has no effect, where it can be set up."""
        dataset = obj if obj.get("kind") == DATASETS.kind else self._cache(DATASETS).get(key)
        if dataset is None:
            return []
        if is_reference(dataset):
            return reference_rules.notes(dataset)
        caches = [(b, self._resolver.cache(dataset, runtime)) for b, runtime in self._runtimes(key, obj)]
        sound = [(b, cache) for b, cache in caches if not self._resolver.problems(b, cache)]
        return [note for b, cache in sound for note in validation.notes(b, cache)]

    def _profiled(self, kind: str) -> Backend | None:
        """The backend whose runtimes name objects of that kind."""
        named = ((backend, backend.profile) for backend in self._resolver.backends)
        return next(
            (b for b, profile in named if profile is not None and profile.resource.kind == kind), None
        )

    def _runtimes(self, key: Key, obj: Json) -> list[tuple[Backend, Json]]:
        """The runtime that is reviewed, or those of the Dataset that is."""
        if obj.get("kind") == DATASETS.kind:
            return self._resolver.runtimes(key)
        backend = self._resolver.of_kind(str(obj.get("kind")))
        return [(backend, obj)] if backend is not None else []

    def _changed_profile(self, runtime: Json, old: Json, dataset: Json) -> list[str]:
        """Clients that run keep what they mount, so a change would show nowhere."""
        backend = self._resolver.of_kind(str(runtime.get("kind")))
        if backend is None or backend.profile is None:
            return []
        field = backend.profile.field
        before, after = ((each.get("spec") or {}).get(field) for each in (old, runtime))
        bound = (dataset.get("status") or {}).get("phase") == BOUND
        if not before or before == after or not bound:
            return []
        return [
            f"{runtime.get('kind')} {key_of(runtime)}: spec.{field}: {before} cannot become {after} while "
            "its Dataset is Bound; delete the runtime and create it anew"
        ]


def _said(obj: Json) -> Json:
    """What its user has written; a CacheRuntimeClass has no spec around it."""
    return {name: value for name, value in obj.items() if name not in ("metadata", "status")}


def _changed_location(dataset: Json, old: Json) -> list[str]:
    """A cache begins once."""
    before, after = ((each.get("spec") or {}).get("dataRestoreLocation") for each in (old, dataset))
    if not old or before == after or (dataset.get("status") or {}).get("phase") != BOUND:
        return []
    return [
        f"Dataset {key_of(dataset)}: spec.dataRestoreLocation: it is Bound and has begun already; delete it "
        "and create it anew"
    ]


def _claims(used: Sequence[Used]) -> set[str]:
    return {each.claim for each in used}


def _client(used: Used) -> sidecar.Client:
    """Raises RefusedError when the pod cannot bring it along."""
    binding = used.binding
    client: Component | None = next(
        (c for c in binding.backend.components(binding.cache) if c.role == "client"), None
    )
    where = f"label {SIDECAR_LABEL}: Dataset {binding.cache.namespace}/{binding.cache.name}"
    if binding.problems:
        raise RefusedError(f"{where} cannot be set up: {'; '.join(binding.problems)}")
    kind = binding.runtime.get("kind")
    if client is None or not client.portable:
        raise RefusedError(
            f"{where}: its {kind} keeps the data on nodes, so no sidecar can bring it; remove the label, "
            "and the pod runs on a node that has the data"
        )
    if client.kernel:
        # It would still be mounted in the pod's directory when the kubelet removes all that is in there.
        raise RefusedError(
            f"{where}: its {kind} is mounted by the kernel (a profile's spec.fileSystemType that is no FUSE) "
            "and outlives a sidecar that is killed: its data could go with the pod; remove the label, "
            "and the pod uses the client on its node"
        )
    spec = template(binding, client)["spec"]
    if binding.cache.namespace != used.namespace and (names := sidecar.needs(spec)):
        raise RefusedError(
            f"{where}: its client needs {', '.join(names)} of namespace {binding.cache.namespace}, which a "
            f"pod of {used.namespace} cannot have; remove the label, and the pod uses the client on its node"
        )
    if used.path:
        raise RefusedError(f"{where}: a client of the pod's own would show all of it, not only {used.path}")
    return sidecar.Client(used.claim, spec, binding.cache.mount_point)


def _answer(
    review: Json, *, problem: str = "", patch: list[Json] | None = None, warnings: Sequence[str] = ()
) -> Json:
    response: Json = {"uid": review["request"]["uid"], "allowed": not problem}
    if problem:
        response["status"] = {"code": 422, "reason": "Invalid", "message": problem}
    if warnings:
        response["warnings"] = list(warnings)
    if patch:
        response |= {"patchType": "JSONPatch", "patch": base64.b64encode(orjson.dumps(patch)).decode()}
    return {"apiVersion": review["apiVersion"], "kind": "AdmissionReview", "response": response}
