"""No field of these runtimes is taken and then forgotten: it changes what is made, or is refused by name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from addon_framework.api.data import (
    AlluxioRuntime,
    CacheRuntime,
    DataLoad,
    EFCRuntime,
    JindoRuntime,
    VineyardRuntime,
)
from addon_framework.api.meta import Json, from_dict
from addons.cache_runtime.agent.backends import Binding
from addons.cache_runtime.agent.components import objects
from runtimes.alluxio import AlluxioBackend
from runtimes.cacheclass import ClassBackend
from runtimes.efc import EFCBackend
from runtimes.interface import Backend, Cache
from runtimes.jindo import JindoBackend
from runtimes.vineyard import VineyardBackend

OSS: Json = {"mountPoint": "oss://bucket", "name": "m", "options": {"fs.oss.endpoint": "e"}}
NAS: Json = {"mountPoint": "nfs://id-x.cn.nas.aliyuncs.com:/", "name": "m"}
TIERS: Json = {
    "levels": [{"mediumtype": "MEM", "quota": "1Gi"}, {"mediumtype": "SSD", "path": "/d", "quota": "1Gi"}]
}
MEMORY: Json = {"levels": TIERS["levels"][:1]}
USER = {"uid": 1, "gid": 2, "user": "a", "group": "b"}
KINDS: dict[str, tuple[Backend, Any, list[Json], Json]] = {
    "alluxio": (
        AlluxioBackend(),
        AlluxioRuntime,
        [OSS],
        {"tieredstore": TIERS, "runAs": USER, "apiGateway": {"enabled": True}},
    ),
    "jindo": (
        JindoBackend(),
        JindoRuntime,
        [OSS],
        {"tieredstore": MEMORY, "fuse": {"metrics": {"enabled": True}}},
    ),
    "efc": (EFCBackend(), EFCRuntime, [NAS], {"tieredstore": MEMORY}),
    "vineyard": (VineyardBackend(), VineyardRuntime, [], {"tieredstore": TIERS}),
    "cache": (ClassBackend(), CacheRuntime, [OSS], {"runtimeClassName": "some"}),
}
_POD: Json = {"metadata": {"labels": {"l": "1"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}}
_COMMAND = {"command": ["a"], "timeout": 30}
# A class with all that one can say.
CLASS: Json = {
    "fileSystemType": "some",
    "topology": {
        role: {
            "template": _POD,
            "options": {"o": "1"},
            "service": {"headless": {}},
            "dependencies": {
                "secretMount": {"enabled": role == "client"},
                "extraResources": {"configMaps": [{"name": "m", "mountPath": "/m"}]},
            },
            "executionEntries": {"mountUFS": _COMMAND, "reportSummary": _COMMAND},
        }
        for role in ("master", "worker", "client")
    },
    "extraResources": {"configMaps": [{"name": "m", "data": {"k": "v"}}]},
    "dataOperationSpecs": [{"name": "DataLoad", "image": "l:1", "command": ["c"], "args": ["a"]}],
}
# What the add-on looks at itself, for all kinds, and what says nothing about pods.
ELSEWHERE = {
    "management.cleanCachePolicy.gracePeriodSeconds": "teardown",
    "management.cleanCachePolicy.maxRetryAttempts": "teardown",
    "cleanCachePolicy.gracePeriodSeconds": "teardown",
    "cleanCachePolicy.maxRetryAttempts": "teardown",
    "management.metadataSyncPolicy.autoSync": "measurements",
    "fuse.cleanPolicy": "clients",
    "volumes": "only with a volumeMount",
    "runtimeClassName": "the class, which is given beside it",
    "client.cleanPolicy": "a condition says that it has no effect",
    # Alluxio always has these; only the gateway can be left out.
    **{f"{part}.enabled": "true" for part in ("master", "jobMaster", "worker", "jobWorker")},
    "apiGateway.enabled": "true already",
    "fuse.metrics.enabled": "true already",
}
# Values that mean something where a plain word does not.
VALUES: dict[str, Any] = {
    "networkMode": "ContainerNetwork",
    "networkmode": "ContainerNetwork",
    "replicas": 3,
    "ports": {"rpc": 7, "client": 7},
    "quota": "9Gi",
    "quotaList": "9Gi",
    "high": "0.91",
    "low": "0.11",
    "path": "/other",
    "mediumtype": "HDD",
    "volumeType": "emptyDir",
    "resources": {"requests": {"memory": "9Gi"}},
    "volumeMounts": [{"name": "none", "mountPath": "/x"}],
    "tolerations": [{"operator": "Exists", "key": "k"}],
    "imagePullSecrets": [{"name": "s"}],
    "encryptOptions": [{"name": "a", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
    "args": ["fuse", "--fuse-opts=other"],
    "scrapeTarget": "MountPod",
    "tieredStore": {"levels": [{"hostPath": {"paths": ["/p"], "quotas": ["1Gi"]}, "high": "0.9"}]},
}
WHOLE = ("User", "TieredStore", "RuntimeTieredStore")


def leaves(info: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every field of a spec, with a value that is not its default."""
    while isinstance(info, msgspec.inspect.Metadata):
        info = info.type
    if isinstance(info, msgspec.inspect.UnionType):
        info = next(t for t in info.types if not isinstance(t, msgspec.inspect.NoneType))
    if isinstance(info, msgspec.inspect.StructType) and info.cls.__name__ not in WHOLE:
        for field in info.fields:
            yield from leaves(field.type, (*path, field.encode_name))
        return
    if path[-1] in VALUES:
        yield path, VALUES[path[-1]]
    elif isinstance(info, msgspec.inspect.BoolType):
        yield path, True
    elif isinstance(info, msgspec.inspect.IntType):
        yield path, 3
    elif isinstance(info, msgspec.inspect.StrType):
        yield path, "some"
    elif isinstance(info, msgspec.inspect.DictType):
        yield path, {"some": "thing"}
    elif isinstance(info, msgspec.inspect.ListType):
        yield path, ["-Dsome=thing"]


