"""A CacheRuntime by its class: the container contract, word for word."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from addon_framework.api.core import CONFIGMAPS, DAEMONSETS, SERVICES, STATEFULSETS
from addon_framework.api.data import DataLoad
from addon_framework.api.meta import Json, from_dict
from addons.cache_runtime.agent.backends import Binding
from addons.cache_runtime.agent.components import objects
from runtimes.cacheclass import ClassBackend
from runtimes.interface import Backup, Cache, CacheState, Migration, Missing, Source, Task

BACKEND = ClassBackend()
ROLES = ("master", "worker", "client")
KEYS = [{"name": "access-key", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "id"}}}]
MOUNTS: list[Json] = [
    {"mountPoint": "s3://bucket/a", "name": "a", "options": {"endpoint": "e"}, "encryptOptions": KEYS},
    {"mountPoint": "s3://bucket/b", "name": "b", "path": "/deep/b", "readOnly": True},
]


def component(**more: Any) -> Json:
    """With a container that has something of everything."""
    container = {
        "name": "c",
        "image": "example.org/c:1",
        "args": ["class"],
        "env": [{"name": "OWN", "value": "1"}],
        "resources": {"limits": {"memory": "1Gi"}},
    }
    spec = {
        "initContainers": [{"name": "before", "image": "i"}],
        "containers": [container, {"name": "other", "image": "o"}],
        "nodeSelector": {"n": "1"},
        "tolerations": [{"key": "t", "operator": "Exists"}],
    }
    return {"template": {"metadata": {"labels": {"l": "class", "m": "class"}}, "spec": spec}, **more}


def cacheclass(**more: Any) -> Json:
    """Of all three components."""
    topology = {
        role: component(options={"x": "class", "y": "class"}) for role in ("master", "worker", "client")
    }
    topology["master"]["service"] = {"headless": {}}
    commands = {
        "mountUFS": {"command": ["mount-all"]},
        "reportSummary": {"command": ["report"], "timeout": 90},
    }
    topology["master"]["executionEntries"] = topology["worker"]["executionEntries"] = commands
    return {"fileSystemType": "c", "topology": topology, **more}


def cache(given: Json | None = None, *, mounts: list[Json] = MOUNTS, **spec: Any) -> Cache:
    """A Dataset, a CacheRuntime and the class."""
    metadata = {"namespace": "demo", "name": "data", "uid": "u"}
    runtime = {
        "apiVersion": "v",
        "kind": "CacheRuntime",
        "metadata": metadata,
        "spec": {"runtimeClassName": "c", **spec},
    }
    dataset: Json = {"metadata": metadata, "spec": {"mounts": mounts}}
    return Cache.of(dataset, runtime, image="us", profile=given or cacheclass())


def made(wanted: Cache) -> dict[tuple[str, str], Json]:
    """Everything, by kind and name."""
    assert BACKEND.validate(wanted) == []
    dataset: Json = {"metadata": {"namespace": "demo", "name": "data", "uid": "u"}, "spec": {}}
    found = objects(Binding(dataset, wanted.runtime, BACKEND, wanted))
    return {(resource.plural, obj["metadata"]["name"]): obj for resource, obj in found}


def pod(wanted: Cache, role: str = "worker") -> Json:
    """The PodSpec of a component."""
    plural = DAEMONSETS.plural if role == "client" else STATEFULSETS.plural
    spec: Json = made(wanted)[plural, f"data-{role}"]["spec"]["template"]["spec"]
    return spec


def configuration(wanted: Cache) -> Json:
    """runtime.json."""
    data = made(wanted)[CONFIGMAPS.plural, "fluid-runtime-config-data"]["data"]
    said: Json = json.loads(data["runtime.json"])
    return said


def test_names_are_fluids() -> None:
    everything = made(cache())
    assert {name for _, name in everything} == {
        *("data-master", "data-worker", "data-client"),
        *("svc-data-master", "fluid-runtime-config-data"),
    }
    master = everything[STATEFULSETS.plural, "data-master"]["spec"]
    assert master["serviceName"] == "svc-data-master"
    labels = master["template"]["metadata"]["labels"]
    assert labels["cacheruntime.fluid.io/name"] == "data"
    assert labels["cacheruntime.fluid.io/component-name"] == "data-master"
    service = everything[SERVICES.plural, "svc-data-master"]["spec"]
    assert (service["clusterIP"], service["publishNotReadyAddresses"]) == ("None", True)
    assert service["selector"].items() <= labels.items()


def test_the_first_containers_are_told_who_they_are() -> None:
    spec = pod(cache(), "master")
    told = {each["name"]: each["value"] for each in spec["containers"][0]["env"]}
    assert told == {
        "FLUID_DATASET_NAME": "data",
        "FLUID_DATASET_NAMESPACE": "demo",
        "FLUID_RUNTIME_CONFIG_PATH": "/etc/fluid/config/runtime.json",
        "FLUID_RUNTIME_MOUNT_PATH": cache().mount_point,
        "FLUID_RUNTIME_COMPONENT_TYPE": "master",
        "FLUID_RUNTIME_COMPONENT_SVC_NAME": "svc-data-master",
        "OWN": "1",
    }
    assert spec["containers"][0]["env"][-1]["name"] == "OWN"
    assert {each["name"] for each in spec["initContainers"][0]["env"]} == set(told) - {"OWN"}
    words = {"terminationMessagePolicy": "FallbackToLogsOnError"}  # which every container of a cache has
    assert spec["containers"][1] == {"name": "other", "image": "o", **words}


def test_the_configuration_has_the_dataset_and_the_components() -> None:
    level = {
        "hostPath": {"paths": ["/ssd/1", "/ssd/2"], "quotas": ["1Gi", "2Gi"]},
        "high": "0.9",
        "low": "0.7",
    }
    wanted = cache(
        options={"y": "runtime", "z": "runtime"},
        master={"options": {"z": "master"}},
        worker={"replicas": 2, "tieredStore": {"levels": [{"processMemory": {"quota": "1Gi"}}, level]}},
    )
    said = configuration(wanted)
    assert said["targetPath"] == wanted.mount_point
    assert said["accessModes"] == ["ReadOnlyMany"]
    assert [(m["mountPoint"], m["path"]) for m in said["mounts"]] == [
        ("s3://bucket/a", "/a"),
        ("s3://bucket/b", "/deep/b"),
    ]
    assert said["mounts"][0]["options"] == {"endpoint": "e"}
    assert said["mounts"][0]["encryptOptions"] == {"access-key": "/etc/fluid/secrets/keys/id"}
    assert said["master"] == {
        "enabled": True,
        "name": "data-master",
        "replicas": 1,
        "service": {"name": "svc-data-master"},
        "options": {"x": "class", "y": "runtime", "z": "master"},
    }
    assert said["worker"]["replicas"] == 2
    assert said["worker"]["tieredStoreLevels"] == [
        {"mountPaths": ["/dev/shm"], "mediumType": "MEM", "quotas": ["1Gi"]},
        {
            "mountPaths": [f"/etc/fluid/mount/tiered-store/level-1-index-{n}-hostpath" for n in (0, 1)],
            "mediumType": "HDD",
            "quotas": ["1Gi", "2Gi"],
            "high": "0.9",
            "low": "0.7",
        },
    ]


def test_tiers_are_volumes_and_memory_counts() -> None:
    levels = [
        {"processMemory": {"quota": "1Gi"}},
        {"emptyDir": {"quota": "512Mi", "medium": "Memory"}},
        {"hostPath": {"paths": ["/ssd"], "quotas": ["2Gi"], "type": "Directory"}},
    ]
    wanted = cache(worker={"tieredStore": {"levels": levels}})
    spec = pod(wanted)
    first = spec["containers"][0]
    assert first["resources"] == {"limits": {"memory": str((1 << 30) * 5 // 2)}}
    by_name = {volume["name"]: volume for volume in spec["volumes"]}
    assert by_name["tiered-store-level-0-memory"]["emptyDir"] == {"sizeLimit": "1Gi", "medium": "Memory"}
    assert by_name["tiered-store-level-2-index-0"]["hostPath"] == {"path": "/ssd", "type": "Directory"}
    mounted = {m["mountPath"]: m for m in first["volumeMounts"]}
    assert "/etc/fluid/mount/tiered-store/level-1-index-0-emptydir" in mounted
    # Only a directory of its own, which is all that is removed.
    assert mounted["/etc/fluid/mount/tiered-store/level-2-index-0-hostpath"]["subPath"] == "demo/data/worker"
    assert "--remove=/ssd/demo/data" in BACKEND.clean(wanted).pod["containers"][0]["args"]


def test_masters_and_workers_have_the_secrets_and_clients_do_not() -> None:
    def paths(wanted: Cache, role: str) -> set[str]:
        return {m["mountPath"] for m in pod(wanted, role)["containers"][0]["volumeMounts"]}

    there = "/etc/fluid/secrets/keys"
    assert [there in paths(cache(), role) for role in ("master", "worker", "client")] == [True, True, False]
    turned = cacheclass()
    for role, part in turned["topology"].items():
        part["dependencies"] = {"secretMount": {"enabled": role == "client"}}
    assert [there in paths(cache(turned), role) for role in ("master", "worker", "client")] == [
        *(False, False, True)
    ]


def test_config_maps_of_a_class_are_each_caches_own() -> None:
    extra = {"configMaps": [{"name": "scripts", "data": {"run": "exec c"}}]}
    given = cacheclass(extraResources=extra)
    wanted = {"extraResources": {"configMaps": [{"name": "scripts", "mountPath": "/scripts"}]}}
    given["topology"]["worker"]["dependencies"] = wanted
    given["topology"]["worker"]["template"]["spec"]["volumes"] = [
        {"name": "v", "configMap": {"name": "scripts"}},
        {"name": "w", "configMap": {"name": "another"}},
    ]
    assert made(cache(given))[CONFIGMAPS.plural, "data-scripts"]["data"] == {"run": "exec c"}
    spec = pod(cache(given))
    named = [v["configMap"]["name"] for v in spec["volumes"] if "configMap" in v]
    assert sorted(named) == ["another", "data-scripts", "data-scripts", "fluid-runtime-config-data"]
    assert "/scripts" in {m["mountPath"] for m in spec["containers"][0]["volumeMounts"]}
    assert given["topology"]["worker"]["template"]["spec"]["volumes"][0]["configMap"]["name"] == "scripts"


def test_a_runtime_overrides_its_class() -> None:
    own = {
        "runtimeVersion": {"imageTag": "2", "imagePullPolicy": "Always"},
        "args": ["own"],
        "env": [{"name": "MORE", "value": "2"}],
        "resources": {"requests": {"cpu": "1"}},
        "nodeSelector": {"m": "2"},
        "tolerations": [{"key": "u", "operator": "Exists"}],
        "podMetadata": {"labels": {"l": "own"}, "annotations": {"a": "own"}},
        "volumeMounts": [{"name": "v", "mountPath": "/v"}],
    }
    volumes = [{"name": "v", "emptyDir": {}}, {"name": "unused", "emptyDir": {}}]
    common = {"labels": {"l": "runtime", "m": "runtime"}, "annotations": {"b": "runtime"}}
    for role in ("worker", "client"):
        wanted = cache(volumes=volumes, podMetadata=common, imagePullSecrets=[{"name": "s"}], **{role: own})
        spec, first = pod(wanted, role), pod(wanted, role)["containers"][0]
        assert (first["image"], first["imagePullPolicy"]) == ("example.org/c:2", "Always")
        assert (first["args"], first["resources"]) == (["own"], {"requests": {"cpu": "1"}})
        assert "MORE" in [each["name"] for each in first["env"]]
        assert spec["nodeSelector"] == {"n": "1", "m": "2"}
        assert [t["key"] for t in spec["tolerations"]] == ["t", "u"]
        assert spec["imagePullSecrets"] == [{"name": "s"}]
        assert "v" in (names := [v["name"] for v in spec["volumes"]])
        assert "unused" not in names
        plural = DAEMONSETS.plural if role == "client" else STATEFULSETS.plural
        metadata = made(wanted)[plural, f"data-{role}"]["spec"]["template"]["metadata"]
        assert metadata["labels"].items() >= {"l": "own", "m": "runtime"}.items()
        assert metadata["annotations"].items() >= {"a": "own", "b": "runtime"}.items()


def test_what_a_class_wants_of_nodes_is_kept() -> None:
    given = cacheclass()
    needs = [{"key": "disk", "operator": "Exists"}]
    rule = {"nodeSelectorTerms": [{"matchExpressions": needs}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": rule}}
    given["topology"]["worker"]["template"]["spec"]["affinity"] = affinity
    found = pod(cache(given))["affinity"]
    assert found["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] == rule
    assert found["podAntiAffinity"]  # ours


def test_clients_share_their_mount() -> None:
    spec = pod(cache(), "client")
    first = spec["containers"][0]
    assert first["securityContext"]["privileged"]
    assert first["readinessProbe"]
    assert [m for m in first["volumeMounts"] if m.get("mountPropagation") == "Bidirectional"]
    assert spec["initContainers"][-1]["name"] == "prepare-mount"


@pytest.mark.parametrize(("masters", "role"), [({}, "master"), ({"disabled": True}, "worker")])
def test_commands_run_in_the_master_or_else_the_worker(masters: Json, role: str) -> None:
    wanted = cache(master=masters)
    mount, report = BACKEND.prepare(wanted), BACKEND.summary(wanted)
    assert mount is not None
    assert report is not None
    assert (mount.role, mount.command, mount.timeout) == (role, ["mount-all"], 20.0)
    assert (report.role, report.command, report.timeout) == (role, ["report"], 90.0)
    other = BACKEND.prepare(cache(mounts=MOUNTS[:1], master=masters))
    assert other is not None
    assert other.inputs != mount.inputs
    assert ("master" in configuration(wanted)) == (role == "master")


def test_mounted_is_what_the_program_says_is_mounted() -> None:
    assert BACKEND.prepared(cache(), '{"mounted": ["/deep/b", "/a"]}\n') == ""
    assert "/a is not mounted yet" in BACKEND.prepared(cache(), '{"mounted": ["/deep/b"]}')
    assert "/old is still mounted" in BACKEND.prepared(cache(), '{"mounted": ["/a", "/deep/b", "/old"]}')
    for nothing in ("", "done", "[]", "{}"):
        assert "mountUFS printed" in BACKEND.prepared(cache(), nothing)


@pytest.mark.parametrize(
    ("printed", "state"),
    [
        (
            '{"cached": "1.5GiB", "cachedPercentage": "9%", "cacheCapacity": "2GiB", '
            '"cacheHitRatio": "12.5%"}',
            CacheState(3 << 29, 1 << 31, 0.125),
        ),
        ('{"cached": 7, "cacheCapacity": "9", "cacheHitRatio": ""}', CacheState(7, 9, None)),
        ("{}", CacheState()),
        ("not yet", CacheState()),
    ],
)
def test_the_state_is_what_the_program_reports(printed: str, state: CacheState) -> None:
    assert BACKEND.summarize(cache(), printed) == state


def load(**spec: Any) -> DataLoad:
    return from_dict(DataLoad, {"metadata": {"name": "l"}, "spec": spec})


def test_a_load_is_the_classs_own_command() -> None:
    assert BACKEND.warm(cache(), load()) is None
    given = cacheclass(dataOperationSpecs=[{"name": "DataLoad", "command": ["sh", "-c"], "args": ["load"]}])
    targets = [{"path": "/a", "replicas": 2}, {"path": "/deep"}]
    task = BACKEND.warm(cache(given), load(loadMetadata=True, target=targets))
    assert task is not None
    assert task.once
    (container,) = task.pod["containers"]
    assert container["image"] == "example.org/c:1"  # the worker's
    assert (container["command"], container["args"]) == (["sh", "-c"], ["load"])
    told = {each["name"]: each["value"] for each in container["env"]}
    assert told["FLUID_DATALOAD_METADATA"] == "true"
    assert told["FLUID_DATALOAD_DATA_PATH"] == "/a:/deep"
    assert told["FLUID_DATALOAD_PATH_REPLICAS"] == "2:1"
    assert told["FLUID_RUNTIME_CONFIG_PATH"] == "/etc/fluid/config/runtime.json"
    assert "/etc/fluid/config" in {m["mountPath"] for m in container["volumeMounts"]}
    assert BACKEND.load_problems(cache(given), load(options={"a": "b"}))


def test_operations_that_have_no_contract_are_refused_where_they_are_used() -> None:
    migration = Migration((Source("s3://bucket/a", "a", "/a"),), "", Source("s3://other", "o", "/"))
    assert isinstance(BACKEND.migrate(cache(), migration), Task)
    assert BACKEND.backup(cache(), Backup("local:///b")) is None
    specs = [{"name": name, "command": ["c"]} for name in ("DataMigrate", "DataBackup")]
    given = cache(cacheclass(dataOperationSpecs=specs))
    assert "from: CacheRuntimeClass c: dataOperationSpecs[0]" in str(BACKEND.migrate(given, migration))
    assert "spec.dataset: CacheRuntimeClass c: dataOperationSpecs[1]" in str(
        BACKEND.backup(given, Backup("local:///b"))
    )


def test_no_replicas_are_no_pods() -> None:
    wanted = cache(worker={"replicas": 0})
    assert (STATEFULSETS.plural, "data-worker") not in made(wanted)
    assert configuration(wanted)["worker"]["replicas"] == 0


def test_a_class_that_comes_later_is_waited_for() -> None:
    bare = cache()
    (problem,) = BACKEND.validate(Cache(bare.dataset, bare.runtime, bare.sources, bare.image))
    assert isinstance(problem, Missing)
    assert "CacheRuntimeClass c does not exist" in problem
    assert BACKEND.clean(Cache(bare.dataset, bare.runtime, bare.sources, bare.image)).pod


def changed(*steps: Any, value: Any) -> Json:
    """The class with one thing changed."""
    given = copy.deepcopy(cacheclass(extraResources={"configMaps": [{"name": "m"}]}))
    at: Any = given
    for step in steps[:-1]:
        at = at.setdefault(step, {}) if isinstance(at, dict) else at[step]
    at[steps[-1]] = value
    return given


def tiers(*levels: Json) -> Json:
    return {"worker": {"tieredStore": {"levels": list(levels)}}}


@pytest.mark.parametrize(
    ("given", "spec", "message"),
    [
        (None, {"client": {"disabled": True}}, "spec.client.disabled: without a client"),
        (None, {"client": {"volumeMounts": [{"name": "x"}]}}, "spec.client.volumeMounts[0].name"),
        (None, tiers({}), "levels[0]: it has no medium"),
        (
            None,
            tiers({"emptyDir": {"quota": "1"}, "processMemory": {"quota": "1"}}),
            "processMemory and emptyDir",
        ),
        (None, tiers(*[{"processMemory": {"quota": "1Gi"}}] * 2), "two are processMemory"),
        (None, tiers({"emptyDir": {"quota": "0"}}), "emptyDir.quota: '0' must be"),
        (None, tiers({"hostPath": {"paths": ["/a", "/b"], "quotas": ["1"]}}), "2 paths and 1 quotas"),
        (None, tiers({"hostPath": {"paths": ["a"], "quotas": ["1"]}}), "'a' is not an absolute path"),
        (
            None,
            tiers({"hostPath": {"paths": ["/a"], "quotas": ["1"], "type": "File"}}),
            "hostPath.type: File is no directory",
        ),
        (None, tiers({"emptyDir": {"quota": "1Gi"}, "high": "2"}), "levels[0].high: '2'"),
        (
            changed("topology", "worker", "template", "spec", value={}),
            {},
            "topology.worker.template.spec.containers",
        ),
        (
            changed(
                *("topology", "worker", "dependencies", "extraResources", "configMaps"),
                value=[{"name": "none", "mountPath": "m"}],
            ),
            {},
            "configMaps[0].name: extraResources.configMaps has no 'none'",
        ),
        (
            changed("dataOperationSpecs", value=[{"name": "DataLoad"}]),
            {},
            "dataOperationSpecs[0]: neither command",
        ),
        (
            changed("topology", value={}),
            {"worker": {"args": ["a"]}},
            "CacheRuntimeClass c has no topology.worker",
        ),
    ],
)
def test_what_is_wrong_is_said_with_the_field(given: Json | None, spec: Json, message: str) -> None:
    assert any(message in problem for problem in BACKEND.validate(cache(given, **spec)))
