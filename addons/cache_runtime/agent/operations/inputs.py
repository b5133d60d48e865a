"""What an attempt depends on, as a short hash: when that changes, there is a reason to try again. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence

from addon_framework.api.meta import Json
from addons.cache_runtime.agent.backends import Binding
from addons.cache_runtime.agent.names import short_hash


def of(op: Json, bindings: Sequence[Binding], secrets: Sequence[str]) -> str:
    """The specs of all, and the values of Secrets."""
    parts: list[object] = [op.get("spec"), sorted(secrets)]
    for binding in bindings:
        parts += [binding.dataset.get("spec"), binding.runtime.get("spec")]
        profile = binding.cache.profile or {}
        parts.append({name: value for name, value in profile.items() if name not in ("metadata", "status")})
    return short_hash(json.dumps(parts, sort_keys=True))


def of_spec(op: Json) -> str:
    """Of what failed before anything else mattered."""
    return short_hash(json.dumps(op.get("spec"), sort_keys=True))


def of_mounts(dataset: Json) -> str:
    """Of what a Dataset mounts."""
    return short_hash(json.dumps((dataset.get("spec") or {}).get("mounts"), sort_keys=True))
