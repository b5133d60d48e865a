"""What an attempt depends on, as a short hash: when that changes, there is a reason to try again. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence

from addon_framework.api.meta import Json
from addons.cache_runtime.agent.backends import Binding
from addons.cache_runtime.agent.names import short_hash


def of(op: Json, bindings: Sequence[Binding], secrets: Sequence[str], *, per_node: bool = False) -> str:
    """The specs of all, and the values of Secrets; `per_node`: whatever the number of nodes."""
    parts: list[object] = [op.get("spec"), sorted(secrets)]
    for binding in bindings:
        runtime = binding.runtime.get("spec") or {}
        parts += [binding.dataset.get("spec"), _without_replicas(runtime) if per_node else runtime]
        profile = binding.cache.profile or {}
        parts.append({name: value for name, value in profile.items() if name not in ("metadata", "status")})
    return short_hash(json.dumps(parts, sort_keys=True))


def _without_replicas(spec: Json) -> Json:
    """Of a cache's workers: `replicas`, or as CacheRuntime has them."""
    left = {name: value for name, value in spec.items() if name != "replicas"}
    if isinstance(worker := left.get("worker"), dict):
        left["worker"] = {name: value for name, value in worker.items() if name != "replicas"}
    return left


def of_spec(op: Json) -> str:
    """Of what failed before anything else mattered."""
    return short_hash(json.dumps(op.get("spec"), sort_keys=True))


def of_mounts(dataset: Json) -> str:
    """Of what a Dataset mounts."""
    return short_hash(json.dumps((dataset.get("spec") or {}).get("mounts"), sort_keys=True))
