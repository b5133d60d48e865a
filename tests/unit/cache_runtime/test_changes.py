"""What becomes of each kind of change of a bound Dataset, by runtime: the table of docs/datasets.md."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from addon_framework.api.core import DAEMONSETS, STATEFULSETS
from addon_framework.api.meta import Json
from addons.cache_runtime.admission import changes
from addons.cache_runtime.agent import components
from addons.cache_runtime.agent.backends import Binding
from addons.cache_runtime.agent.making import changed_since, made_from, secrets_of
from addons.cache_runtime.agent.names import role_of
from runtimes.alluxio import AlluxioBackend
from runtimes.cacheclass import ClassBackend
from runtimes.efc import EFCBackend
from runtimes.interface import Backend, Cache
from runtimes.jindo import JindoBackend
from runtimes.juicefs import JuiceFSBackend
from runtimes.local import LocalBackend
from runtimes.thin import ThinBackend
from runtimes.vineyard import VineyardBackend

S3 = "s3://models/llama"
TIER = {"levels": [{"mediumtype": "SSD", "path": "/cache", "quota": "1Gi"}]}
PROFILE: Json = {
    "kind": "ThinRuntimeProfile",
    "metadata": {"name": "own"},
    "spec": {"fileSystemType": "fuse.own", "fuse": {"image": "own", "imageTag": "v1"}},
}
MEMORY, LARGER = ({"mediumtype": "MEM", "quota": quota} for quota in ("1Gi", "2Gi"))
(SPILL,) = TIER["levels"]
_POD, NEWER = ({"spec": {"containers": [{"name": "c", "image": image}]}} for image in ("c:1", "c:2"))
CLASS: Json = {
    "kind": "CacheRuntimeClass",
    "metadata": {"name": "own"},
    "fileSystemType": "own",
    "topology": {
        "master": {"template": _POD, "executionEntries": {"mountUFS": {"command": ["mount"]}}},
        "worker": {"template": _POD},
        "client": {"template": _POD},
    },
}
OTHER_NAS = "nfs://id-y.cn.nas.aliyuncs.com:/"


def class_tier(path: str, quota: str = "1Gi") -> Json:
    return {"levels": [{"hostPath": {"paths": [path], "quotas": [quota]}}]}


OSS: Json = {
    "mountPoint": "oss://bucket",
    "name": "m",
    "path": "/",
    "options": {"fs.oss.endpoint": "e"},
    "encryptOptions": [
        {"name": f"fs.oss.{name}", "valueFrom": {"secretKeyRef": {"name": "keys", "key": name}}}
        for name in ("accessKeyId", "accessKeySecret")
    ],
}
NAS: Json = {"mountPoint": "nfs://id-x.cn.nas.aliyuncs.com:/", "name": "m", "path": "/"}
MOUNTS: dict[str, list[Json]] = {"jindo": [OSS], "efc": [NAS], "vineyard": []}  # others have S3
RUNTIMES: dict[str, tuple[Backend, Json, Json | None]] = {
    "local": (LocalBackend(), {"replicas": 1, "tieredstore": TIER}, None),
    "juicefs": (JuiceFSBackend(), {"replicas": 1, "tieredstore": TIER}, None),
    "s3fs": (ThinBackend(), {"profileName": "s3fs"}, None),
    "rclone": (ThinBackend(), {"profileName": "rclone"}, None),
    "profile": (ThinBackend(), {"profileName": "own"}, PROFILE),
    "alluxio": (AlluxioBackend(), {"replicas": 1, "tieredstore": TIER}, None),
    "jindo": (JindoBackend(), {"replicas": 1, "tieredstore": TIER}, None),
    "efc": (EFCBackend(), {"replicas": 1, "tieredstore": TIER}, None),
    "vineyard": (VineyardBackend(), {"replicas": 1, "tieredstore": {"levels": [MEMORY, SPILL]}}, None),
    "class": (
        ClassBackend(),
        {"runtimeClassName": "own", "worker": {"tieredStore": class_tier("/cache")}},
        CLASS,
    ),
}
MORE_QUOTA = {"levels": [{**TIER["levels"][0], "quota": "2Gi"}]}
OTHER_PATH = {"levels": [{**TIER["levels"][0], "path": "/elsewhere"}]}
ENV = {"env": [{"name": "A", "value": "1"}]}
CPU = {"resources": {"requests": {"cpu": "1"}}}


def keys(secret: str = "keys") -> list[Json]:
    return [
        {"name": option, "valueFrom": {"secretKeyRef": {"name": secret, "key": "k"}}}
        for option in ("aws.accessKeyId", "aws.secretKey")
    ]


def pair(name: str) -> tuple[Json, Json, Json | None]:
    backend, spec, profile = RUNTIMES[name]
    metadata = {"name": "data", "namespace": "demo", "uid": "u"}
    mount = {"mountPoint": S3, "name": "m", "path": "/", "encryptOptions": keys()}
    mounts = MOUNTS.get(name, [mount])
    dataset: Json = {"kind": "Dataset", "metadata": metadata, "spec": {"mounts": mounts}}
    dataset["apiVersion"] = "data.fluid.io/v1alpha1"
    runtime = {
        "apiVersion": backend.resource.api_version,
        "kind": backend.resource.kind,
        "metadata": metadata,
        "spec": spec,
    }
    return copy.deepcopy((dataset, runtime, profile))


def bound(name: str, dataset: Json, runtime: Json, profile: Json | None, credentials: str = "1") -> Binding:
    cache = Cache.of(dataset, runtime, image="agent", profile=profile)
    backend = RUNTIMES[name][0]
    assert backend.validate(cache) == []
    return Binding(dataset, runtime, backend, cache, credentials=credentials)


def merged(old: Any, new: Any) -> Any:
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    return {**old, **{field: merged(old.get(field), value) for field, value in new.items()}}


def outcome(name: str, where: str, change: Json) -> str:
    """client: it is replaced; servers: rolled at once; command: run at once; refused; scaled; agent."""
    objects, credentials = pair(name), "1"
    old = bound(name, *copy.deepcopy(objects))
    target = {"dataset": 0, "runtime": 1, "profile": 2}.get(where)
    if target is None:
        credentials = "2"
    else:
        given = objects[target] or {}
        spec = given.get("spec", given)  # a CacheRuntimeClass has no spec around its fields
        for field, value in change.items():
            spec[field] = merged(spec.get(field), value)
    new = bound(name, *objects, credentials)
    if target is not None and target < 2:

        def bind(version: Json) -> Binding:
            mine = [*copy.deepcopy(pair(name))]
            mine[target] = version
            return bound(name, *mine)

        before = (old.dataset, old.runtime)[target]
        if changes.refused(before, objects[target] or {}, bind):
            return "refused"
    done = set()
    clients = any(c.role == "client" for c in old.backend.components(old.cache))
    if clients and components.client_digest(old) != components.client_digest(new):
        done.add("client")
        assert changed_since(made_from(old), new), "and it is said which field it was"
    servers = [
        {role_of(o): o["spec"] for r, o in components.objects(b) if r in (DAEMONSETS, STATEFULSETS)}
        for b in (old, new)
    ]
    for role in ("master", "worker"):
        if role in servers[0] and servers[0][role]["template"] != servers[1][role]["template"]:
            done.add("servers")
        elif role in servers[0] and servers[0][role] != servers[1][role]:
            done.add("scaled")
    if old.backend.prepare(old.cache) != new.backend.prepare(new.cache):
        done.add("command")
    return "+".join(sorted(done)) or "agent"


OTHER: Json = {
    "mounts": [{"mountPoint": "s3://models/other", "name": "m", "path": "/", "encryptOptions": keys()}]
}
TABLE: list[tuple[str, str, Json, str]] = [
    ("local", "dataset", OTHER, "servers"),
    ("local", "secrets", {}, "servers"),
    ("local", "runtime", {"replicas": 2}, "scaled"),
    ("local", "runtime", {"tieredstore": MORE_QUOTA}, "servers"),
    ("local", "runtime", {"tieredstore": OTHER_PATH}, "refused"),
    ("local", "dataset", {"accessModes": ["ReadOnlyMany", "ReadWriteOnce"]}, "refused"),
    ("local", "runtime", {"worker": CPU}, "servers"),
    ("juicefs", "secrets", {}, "agent"),
    ("juicefs", "runtime", {"fuse": ENV}, "client"),
    ("juicefs", "runtime", {"tieredstore": MORE_QUOTA}, "client"),
    ("juicefs", "runtime", {"tieredstore": OTHER_PATH}, "refused"),
    ("s3fs", "dataset", OTHER, "client"),
    ("s3fs", "secrets", {}, "client"),
    ("s3fs", "runtime", {"fuse": {"image": "x", "imageTag": "y"}}, "client"),
    ("s3fs", "runtime", {"fuse": CPU}, "client"),
    ("s3fs", "runtime", {"fuse": {"cleanPolicy": "OnDemand"}}, "refused"),
    ("rclone", "dataset", OTHER, "client"),
    ("rclone", "secrets", {}, "client"),
    ("profile", "dataset", OTHER, "client"),
    ("profile", "profile", {"fuse": {"imageTag": "v2"}}, "client"),
    ("profile", "runtime", {"fuse": {"args": ["--fast"]}}, "client"),
    ("alluxio", "runtime", {"replicas": 2}, "scaled"),
    ("alluxio", "runtime", {"tieredstore": OTHER_PATH}, "refused"),
    ("alluxio", "dataset", OTHER, "client+servers"),  # its only mount is the root, which is a property
    ("alluxio", "runtime", {"properties": {"a": "b"}}, "client+servers"),
    ("alluxio", "runtime", {"worker": {"properties": {"a": "b"}}}, "servers"),
    ("alluxio", "runtime", {"fuse": {"properties": {"a": "b"}}}, "client"),
    ("alluxio", "runtime", {"tieredstore": MORE_QUOTA}, "client+servers"),
    ("alluxio", "secrets", {}, "servers"),
    ("jindo", "dataset", {"mounts": [{**OSS, "mountPoint": "oss://bucket/below"}]}, "command"),
    ("jindo", "dataset", {"mounts": [{**OSS, "mountPoint": "oss://other"}]}, "client+command+servers"),
    ("jindo", "dataset", {"mounts": [{**OSS, "options": {"fs.oss.endpoint": "f"}}]}, "client+servers"),
    ("jindo", "secrets", {}, "client+servers"),
    ("jindo", "runtime", {"replicas": 2}, "scaled"),
    ("jindo", "runtime", {"properties": {"a": "b"}}, "client"),
    ("jindo", "runtime", {"fuse": {"properties": {"a": "b"}}}, "client"),
    ("jindo", "runtime", {"worker": {"properties": {"a": "b"}}}, "servers"),
    ("jindo", "runtime", {"tieredstore": MORE_QUOTA}, "servers"),
    ("jindo", "runtime", {"tieredstore": OTHER_PATH}, "refused"),
    ("jindo", "runtime", {"fuse": {"cleanPolicy": "OnDemand"}}, "refused"),
    ("efc", "dataset", {"mounts": [{**NAS, "mountPoint": OTHER_NAS}]}, "client+servers"),
    ("efc", "runtime", {"replicas": 2}, "scaled"),  # clients read the list of workers anew
    ("efc", "runtime", {"fuse": {"properties": {"a": "b"}}}, "client"),
    ("efc", "runtime", {"worker": CPU}, "servers"),
    ("efc", "runtime", {"tieredstore": MORE_QUOTA}, "servers"),
    ("efc", "runtime", {"tieredstore": OTHER_PATH}, "refused"),
    ("vineyard", "runtime", {"replicas": 2}, "scaled"),
    ("vineyard", "runtime", {"worker": {"env": {"A": "1"}}}, "servers"),
    ("vineyard", "runtime", {"fuse": {"options": {"size": "1Gi"}}}, "client"),
    ("vineyard", "runtime", {"tieredstore": {"levels": [LARGER, SPILL]}}, "servers"),
    ("vineyard", "runtime", {"tieredstore": {"levels": [MEMORY, *OTHER_PATH["levels"]]}}, "refused"),
    ("class", "dataset", OTHER, "command"),
    ("class", "secrets", {}, "servers"),  # its clients have none, unless it says so
    ("class", "runtime", {"worker": {"replicas": 2}}, "scaled"),
    ("class", "runtime", {"worker": ENV}, "servers"),
    ("class", "runtime", {"client": ENV}, "client"),
    ("class", "runtime", {"client": {"cleanPolicy": "OnDemand"}}, "refused"),
    ("class", "runtime", {"options": {"a": "b"}}, "client+servers"),
    ("class", "runtime", {"worker": {"options": {"a": "b"}}}, "servers"),
    ("class", "runtime", {"worker": {"tieredStore": class_tier("/cache", "2Gi")}}, "servers"),
    ("class", "runtime", {"worker": {"tieredStore": class_tier("/elsewhere")}}, "refused"),
    ("class", "profile", {"topology": {"client": {"template": NEWER}}}, "client"),
    ("class", "profile", {"topology": {"worker": {"template": NEWER}}}, "servers"),
]


@pytest.mark.parametrize(("name", "where", "change", "expected"), TABLE)
def test_what_becomes_of_a_change(name: str, where: str, change: Json, expected: str) -> None:
    assert outcome(name, where, change) == expected


@pytest.mark.parametrize(
    ("pod", "names"),
    [
        ({"containers": [{"env": [{"valueFrom": {"secretKeyRef": {"name": "a", "key": "k"}}}]}]}, {"a"}),
        (
            {"containers": [{"envFrom": [{"secretRef": {"name": "b"}}, {"configMapRef": {"name": "c"}}]}]},
            {"b"},
        ),
        ({"containers": [{}], "volumes": [{"secret": {"secretName": "d"}}, {"emptyDir": {}}]}, {"d"}),
        ({"containers": [{}], "volumes": [{"projected": {"sources": [{"secret": {"name": "e"}}]}}]}, {"e"}),
        ({"containers": [{"name": "remount", "envFrom": [{"secretRef": {"name": "f"}}]}]}, set()),
        ({"containers": [{}], "initContainers": [{"env": [{"name": "x", "value": "y"}]}]}, set()),
    ],
)
def test_which_secrets_a_pod_reads(pod: Any, names: set[str]) -> None:
    assert secrets_of(pod) == names
