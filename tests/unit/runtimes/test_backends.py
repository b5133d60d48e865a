"""What each backend describes: pods without secrets in them, paths, and words about wrong specs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from addon_framework.api.data import DataLoad
from addon_framework.api.meta import Json, from_dict
from addon_framework.local.node.environment import expand
from addon_framework.plugins import RUNTIMES, discover
from runtimes.alluxio import AlluxioBackend
from runtimes.interface import Backend, Cache
from runtimes.jindo import JindoBackend
from runtimes.juicefs import JuiceFSBackend
from runtimes.local import LocalBackend, loader
from runtimes.pods import literal
from runtimes.source import SourceError
from runtimes.thin import ThinBackend
from tests.unit.runtimes.fields import SAMPLES, bind

S3: Json = {
    "mountPoint": "s3://models/llama",
    "name": "llama",
    "path": "/",
    "options": {"endpoint": "http://store:8333"},
    "encryptOptions": [
        {"name": "aws.accessKeyId", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "accessKeyId"}}},
        {"name": "aws.secretKey", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "secretAccessKey"}}},
    ],
}
LEVEL = {"mediumtype": "SSD", "path": "/var/lib/boundaryless/cache", "quota": "1Gi"}


def cache_of(backend: Backend, *mounts: Json, profile: Json | None = None, **spec: Any) -> Cache:
    metadata = {"name": "llama", "namespace": "demo", "uid": "u"}
    dataset: Json = {"metadata": metadata, "spec": {"mounts": list(mounts or (S3,))}}
    runtime: Json = {"kind": backend.resource.kind, "metadata": metadata, "spec": spec}
    return Cache.of(dataset, runtime, image="agent", profile=profile)


def load(**spec: Any) -> DataLoad:
    return from_dict(DataLoad, {"metadata": {"name": "llama"}, "spec": spec})


def test_the_entry_points_are_backends() -> None:
    plugins = discover(RUNTIMES)
    wanted = {
        "local": "LocalRuntime",
        "juicefs": "JuiceFSRuntime",
        "thin": "ThinRuntime",
        "alluxio": "AlluxioRuntime",
        "jindo": "JindoRuntime",
        "efc": "EFCRuntime",
        "vineyard": "VineyardRuntime",
    }
    assert {name: plugins.require(name).load().resource.kind for name in wanted} == wanted


@pytest.mark.parametrize("name", SAMPLES)
def test_programs_reach_their_pods_as_they_are_written(name: str) -> None:
    bound = bind(SAMPLES[name])
    pods = [component.pod for component in bound.backend.components(bound.cache)]
    tasks = (bound.backend.warm(bound.cache, load()), bound.backend.clean(bound.cache))
    pods += [task.pod for task in tasks if task]
    for container in (c for pod in pods for c in (*pod.get("initContainers", ()), *pod["containers"])):
        for text in (*container.get("command", ()), *container.get("args", ())):
            assert expand(text, {}) == text, container["name"]


@pytest.mark.parametrize("text", ["$$", "a$$$b$", "$(HOME)", "$$(HOME)", "$(", "$(date +%s)", "$HOME"])
def test_variables_mean_what_they_say(text: str) -> None:
    assert expand(literal("SOURCE", text)["value"], {"HOME": "/root"}) == text


@pytest.mark.parametrize(
    ("backend", "spec"),
    [
        (LocalBackend(), {"tieredstore": {"levels": [LEVEL]}}),
        (JuiceFSBackend(), {"tieredstore": {"levels": [LEVEL]}}),
        (ThinBackend(), {"profileName": "s3fs"}),
    ],
)
def test_pods_refer_to_secrets_and_contain_none(backend: Backend, spec: Json) -> None:
    cache = cache_of(backend, **spec)
    assert backend.validate(cache) == []
    pods = [component.pod for component in backend.components(cache)]
    warm = backend.warm(cache, load())
    pods += [warm.pod] if warm else []
    references = [
        variable["valueFrom"]["secretKeyRef"]["key"]
        for pod in pods
        for container in pod["containers"]
        for variable in container.get("env", [])
        if "secretKeyRef" in variable.get("valueFrom", {})
    ]
    assert set(references) == {"accessKeyId", "secretAccessKey"}
    assert all(isinstance(json.dumps(pod), str) for pod in pods)
    clean = backend.clean(cache).pod["containers"][0]
    assert any(argument.endswith("/demo/llama") for argument in clean["args"])


def test_local_needs_no_privilege_and_shows_only_complete_files() -> None:
    backend = LocalBackend()
    cache = cache_of(backend, tieredstore={"levels": [LEVEL]}, replicas=2)
    assert backend.volume(cache).path == "/var/lib/boundaryless/cache/demo/llama/data"
    (worker,) = backend.components(cache)
    assert worker.replicas == 2
    assert "privileged" not in json.dumps([worker.pod, backend.clean(cache).pod])
    task = backend.warm(cache, load(target=[{"path": "/sub"}], options={"threads": "4"}))
    specification = json.loads(task.pod["containers"][0]["env"][0]["value"])
    assert (specification["targets"], specification["threads"]) == (["/sub"], 4)
    assert specification["quota"] == 1 << 30


def test_every_node_that_fits_without_replicas() -> None:
    (worker,) = LocalBackend().components(cache_of(LocalBackend()))
    assert worker.replicas is None


@pytest.mark.parametrize(
    ("backend", "mounts", "spec", "words"),
    [
        (LocalBackend(), [{"mountPoint": "nfs://b/x"}], {}, "spec.mounts[0].mountPoint: 'nfs://b/x' must be"),
        (
            LocalBackend(),
            [{**S3, "options": {"endpint": "x"}}],
            {},
            "unknown endpint; known: endpoint, region",
        ),
        (
            LocalBackend(),
            [],
            {"tieredstore": {"levels": [{**LEVEL, "path": "a"}]}},
            "must be one absolute path",
        ),
        (
            LocalBackend(),
            [],
            {"tieredstore": {"levels": [{**LEVEL, "quota": "lots"}]}},
            "levels[0].quota: 'lots'",
        ),
        (LocalBackend(), [], {"tieredstore": {"levels": [LEVEL, LEVEL]}}, "one level is possible"),
        (JuiceFSBackend(), [S3, S3], {}, "JuiceFS takes exactly one, there are 2"),
        (JuiceFSBackend(), [{"mountPoint": "juicefs:///", "name": "fs1"}], {}, "metaurl is needed"),
        (JuiceFSBackend(), [], {"configs": ["block-size=4; rm -rf /"]}, "characters that a flag cannot have"),
        (ThinBackend(), [], {}, "spec.profileName: is needed; built in are s3fs or rclone"),
        (ThinBackend(), [], {"profileName": "cephfs"}, "ThinRuntimeProfile cephfs does not exist"),
        (
            LocalBackend(),
            [],
            {"tieredstore": {"levels": [{**LEVEL, "high": "0.5", "low": "0.9"}]}},
            "spec.tieredstore.levels[0].low: 0.9 is more than high, 0.5",
        ),
        (
            ThinBackend(),
            [],
            {"profileName": "rclone", "fuse": {"options": {"a": "b --config=x"}}},
            "spec.fuse.options: 'a=b --config=x' has characters that a flag cannot have",
        ),
        (ThinBackend(), [{"mountPoint": "nfs://x"}], {"profileName": "s3fs"}, "must be s3://bucket/prefix"),
        (ThinBackend(), [{"mountPoint": "ftp://x"}], {"profileName": "s3fs"}, "; LocalRuntime reads ftp://"),
        (JuiceFSBackend(), [{"mountPoint": "gs://x"}], {}, "; LocalRuntime and AlluxioRuntime read gs://"),
    ],
)
def test_wrong_specs_are_named(backend: Backend, mounts: list[Json], spec: Json, words: str) -> None:
    problems = backend.validate(cache_of(backend, *mounts, **spec))
    assert any(words in problem for problem in problems), problems
    assert all("demo/llama" in problem for problem in problems)


def test_a_profile_of_the_cluster_follows_fluids_contract() -> None:
    fuse = {"image": "nfs", "imageTag": "1", "args": ["-f"], "options": {"vers": "4"}, "env": [{"name": "A"}]}
    profile: Json = {"metadata": {"name": "nfs"}, "spec": {"fileSystemType": "nfs", "fuse": fuse}}
    backend = ThinBackend()
    cache = cache_of(backend, profile=profile, profileName="nfs", fuse={"options": {"nolock": ""}})
    assert backend.validate(cache) == []
    (client,) = backend.components(cache)
    container = client.pod["containers"][0]
    variables = {variable["name"]: variable.get("value") for variable in container.get("env", [])}
    assert container["image"] == "nfs:1"
    assert variables["MOUNT_OPTIONS"] == "ro,vers=4,nolock"
    assert variables["MOUNT_POINT"] == "/var/lib/boundaryless/mounts/demo/llama"
    written = json.loads(client.config_maps["llama-fuse-conf"]["config.json"])
    assert written["targetPath"] == variables["MOUNT_POINT"]
    assert written["mounts"][0]["options"]["aws.secretKey"] == "/etc/fluid/secrets/keys/secretAccessKey"


def test_a_juicefs_file_system_is_mounted_as_it_is() -> None:
    metaurl = {"name": "metaurl", "valueFrom": {"secretKeyRef": {"name": "jfs", "key": "metaurl"}}}
    mount = {"mountPoint": "juicefs:///sub", "name": "fs1", "encryptOptions": [metaurl]}
    backend = JuiceFSBackend()
    cache = cache_of(backend, mount, tieredstore={"levels": [LEVEL]}, fuse={"options": {"prefetch": "3"}})
    assert backend.validate(cache) == []
    (client,) = backend.components(cache)
    variables = {v["name"]: v for v in client.pod["containers"][0]["env"]}
    assert variables["METAURL"]["valueFrom"]["secretKeyRef"] == {"name": "jfs", "key": "metaurl"}
    options = variables["OPTIONS"]["value"].split()
    assert {"--subdir=/sub", "--cache-size=1024", "--prefetch=3", "--read-only"} <= set(options)
    assert client.replicas is None
    assert backend.warm(cache, load()).after == "client"


def test_reports_are_lines_of_json() -> None:
    backend = LocalBackend()
    assert backend.report("Traceback (most recent call last):") is None
    assert backend.report('{"other": 1}') is None
    assert backend.report("{broken") is None
    said = backend.report('{"report": "state", "cached": 5, "hits": 3, "misses": 1}')
    assert said is not None
    other = {"report": "state", "cached": 9}
    state = backend.state(cache_of(backend), [said, other])
    assert (state.cached, state.hit_ratio) == (5, 0.75)


@pytest.mark.parametrize(
    ("backend", "options", "said"),
    [
        (AlluxioBackend(), {"threads": "3"}, "spec.options: unknown threads; known: none"),
        (JindoBackend(), {"atomicCache": "true"}, ""),
        (JindoBackend(), {"speed": "1"}, "spec.options: unknown speed; known: atomicCache"),
        (JuiceFSBackend(), {"threads": "3", "timeout": "30m"}, ""),
        (JuiceFSBackend(), {"background": "true"}, "unknown background; known: threads, timeout"),
        (JuiceFSBackend(), {"timeout": "soon"}, "spec.options.timeout: 'soon' must be like 90s"),
        (LocalBackend(), {"threads": "0"}, "spec.options.threads: '0' must be a number"),
    ],
)
def test_options_of_a_load_that_would_have_no_effect_are_named(
    backend: Backend, options: dict[str, str], said: str
) -> None:
    assert said in "; ".join(found := backend.load_problems(cache_of(backend), load(options=options)))
    assert bool(found) == bool(said)


def test_what_is_in_a_claim_is_called_as_its_user_calls_it() -> None:
    mount = {"mountPoint": "pvc://models/llama", "name": "llama", "path": "/"}
    pod = LocalBackend().warm(cache_of(LocalBackend(), mount), load()).pod
    (told,) = (each["value"] for each in pod["containers"][0]["env"] if each["name"] == "CACHE")
    with pytest.raises(SourceError, match=r"^pvc://models/llama: there is no such path in the claim"):
        loader.plan(json.loads(told), {})
