"""Every field of a kind, and everything that a Dataset, its runtime and its profile lead to."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from addon_framework.api.data import (
    AlluxioRuntime,
    CacheRuntime,
    DataLoad,
    EFCRuntime,
    JindoRuntime,
    JuiceFSRuntime,
    LocalRuntime,
    ThinRuntime,
    VineyardRuntime,
)
from addon_framework.api.meta import Json, from_dict
from addons.cache_runtime.agent import node_labels, volumes
from addons.cache_runtime.agent.backends import Binding
from addons.cache_runtime.agent.cleaning import job_for
from addons.cache_runtime.agent.components import objects
from runtimes.alluxio import AlluxioBackend
from runtimes.cacheclass import ClassBackend
from runtimes.counting import is_counted
from runtimes.efc import EFCBackend
from runtimes.interface import Backend, Backup, Cache
from runtimes.jindo import JindoBackend
from runtimes.juicefs import JuiceFSBackend
from runtimes.local import LocalBackend
from runtimes.thin import ThinBackend
from runtimes.validation import notes, problems
from runtimes.vineyard import VineyardBackend

Path = tuple[str, ...]
MARK = "some"  # in every value that is a word, so that it can be found again
LEVEL: Json = {"mediumtype": "SSD", "path": "/d", "quota": "1Gi"}
DISK: Json = {"levels": [LEVEL]}
MEMORY: Json = {"levels": [{"mediumtype": "MEM", "quota": "1Gi"}]}
TIERS: Json = {"levels": [*MEMORY["levels"], LEVEL]}
USER: Json = {"uid": 1, "gid": 2, "user": "a", "group": "b"}
WRITABLE: Json = {"accessModes": ["ReadWriteMany"]}
OSS: Json = {"mountPoint": "oss://bucket", "name": "m", "options": {"fs.oss.endpoint": "e"}}
NAS: Json = {"mountPoint": "nfs://id-x.cn.nas.aliyuncs.com:/", "name": "m"}
S3: Json = {"mountPoint": "s3://bucket/a", "name": "m", "path": "/"}


def secret(name: str) -> Json:
    """An encryptOption."""
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": "keys", "key": name}}}


JUICEFS: Json = {
    "mountPoint": "juicefs:///sub",
    "name": "fsys",
    "path": "/",
    "encryptOptions": [secret("metaurl")],
}
_POD: Json = {"metadata": {"labels": {"l": "1"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}}
_COMMAND: Json = {"command": ["a"], "timeout": 30}
# A class with all that one can say.
CLASS: Json = {
    "fileSystemType": "x",
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
PROFILE: Json = {"fileSystemType": "fuse.x", "fuse": {"image": "f:1"}, "worker": {"image": "w:1"}}


@dataclass(frozen=True)
class Sample:
    """A backend with a Dataset and a runtime that it can make something of."""

    backend: Backend
    kind: Any
    mounts: list[Json]
    spec: Json
    dataset: Json = field(default_factory=dict)
    profile: Json | None = None


SAMPLES: dict[str, Sample] = {
    "local": Sample(
        LocalBackend(), LocalRuntime, [S3], {"tieredstore": DISK, "peers": {"tokenSecret": {"name": "t"}}}
    ),
    "juicefs": Sample(JuiceFSBackend(), JuiceFSRuntime, [JUICEFS], {"tieredstore": DISK}, WRITABLE),
    "juicefs-copy": Sample(JuiceFSBackend(), JuiceFSRuntime, [S3], {"tieredstore": DISK}),
    "thin": Sample(
        ThinBackend(),
        ThinRuntime,
        [{**S3, "path": "/m"}],
        {"profileName": "p", "worker": {"enabled": True}, "tieredstore": DISK},
        WRITABLE,
        {"metadata": {"name": "p"}, "spec": PROFILE},
    ),
    "thin-s3fs": Sample(
        ThinBackend(), ThinRuntime, [S3], {"profileName": "s3fs", "tieredstore": DISK}, WRITABLE
    ),
    "thin-rclone": Sample(
        ThinBackend(), ThinRuntime, [S3], {"profileName": "rclone", "tieredstore": DISK}, WRITABLE
    ),
    "alluxio": Sample(
        AlluxioBackend(),
        AlluxioRuntime,
        [OSS],
        {"tieredstore": TIERS, "runAs": USER, "apiGateway": {"enabled": True}},
        WRITABLE,
    ),
    "jindo": Sample(
        JindoBackend(),
        JindoRuntime,
        [OSS],
        {"tieredstore": MEMORY, "fuse": {"metrics": {"enabled": True}}},
        WRITABLE,
    ),
    "efc": Sample(EFCBackend(), EFCRuntime, [NAS], {"tieredstore": MEMORY}, WRITABLE),
    "vineyard": Sample(VineyardBackend(), VineyardRuntime, [], {"tieredstore": TIERS}, WRITABLE),
    "cache": Sample(ClassBackend(), CacheRuntime, [OSS], {"runtimeClassName": "x"}, WRITABLE, CLASS),
}
# Values that mean something where a plain word does not.
VALUES: dict[str, Any] = {
    "networkMode": "ContainerNetwork",
    "networkmode": "ContainerNetwork",
    "imagePullPolicy": "Always",
    "replicas": 3,
    "ports": {"rpc": 7, "client": 7},
    "quota": "9Gi",
    "quotaList": "9Gi",
    "high": "0.91",
    "low": "0.11",
    "path": "/some",
    "mediumtype": "HDD",
    "volumeType": "emptyDir",
    "volumeSource": {"emptyDir": {"medium": MARK}},
    "resources": {"requests": {"memory": "9Gi"}},
    "tolerations": [{"operator": "Exists", "key": MARK}],
    "imagePullSecrets": [{"name": MARK}],
    "args": ["fuse", "--fuse-opts=some"],
    "scrapeTarget": "MountPod",
    "cleanPolicy": "OnDemand",
    "autoSync": False,
    "tieredStore": {"levels": [{"hostPath": {"paths": ["/some"], "quotas": ["1Gi"]}, "high": "0.9"}]},
    "runAs": {"uid": 7, "gid": 8, "user": MARK, "group": "g"},
    "owner": {"uid": 7, "gid": 8, "user": "u", "group": "g"},
    "livenessProbe": {"exec": {"command": [MARK]}},
    "readinessProbe": {"exec": {"command": [MARK]}},
    "lifecycle": {"preStop": {"exec": {"command": [MARK]}}},
    "tokenSecret": {"name": MARK, "key": "k"},
    "volumeClaimTemplates": [{"metadata": {"name": MARK}}],
    "nodePublishSecretPolicy": "CopyNodePublishSecretAndMountIfNotExists",
    "required": {"nodeSelectorTerms": [{"matchExpressions": [{"key": MARK, "operator": "Exists"}]}]},
    "accessModes": ["ReadOnlyMany"],
    "placement": "Shared",
    "runtimes": [{"name": MARK}],
    "mountPoint": "s3://some/where",
    "encryptOptions": [secret(MARK)],
    "sharedEncryptOptions": [secret(MARK)],
    "dataRestoreLocation": {"path": "local:///some", "nodeName": "n"},
}
_WHOLE = ("User", "RuntimeTieredStore", "DataRestoreLocation", "SecretKeySelector")


def leaves(info: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every field of a spec, with a value that is not its default; of tiers and mounts those of the first."""
    while isinstance(info, msgspec.inspect.Metadata):
        info = info.type
    if isinstance(info, msgspec.inspect.UnionType):
        info = next(t for t in info.types if not isinstance(t, msgspec.inspect.NoneType))
    if isinstance(info, msgspec.inspect.ListType) and path[-1] in ("levels", "mounts"):
        yield from leaves(info.item_type, (*path, "0"))
    elif isinstance(info, msgspec.inspect.StructType) and info.cls.__name__ not in _WHOLE:
        for each in info.fields:
            yield from leaves(each.type, (*path, each.encode_name))
    else:
        named = path[-1] if path[-1] != "ports" or isinstance(info, msgspec.inspect.DictType) else ""
        yield path, VALUES.get(named, _plain(info, path[-1]))