def cases() -> Iterator[Any]:
    for name, (_, kind, _, _) in KINDS.items():
        spec = next(f for f in msgspec.inspect.type_info(kind).fields if f.encode_name == "spec")  # type: ignore[attr-defined]
        for path, value in leaves(spec.type):
            if ".".join(path) not in ELSEWHERE and path[0] not in ("tieredstore", "runAs"):
                yield pytest.param(name, path, value, id=f"{name}.{'.'.join(path)}")
        if "tieredstore" not in KINDS[name][3]:
            continue
        for field in ("path", "quota", "high", "low", "volumeType", "mediumtype"):
            yield pytest.param(
                name, ("tieredstore", "levels", "0", field), VALUES[field], id=f"{name}.tier.{field}"
            )


def made(name: str, path: tuple[str, ...] = (), value: Any = None) -> str:
    """Everything that a runtime leads to, or why it leads to nothing."""
    backend, kind, mounts, given = KINDS[name]
    spec: Any = json.loads(json.dumps(given))
    at = spec
    for step in path[:-1]:
        at = at[int(step)] if isinstance(at, list) else at.setdefault(step, {})
    if path:
        at[path[-1]] = {**at[path[-1]], **value} if isinstance(at.get(path[-1]), dict) else value
    metadata = {"namespace": "demo", "name": "m", "uid": "u"}
    runtime = {"apiVersion": "v", "kind": kind.RESOURCE.kind, "metadata": metadata, "spec": spec}
    dataset: Json = {"metadata": metadata, "spec": {"mounts": mounts}}
    cache = Cache.of(dataset, runtime, image="us", profile=CLASS if name == "cache" else None)
    if problems := backend.validate(cache):
        return "\n".join(problems)
    bound = Binding(dataset, runtime, backend, cache)
    load = backend.warm(cache, from_dict(DataLoad, {"metadata": {"name": "l"}, "spec": {}}))
    everything = [obj for _, obj in objects(bound)], load and load.pod, backend.clean(cache).pod
    return json.dumps([everything, list(backend.host_ports(cache))], sort_keys=True)


@pytest.mark.parametrize(("name", "path", "value"), cases())
def test_a_field_is_honoured_or_refused(name: str, path: tuple[str, ...], value: Any) -> None:
    result = made(name, path, value)
    assert result != made(name)
    if not result.startswith("["):
        named = {path[-1], ".".join(path[:2]), f"spec.{path[0]}: "}
        assert any(name in result for name in named), result


@pytest.mark.parametrize("name", KINDS)
def test_what_they_are_compared_with_can_be_made(name: str) -> None:
    assert made(name).startswith("[")
