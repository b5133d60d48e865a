"""Subresources other than status: scale, tokens, eviction, binding, finalize, ephemeral containers."""

from __future__ import annotations

import math
from typing import Any

from addon_framework.api.conditions import is_true
from addon_framework.api.meta import Json, at
from addon_framework.api.selectors import selects
from addon_framework.local.apiserver import status
from addon_framework.local.apiserver.authn import Tokens
from addon_framework.local.apiserver.bodies import check_decoded
from addon_framework.local.apiserver.call import Target
from addon_framework.local.apiserver.deletion import check_options
from addon_framework.local.apiserver.objects import Objects
from addon_framework.local.apiserver.patches import APPLY, MERGE, STRATEGIC, patched
from addon_framework.local.apiserver.registry import SUBRESOURCE_KINDS, Registry
from addon_framework.local.apiserver.schemas import SchemaNode, builtin_schema, cause, copy_json
from addon_framework.local.apiserver.store import Store
from addon_framework.local.apiserver.write import Write

_BUILTIN_SCALE = {
    "specReplicasPath": ".spec.replicas",
    "statusReplicasPath": ".status.replicas",
    "labelSelectorPath": "",
}
_BODIES = {**SUBRESOURCE_KINDS, "finalize": ("", "v1", "Namespace")}
_MIN_TOKEN_SECONDS, _MAX_TOKEN_SECONDS = 600, 1 << 32


