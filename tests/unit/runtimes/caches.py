"""Caches and what their backends describe, as tests of several of them need."""

from __future__ import annotations

from typing import Any

from addon_framework.api.meta import Json
from runtimes.interface import Backend, Cache, Component

MEMORY = {"levels": [{"mediumtype": "MEM", "quota": "2Gi", "high": "0.9", "low": "0.8"}]}
DISKS = {
    "levels": [{"mediumtype": "SSD", "path": "/a,/b", "quotaList": "1Gi,2Gi", "high": "0.9", "low": "0.8"}]
}
KEYS = [
    {"name": f"fs.oss.{name}", "valueFrom": {"secretKeyRef": {"name": "keys", "key": name}}}
    for name in ("accessKeyId", "accessKeySecret")
]
OSS: Json = {
    "mountPoint": "oss://bucket/data",
    "name": "data",
    "options": {"fs.oss.endpoint": "oss.example.org", "metaPolicy": "ALWAYS"},
    "encryptOptions": KEYS,
}


def cache(backend: Backend, *mounts: Json, **spec: Any) -> Cache:
    metadata: Json = {"namespace": "demo", "name": "data", "uid": "u"}
    dataset: Json = {"metadata": metadata, "spec": {"mounts": list(mounts)}}
    runtime: Json = {"kind": backend.resource.kind, "metadata": metadata, "spec": {"replicas": 2, **spec}}
    return Cache.of(dataset, runtime, image="us")


def by_role(backend: Backend, made: Cache) -> dict[str, Component]:
    assert backend.validate(made) == []
    return {component.role: component for component in backend.components(made)}
