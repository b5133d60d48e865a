"""What clients are made from, so that it can be said which change they do not have yet. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator

from addon_framework.api.meta import Json
from addons.cache_runtime.agent.backends import Binding
from addons.cache_runtime.agent.names import short_hash

MADE_FROM_ANNOTATION = "data.boundaryless.io/made-from"
MOUNTS = "Dataset.spec.mounts"
MEASURING = "remount"  # the container beside a client's own (see runtimes.fuse)
_CREDENTIALS = "the values of its Secrets"
# Fields that are about other pods, or that the agent goes by itself.
_NOT_OF_CLIENTS = (
    "replicas",
    "master",
    "worker",
    "jobMaster",
    "jobWorker",
    "apiGateway",
    "management",
    "placement",
    "runtimes",
    "nodeAffinity",
    "accessModes",
)


def secrets_of(pod: Json) -> set[str]:
    """Names of the Secrets of its namespace that a PodSpec reads; what measures a mount changes nothing."""
    found = set()
    working = [each for each in pod["containers"] if each.get("name") != MEASURING]
    for container in [*(pod.get("initContainers") or []), *working]:
        for variable in container.get("env") or []:
            found.add(((variable.get("valueFrom") or {}).get("secretKeyRef") or {}).get("name"))
        found |= {(source.get("secretRef") or {}).get("name") for source in container.get("envFrom") or []}
    for volume in pod.get("volumes") or []:
        found.add((volume.get("secret") or {}).get("secretName"))
        for source in (volume.get("projected") or {}).get("sources") or []:
            found.add((source.get("secret") or {}).get("name"))
    return {str(name) for name in found if name}


def made_from(binding: Binding) -> str:
    """A short hash of each field, as an annotation has it."""
    return json.dumps(dict(_fields(binding)), sort_keys=True, separators=(",", ":"))


def changed_since(annotation: str, binding: Binding) -> list[str]:
    """The fields that were not as they are now when that was written."""
    try:
        before = json.loads(annotation)
    except ValueError:
        before = {}
    now = dict(_fields(binding))
    return sorted(name for name in {*before, *now} if before.get(name) != now.get(name)) if before else []


def _fields(binding: Binding) -> Iterator[tuple[str, str]]:
    runtime, named = binding.runtime, binding.backend.profile
    of_profile: Json = {k: v for k, v in (binding.cache.profile or {}).items() if k not in _ENVELOPE}
    kind = named.resource.kind if named is not None else ""
    for title, spec in (
        ("Dataset.spec", binding.dataset.get("spec") or {}),
        (f"{runtime.get('kind')}.spec", runtime.get("spec") or {}),
        # A CacheRuntimeClass has no spec around its fields.
        (f"{kind}.spec", of_profile.pop("spec", {})),
        (kind, of_profile),
    ):
        for name, value in spec.items():
            if name not in _NOT_OF_CLIENTS:
                yield f"{title}.{name}", _hash(value)
    if binding.credentials:
        yield _CREDENTIALS, binding.credentials[:6]


def _hash(value: object) -> str:
    return short_hash(json.dumps(value, sort_keys=True))[:6]


_ENVELOPE = ("apiVersion", "kind", "metadata", "status")