class Subresources:
    """Reads and writes them as views of the object they belong to."""

    def __init__(self, store: Store, registry: Registry, objects: Objects, tokens: Tokens) -> None:
        self._store, self._registry, self._objects, self._tokens = store, registry, objects, tokens

    def read(self, stored: Json, target: Target) -> Json:
        """GET of an object or its subresource."""
        if target.subresource == "scale":
            return self._scale(stored, target.version.scale or _BUILTIN_SCALE)
        return stored

    def write(self, write: Write, verb: str, media: str, sent: Any) -> tuple[Json, int]:
        """The answer and its code."""
        handler = {
            "scale": self._write_scale,
            "token": self._token,
            "eviction": self._evict,
            "binding": self._bind,
            "finalize": self._finalize,
            "ephemeralcontainers": self._ephemeral,
        }.get(write.subresource)
        if handler is None:
            raise status.method_not_allowed()
        if verb != "patch" and write.subresource in _BODIES:
            group, version, kind = _BODIES[write.subresource]
            check_decoded(sent, _type_of(write.subresource), kind, version)
            api_version = f"{group}/{version}" if group else version
            said = sent.get("kind") or kind, sent.get("apiVersion") or api_version
            if said != (kind, api_version):
                why = f'{said[0]} in version "{said[1]}" cannot be handled as a {kind}'
                raise status.bad_request(why)
            self._check_identity(write, sent)
        return handler(write, verb, media, sent)

    def _check_identity(self, write: Write, sent: Json) -> None:
        """What is sent must be about the object that the URL names; only tokens need not say so."""
        metadata, sub = sent.get("metadata") or {}, write.subresource
        if metadata.get("namespace") not in (None, "", write.namespace):
            why = "the namespace of the provided object does not match the namespace sent on the request"
            raise status.bad_request(why)
        name = metadata.get("name") or ""
        if sub in ("eviction", "binding") and name != write.name:
            raise status.bad_request(f"name in URL does not match name in {sub.capitalize()} object")
        if sub == "finalize" and name != write.name:
            why = f"the name of the object ({name}) does not match the name on the URL ({write.name})"
            raise status.bad_request(why)
        if sub == "token" and name not in ("", write.name):
            why = "must match the service account name if specified"
            raise status.invalid(write.kind, write.name, [cause.invalid("metadata.name", name, why)])

    def _current(self, write: Write) -> Json:
        found = self._store.get(write.kind.key, write.key)
        if found is None:
            raise status.not_found(write.kind, write.name)
        return found

    def _scale(self, obj: Json, paths: Json) -> Json:
        """https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#scale-subresource"""
        metadata = obj["metadata"]
        kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
        selector = at(obj, paths["labelSelectorPath"]) if paths.get("labelSelectorPath") else None
        if selector is None and paths is _BUILTIN_SCALE:
            labels = ((obj.get("spec") or {}).get("selector") or {}).get("matchLabels") or {}
            selector = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
        scale: Json = {
            "kind": "Scale",
            "apiVersion": "autoscaling/v1",
            "metadata": {name: metadata[name] for name in kept if name in metadata},
            "spec": {"replicas": at(obj, paths["specReplicasPath"]) or 0},
            "status": {"replicas": at(obj, paths["statusReplicasPath"]) or 0},
        }
        if selector:
            scale["status"]["selector"] = selector
        return scale

    def _write_scale(self, write: Write, verb: str, media: str, sent: Any) -> tuple[Json, int]:
        current = self._current(write)
        paths = write.version.scale or _BUILTIN_SCALE
        scale = self._scale(current, paths)
        patch = verb == "patch"
        if media == APPLY:
            check_decoded(sent, _type_of("scale"), "Scale", "v1")
            scale = sent
        else:
            scale = patched(scale, _plain_merge(media), sent, None) if patch else sent
        replicas = (scale.get("spec") or {}).get("replicas") if isinstance(scale, dict) else None
        if not isinstance(replicas, int) or replicas < 0:
            why = "must be an integer greater than or equal to 0"
            wrong = cause.invalid("spec.replicas", replicas, why)
            raise status.invalid(write.kind, write.name, [wrong])
        version = (scale.get("metadata") or {}).get("resourceVersion")
        if media == APPLY:
            changed: Json = {"apiVersion": write.api_version, "kind": write.kind.kind}
            changed["metadata"] = {"name": write.name}
        else:
            changed = copy_json(current)
        if version:
            changed["metadata"]["resourceVersion"] = version
        _put(changed, paths["specReplicasPath"], replicas)
        if media == APPLY:
            return self._scale(self._objects.apply(write, changed)[0], paths), 200
        return self._scale(self._objects.update(write, changed), paths), 200

    def _token(self, write: Write, verb: str, media: str, sent: Any) -> tuple[Json, int]:
        """https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-request-v1/"""
        account = self._current(write)
        spec = (sent or {}).get("spec") or {}
        seconds = int(spec.get("expirationSeconds") or 3600)
        if not _MIN_TOKEN_SECONDS <= seconds <= _MAX_TOKEN_SECONDS:
            why = "may not specify a duration less than 10 minutes"
            wrong = cause.invalid("spec.expirationSeconds", seconds, why)
            raise status.invalid(write.kind, write.name, [wrong])
        bound = spec.get("boundObjectRef")
        if bound is not None:
            bound = self._bound(write, bound)
        token, expires = self._tokens.issue(account, seconds, spec.get("audiences") or (), bound)
        answer: Json = {
            "kind": "TokenRequest",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": {"name": write.name, "namespace": write.namespace},
            "spec": {**spec, "expirationSeconds": seconds},
            "status": {"token": token, "expirationTimestamp": expires},
        }
        return answer, 201

    def _bound(self, write: Write, bound: Json) -> Json:
        version, named = bound.get("apiVersion") or "", bound.get("kind") or ""
        kind = self._registry.by_kind("", named)
        if kind is None or kind.plural not in ("pods", "secrets", "nodes") or version not in ("", "v1"):
            raise status.bad_request(f"cannot bind token to object of type {version or '/'}, Kind={named}")
        key = (write.namespace if kind.namespaced else "", bound.get("name", ""))
        found = self._store.get(kind.key, key)
        if found is None:
            raise status.not_found(kind, key[1])
        if bound.get("uid") not in (None, "", found["metadata"]["uid"]):
            raise status.conflict(kind, key[1], "the UID in the bound object reference does not match")
        return {"kind": kind.kind, "name": key[1], "uid": found["metadata"]["uid"]}

    def _evict(self, write: Write, verb: str, media: str, sent: Any) -> tuple[Json, int]:
        options = sent.get("deleteOptions") or {}
        check_options(options)
        self._check_budgets(write)
        write.subresource = ""
        write.dry_run = write.dry_run or bool(options.get("dryRun"))
        self._objects.delete(write, options)
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}, 201

    def _check_budgets(self, write: Write) -> None:
        """429 where a PodDisruptionBudget says that this pod may not go now."""
        pod = self._current(write)
        if pod["metadata"].get("deletionTimestamp") or (pod.get("status") or {}).get("phase") != "Running":
            return
        pods = self._store.list("pods", write.namespace)
        for budget in self._store.list("poddisruptionbudgets.policy", write.namespace):
            spec = budget.get("spec") or {}
            covered = [p for p in pods if selects(spec.get("selector"), p["metadata"].get("labels") or {})]
            if pod in covered and len(list(filter(_is_healthy, covered))) <= _needed(spec, len(covered)):
                name = budget["metadata"]["name"]
                why = f"The disruption budget {name} does not allow to evict pods currently"
                details = {"causes": [{"reason": "DisruptionBudget", "message": why}]}
                message = "Cannot evict pod as it would violate the pod's disruption budget."
                raise status.StatusError(
                    429, "TooManyRequests", message, {**details, "retryAfterSeconds": 10}
                )

    def _bind(self, write: Write, verb: str, media: str, sent: Any) -> tuple[Json, int]:
        """What a scheduler does: the pod gets its node, once."""
        pod = self._current(write)
        self._objects.check_preconditions(write, pod, sent.get("metadata") or {})
        node = ((sent or {}).get("target") or {}).get("name")
        if not node:
            raise status.invalid(write.kind, write.name, [cause.required("target.name")])
        if pod["spec"].get("nodeName"):
            why = f'pod {write.name} is already assigned to node "{pod["spec"]["nodeName"]}"'
            raise status.conflict(write.kind, write.name, why)
        changed = copy_json(pod)
        changed["spec"]["nodeName"] = node
        conditions = changed.setdefault("status", {}).setdefault("conditions", [])
        conditions[:] = [c for c in conditions if c["type"] != "PodScheduled"]
        conditions.append(
            {
                "type": "PodScheduled",
                "status": "True",
                "lastProbeTime": None,
                "lastTransitionTime": self._objects.now(),
            }
        )
        if not write.dry_run:
            self._store.put(write.kind.key, write.key, changed)
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}, 201

    def _finalize(self, write: Write, verb: str, media: str, sent: Any) -> tuple[Json, int]:
        """Namespaces: only spec.finalizers changes."""
        current = self._current(write)
        changed = copy_json(current)
        changed["spec"]["finalizers"] = ((sent or {}).get("spec") or {}).get("finalizers") or []
        if write.dry_run:
            return changed, 200
        stored = self._store.put(write.kind.key, write.key, changed)
        metadata = stored["metadata"]
        if (
            metadata.get("deletionTimestamp")
            and not stored["spec"]["finalizers"]
            and not metadata.get("finalizers")
        ):
            stored = self._store.remove(write.kind.key, write.key)
        return stored, 200

    def _ephemeral(self, write: Write, verb: str, media: str, sent: Any) -> tuple[Json, int]:
        raise status.StatusError(
            501, "NotImplemented", "ephemeral containers are not supported by the embedded fleet"
        )


def _type_of(subresource: str) -> SchemaNode:
    schema = builtin_schema(*_BODIES[subresource])
    assert schema is not None
    return schema


def _is_healthy(pod: Json) -> bool:
    return is_true(pod, "Ready") and not pod["metadata"].get("deletionTimestamp")


def _needed(budget: Json, pods: int) -> int:
    """How many of that many pods have to stay. https://kubernetes.io/docs/tasks/run-application/configure-pdb/"""
    low, high = budget.get("minAvailable"), budget.get("maxUnavailable")
    said = high if low is None else low
    if said is None:
        return 0
    count = said if isinstance(said, int) else math.ceil(pods * int(said.rstrip("%")) / 100)
    return pods - count if low is None else count


def _plain_merge(media: str) -> str:
    """A Scale has no lists, so a strategic merge is a merge."""
    return MERGE if media == STRATEGIC else media


def _put(obj: Json, path: str, value: Any) -> None:
    *parents, last = path.strip(".").split(".")
    for step in parents:
        obj = obj.setdefault(step, {})
    obj[last] = value
