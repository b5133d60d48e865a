"""Which directories of nodes users may name."""

from __future__ import annotations

from typing import Any

import pytest

from addon_framework.api.meta import Json
from addons.cache_runtime.agent.operations.backup import Backup
from addons.cache_runtime.agent.operations.kinds import RefusedError
from addons.cache_runtime.plugin import CacheRuntime
from runtimes.interface import Cache
from runtimes.node_directories import NodeDirectories

ANY = NodeDirectories()


def cache(namespace: str = "demo", name: str = "model", dataset: Json | None = None, **spec: Any) -> Cache:
    metadata: Json = {"namespace": namespace, "name": name}
    runtime: Json = {"kind": "LocalRuntime", "metadata": metadata, "spec": spec}
    return Cache.of({"metadata": metadata, "spec": dataset or {}}, runtime, image="us")


def tier(path: str) -> Json:
    return {"levels": [{"mediumtype": "SSD", "path": path}]}


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/",
            "//",
            "/etc",
            "/etc/kubernetes/manifests",
            "//etc//cron.d/",
            "/./etc",
            "/root/.ssh",
            "/home/me",
        ),
        *("/usr/local/bin", "/lib64", "/proc", "/sys/fs", "/dev", "/dev/sda", "/run", "/var/run/x", "/boot"),
        *(
            "/var",
            "/var/lib",
            "/var/lib/kubelet/pods",
            "/var/lib/etcd",
            "/var/lib/rancher/k3s",
            "/opt/cni/bin",
        ),
        *("/var/lib/docker", "/var/lib/docker/volumes/x", "/mnt/../etc"),
    ],
)
def test_the_system_of_nodes_is_nobodys_to_name(path: str) -> None:
    assert ANY.problem(path)


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/dev/shm",
            "/dev/shm/jindo",
            "/mnt/ssd0/cache",
            "/data/subpath1/",
            "/etcetera",
            "/tmp/x",
            "/srv/models",
        ),
        *("/var/lib/docker/alluxio", "/var/jfsCache", "/alluxio/ram", "/path/to/ssd/mount", "/var/cache/x"),
        "/var/lib/boundaryless/cache",
    ],
)
def test_what_fluids_samples_and_people_name_is_possible(path: str) -> None:
    assert ANY.problem(path) == ""


def test_a_list_of_the_clusters_own_takes_the_place_of_that_rule() -> None:
    listed = NodeDirectories.of("/mnt/ssd, /home/caches/")
    assert listed.problem("/mnt/ssd/a") == ""
    assert listed.problem("/home/caches") == ""
    assert listed.problem("/var/lib/boundaryless/cache") == "", "the default's own"
    for path in ("/mnt/ssd1", "/dev/shm", "/data", "/mnt/ssd/../x"):
        assert listed.problem(path)
    assert "NODE_DIRECTORIES" in listed.problem("/data")


def test_a_tier_is_judged_with_the_names_that_follow_it() -> None:
    assert ANY.problems(cache(tieredstore=tier("/mnt/a,/dev/shm"))) == []
    (wrong,) = ANY.problems(cache("kubelet", "pods", tieredstore=tier("/var/lib")))
    assert wrong.startswith(
        "LocalRuntime kubelet/pods: spec.tieredstore.levels[0].path: /var/lib/kubelet/pods"
    )
    (wrong,) = ANY.problems(cache(tieredstore=tier("/mnt/a,/etc")))
    assert "/etc/demo/model" in wrong


def test_volumes_sources_and_backups_are_judged_too() -> None:
    volume = {"name": "x", "hostPath": {"path": "/etc/kubernetes"}}
    of_part = {
        "tieredStore": {"levels": [{"hostPath": {"paths": ["/mnt/a", "/usr"], "quotas": ["1Gi", "1Gi"]}}]}
    }
    dataset = {
        "mounts": [{"mountPoint": "local:///mnt/data"}, {"mountPoint": "file:///etc/ssl"}],
        "dataRestoreLocation": {"path": "local:///var/lib/etcd", "nodeName": "n"},
    }
    fields = [
        each.split(": ")[1] for each in ANY.problems(cache(dataset=dataset, volumes=[volume], worker=of_part))
    ]
    assert fields == [
        "spec.volumes[0].hostPath.path",
        "spec.worker.tieredStore.levels[0].hostPath.paths",
        "spec.mounts[1].mountPoint",
        "spec.dataRestoreLocation.path",
    ]


def test_a_backup_goes_where_it_may() -> None:
    def check(path: str, *allowed: str) -> None:
        op = {"kind": "DataBackup", "metadata": {"namespace": "demo", "name": "b"}}
        Backup(NodeDirectories(allowed)).check({**op, "spec": {"dataset": "d", "backupPath": path}})

    check("local:///backups/demo")
    check("pvc://kept/etc")
    check("local:///etc/backups", "/etc/backups")
    with pytest.raises(
        RefusedError, match=r"DataBackup demo/b: spec\.backupPath: /etc/cron\.d of nodes is not in /x"
    ):
        check("local:///etc/cron.d", "/x")
    with pytest.raises(RefusedError, match=r"spec\.backupPath: /etc/cron\.d belongs to the system of nodes"):
        check("local:///etc/cron.d")


def test_the_agent_is_told_by_a_variable_of_the_add_ons_configuration() -> None:
    values = {"cluster_name": "c", "install_namespace": "n", "NODE_DIRECTORIES": "/mnt/ssd"}
    made = CacheRuntime().addon_manifests(cluster={}, addon={}, values=values)
    (deployment,) = [obj for obj in made if obj["kind"] == "Deployment"]
    env = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {"name": "NODE_DIRECTORIES", "value": "/mnt/ssd"} in env