def _plain(info: Any, field: str) -> Any:
    match info:
        case msgspec.inspect.BoolType():
            return True
        case msgspec.inspect.IntType():
            return 5
        case msgspec.inspect.DictType():
            return {MARK: "thing"}
        case msgspec.inspect.ListType(item_type=msgspec.inspect.StrType()):
            return [f"-D{MARK}=thing"]
        case msgspec.inspect.ListType():
            return [{"name": MARK, "containerPort": 7}] if field == "ports" else [{"name": MARK}]
        case _:
            return MARK


def spec_of(kind: Any) -> Any:
    """The type of its spec."""
    about: Any = msgspec.inspect.type_info(kind)
    return next(each.type for each in about.fields if each.encode_name == "spec")


def changed(given: Json, path: Path, value: Any) -> Json:
    """A copy in which a field has the value; maps keep what they have besides."""
    made = copy.deepcopy(given)
    at: Any = made
    for step in path[:-1]:
        at = at[int(step)] if isinstance(at, list) else at.setdefault(step, {})
    there = at.get(path[-1])
    at[path[-1]] = {**there, **value} if isinstance(there, dict) and isinstance(value, dict) else value
    return made


def bind(
    sample: Sample, *, spec: Json | None = None, dataset: Json | None = None, profile: Json | None = None
) -> Binding:
    """The sample, or with something else in its place."""
    metadata = {"namespace": "demo", "name": "m", "uid": "u"}
    kind = sample.kind.RESOURCE.kind
    runtime = {"apiVersion": "v", "kind": kind, "metadata": metadata, "spec": spec or sample.spec}
    made: Json = {"metadata": metadata, "spec": dataset or {"mounts": sample.mounts, **sample.dataset}}
    cache = Cache.of(made, runtime, image="us", profile=profile or sample.profile)
    return Binding(made, runtime, sample.backend, cache)


def result(
    sample: Sample, *, spec: Json | None = None, dataset: Json | None = None, profile: Json | None = None
) -> str:
    """Everything that they lead to and what is said of it, or why they lead to nothing."""
    bound = bind(sample, spec=spec, dataset=dataset, profile=profile)
    backend, cache = bound.backend, bound.cache
    if wrong := problems(backend, cache):
        return "\n".join(wrong)
    load = backend.warm(cache, from_dict(DataLoad, {"metadata": {"name": "l"}, "spec": {}}))
    for pod in _pods([obj for _, obj in objects(bound)], load and load.pod, backend.clean(cache).pod):
        _assert_whole(pod)
    everything: list[Any] = [
        [obj for _, obj in objects(bound)],
        load and load.pod,
        job_for(bound, "node", "clean", "agents"),
        [volumes.persistent_volume(bound), volumes.claim(bound)],
        node_labels.wanted(bound, cache=True, client=True),
        list(backend.host_ports(cache)),
        [repr(command) for command in (backend.prepare(cache), backend.summary(cache))],
        repr(backend.backup(cache, Backup("pvc://kept"))),
        is_counted(cache),
        backend.scale(cache),  # on how many nodes a copy past a slow cache is
        notes(backend, cache),
    ]
    return json.dumps(everything, sort_keys=True)


def _pods(made: list[Json], *others: Json | None) -> list[Json]:
    templates = (obj["spec"]["template"]["spec"] for obj in made if "template" in obj.get("spec", {}))
    return [*templates, *(each for each in others if each)]


def _assert_whole(pod: Json) -> None:
    """What an API server asks of a pod: what is mounted is there, once at each path."""
    volumes = [volume["name"] for volume in pod.get("volumes") or []]
    assert len(volumes) == len(set(volumes)), volumes
    for container in [*(pod.get("initContainers") or []), *pod["containers"]]:
        mounts = container.get("volumeMounts") or []
        missing = {each["name"] for each in mounts} - set(volumes)
        assert not missing, f"{container['name']} mounts {missing}"
        paths = [each["mountPath"] for each in mounts]
        assert len(paths) == len(set(paths)), f"{container['name']} mounts twice at one of {paths}"


def assert_known(before: str, after: str, path: Path, value: Any, title: str) -> None:
    """The field has changed something that is made, with its words in it, or is told by its name."""
    names = [f"{title}{each}" for each in _names(path)]
    if not after.startswith("["):
        assert any(name in after for name in names), after
    elif not any(f"{name}: has no effect" in after for name in names):
        assert after != before, "the field is taken and forgotten"
        if MARK in json.dumps(value):
            assert after.count(MARK) > before.count(MARK), after


def _names(path: Path) -> list[str]:
    """A message may name the field, or what it is in."""
    text, found = "", []
    for step in path:
        text += f"[{step}]" if step.isdigit() else f".{step}"
        found.append(text)
    return found
