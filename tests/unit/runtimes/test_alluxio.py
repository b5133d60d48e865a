"""What the `alluxio` backend describes, and what its scripts ask of Alluxio: a program that stands for it."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from addon_framework.api.data import DataLoad
from addon_framework.api.meta import Json, from_dict
from addon_framework.testing import eventually
from runtimes.alluxio import AlluxioBackend
from runtimes.alluxio.commands import SUMMARY, start
from runtimes.backup_pods import restore_problems
from runtimes.backups import described
from runtimes.interface import Backup, Cache, Task
from runtimes.pods import on_node
from tests.standins.installing import install

BACKEND = AlluxioBackend()
SPARK = {"mountPoint": "https://example.org/spark", "name": "spark", "readOnly": True}
KEYS = [{"name": "aws.accessKeyId", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "id"}}}]
HBASE = {"mountPoint": "s3://data/hbase", "name": "hbase", "options": {"a": "b c"}, "encryptOptions": KEYS}
MEMORY = {"levels": [{"mediumtype": "MEM", "path": "/dev/shm", "quota": "2Gi", "high": "0.95", "low": "0.7"}]}

Shell = Callable[[str], subprocess.CompletedProcess[str]]


def cache(*mounts: Json, dataset: Json | None = None, ports: Json | None = None, **spec: Any) -> Cache:
    metadata: Json = {"namespace": "demo", "name": "hbase", "uid": "u"}
    annotations = {"data.boundaryless.io/ports": json.dumps(ports)} if ports else {}
    made: Json = {"metadata": metadata, "spec": {"mounts": list(mounts or (SPARK, HBASE)), **(dataset or {})}}
    runtime: Json = {"kind": "AlluxioRuntime", "metadata": {**metadata, "annotations": annotations}}
    return Cache.of(made, {**runtime, "spec": {"replicas": 2, "tieredstore": MEMORY, **spec}}, image="us")


def network(**section: Any) -> Json:
    """Of a part that does not share its node's network."""
    return {"networkMode": "ContainerNetwork", **section}


def options(made: Cache, name: str = "ALLUXIO_JAVA_OPTS") -> dict[str, str]:
    """The properties in one of the variables."""
    config = BACKEND.components(made)[0].config_maps["hbase-config"][name]
    return dict(text[2:].split("=", 1) for text in config.split() if text.startswith("-D"))


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """bash with that program on PATH, and an entry point that says what it was called with."""
    install(tmp_path, "alluxio", "alluxio")
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin", "ALLUXIO_STATE": str(tmp_path / "state.json")}
    env["TMPDIR"] = str(tmp_path)
    env |= {"PATHS": "/spark\n/hbase", "COPIES": "1\n2", "METADATA": "", "PIN": "true"}

    def run(script: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["bash", "-c", script], env=env, capture_output=True, text=True, check=False)

    return run


def asked(tmp_path: Path) -> list[str]:
    """The commands so far."""
    return [" ".join(words) for words in json.loads((tmp_path / "state.json").read_text())["log"]]


def test_masters_workers_and_clients_are_named_as_fluids() -> None:
    made = cache(master={"replicas": 3, **network()}, worker=network(), apiGateway={"enabled": True})
    assert BACKEND.validate(made) == []
    master, worker, client = BACKEND.components(made)
    assert (master.replicas, worker.replicas, client.replicas) == (3, 2, None)
    assert [c["name"] for c in master.pod["containers"]] == [
        "alluxio-master",
        "alluxio-job-master",
        "api-gateway",
    ]
    assert [c["name"] for c in worker.pod["containers"]] == ["alluxio-worker", "alluxio-job-worker"]
    assert [service.name for service in master.services] == [f"hbase-master-{n}" for n in range(3)]
    assert master.services[0].ports["rpc"] == 19998
    assert master.services[0].ports["rest"] == 39999
    said = options(made)
    assert said["alluxio.master.journal.type"] == "EMBEDDED"
    voters = "hbase-master-0:19200,hbase-master-1:19200,hbase-master-2:19200"
    assert said["alluxio.master.embedded.journal.addresses"] == voters
    assert BACKEND.hcfs(made) == "alluxio://hbase-master-0.demo:19998"
    assert BACKEND.gateway(made) == "hbase-master-0.demo:39999"


def test_in_nodes_networks_ports_are_those_that_were_allocated() -> None:
    wanted = BACKEND.host_ports(cache())
    assert wanted[:2] == ["master.rpc", "master.web"]
    assert len(wanted) == 9
    made = cache(ports={name: 20000 + n for n, name in enumerate(wanted)})
    assert options(made)["alluxio.master.rpc.port"] == "20000"
    assert BACKEND.components(made)[0].pod["hostNetwork"] is True
    assert BACKEND.host_ports(cache(master=network(), worker=network())) == []
    chosen = cache(master={"ports": {"rpc": 1234}}, ports={"master.rpc": 20000})
    assert options(chosen)["alluxio.master.rpc.port"] == "1234"


def test_ports_may_be_said_by_properties_and_by_fluids_names() -> None:
    said = {"alluxio.master.rpc.port": "26998", "alluxio.proxy.web.port": "30077"}
    gateway = {"apiGateway": {"enabled": True, "ports": {"web": 1}}}
    made = cache(properties=said, **gateway)
    assert not {"master.rpc", "apiGateway.rest"} & set(BACKEND.host_ports(made))
    assert BACKEND.hcfs(made) == "alluxio://hbase-master-0.demo:26998"
    assert BACKEND.gateway(made) == "hbase-master-0.demo:30077"
    assert BACKEND.components(made)[0].services[0].ports["rpc"] == 26998
    assert BACKEND.gateway(cache(**gateway)) == "hbase-master-0.demo:1"
    voters = cache(master={"replicas": 3, "ports": {"embeddedJournal": 77}})
    assert options(voters)["alluxio.master.embedded.journal.port"] == "77"
    assert BACKEND.validate(made) == BACKEND.validate(voters) == []


def test_a_runtimes_properties_win_over_ours_and_a_parts_come_last() -> None:
    own = {"alluxio.user.block.size.bytes.default": "1MB", "alluxio.user.file.replication.max": "9"}
    made = cache(
        properties=own, worker={"properties": {"x": "y"}, "jvmOptions": ["-Xmx1G"]}, data={"replicas": 2}
    )
    assert options(made)["alluxio.user.block.size.bytes.default"] == "1MB"
    assert options(made)["alluxio.user.file.replication.max"] == "2"  # data.replicas is what says it
    worker = BACKEND.components(made)[0].config_maps["hbase-config"]["ALLUXIO_WORKER_JAVA_OPTS"]
    assert worker.endswith("-Dx=y -Xmx1G")


def test_tiers_are_volumes_of_workers_and_of_the_clients_beside_them() -> None:
    _, worker, client = BACKEND.components(cache())
    path = "/dev/shm/demo/hbase"
    assert options(cache())["alluxio.worker.tieredstore.level0.dirs.path"] == path
    assert options(cache())["alluxio.worker.tieredstore.level0.dirs.quota"] == "2GB"
    assert options(cache())["alluxio.worker.tieredstore.level0.watermark.high.ratio"] == "0.95"
    for component in (worker, client):
        mounts = component.pod["containers"][0]["volumeMounts"]
        assert path in [mounted["mountPath"] for mounted in mounts]
    assert worker.pod["containers"][0]["resources"]["requests"]["memory"] == str(2 << 30)
    clean = json.dumps(BACKEND.clean(cache()).pod)
    assert f"--remove={path}" in clean
    name = "alluxio.user.short.circuit.enabled"
    assert name not in options(cache())
    inside = {"levels": [{**MEMORY["levels"][0], "volumeType": "emptyDir"}]}
    assert options(cache(tieredstore=inside))[name] == "false", "clients cannot open the workers' files"


def test_secrets_are_files_that_only_alluxio_reads(shell: Shell, tmp_path: Path) -> None:
    made = cache()
    (tmp_path / "id").write_text("sesame")
    for component in BACKEND.components(made)[:2]:
        volumes = [v["secret"]["secretName"] for v in component.pod["volumes"] if "secret" in v]
        assert volumes == ["keys"]
    assert "sesame" not in json.dumps([c.pod for c in BACKEND.components(made)])
    (tmp_path / "conf").mkdir()
    script = start({"aws.accessKeyId": str(tmp_path / "id")}).replace("/entrypoint.sh", "echo")
    done = shell(f"set -- master-only; export ALLUXIO_HOME={tmp_path}\n{script}")
    assert done.stdout == "master-only\n", done.stderr
    site = tmp_path / "conf" / "alluxio-site.properties"
    assert site.read_text() == "aws.accessKeyId=sesame\n"
    assert site.stat().st_mode & 0o077 == 0


def test_a_single_source_is_the_root() -> None:
    made = cache({**SPARK, "path": "/", "options": {"k": "v"}})
    assert options(made)["alluxio.master.mount.table.root.ufs"] == "https://example.org/spark"
    assert options(made)["k"] == "v"
    assert options(made)["alluxio.master.mount.table.root.readonly"] == "true"
    writable = cache({**SPARK, "path": "/", "readOnly": False}, dataset={"accessModes": ["ReadWriteMany"]})
    assert options(writable)["alluxio.master.mount.table.root.readonly"] == "false"
    assert options(made)["alluxio.user.block.size.bytes.default"] == "256MB"  # since all are of the web
    assert options(cache())["alluxio.master.mount.table.root.ufs"] == "/underFSStorage"


def test_sources_of_the_node_and_claims_are_volumes() -> None:
    made = cache(
        {"mountPoint": "local:///data/x", "name": "x"}, {"mountPoint": "pvc://claim/sub", "name": "y"}
    )
    assert BACKEND.validate(made) == []
    pod = BACKEND.components(made)[1].pod
    assert {"name": "source-0", "hostPath": {"path": "/data/x", "type": "Directory"}} in pod["volumes"]
    mounts = {m["mountPath"]: m for m in pod["containers"][0]["volumeMounts"]}
    assert mounts["/underFSStorage/x"]["readOnly"] is True
    assert mounts["/underFSStorage/y"]["subPath"] == "sub"


def test_the_user_of_run_as_is_known_and_owns_the_tiers() -> None:
    user = {"uid": 1201, "gid": 1202, "user": "fluid", "group": "fluids"}
    worker = BACKEND.components(cache(runAs=user))[1].pod
    assert worker["containers"][0]["securityContext"] == {"runAsUser": 1201, "runAsGroup": 1202}
    (init,) = worker["initContainers"]
    assert init["command"][-1] == "/dev/shm/demo/hbase"
    assert {"name": "USER_ID", "value": "1201"} in init["env"]
    master = BACKEND.components(cache(runAs=user))[0].pod
    assert master["initContainers"][0]["command"][4:] == ["/alluxio_backups"]
    task = BACKEND.backup(cache(runAs=user), Backup("pvc://kept"))
    assert isinstance(task, Task)
    assert {"name": "OWNER", "value": "1201:1202"} in task.pod["containers"][0]["env"]


def test_hadoops_configuration_is_the_users_config_map() -> None:
    made = cache(hadoopConfig="hdfs")
    assert options(made)["alluxio.underfs.hdfs.configuration"].startswith("/hdfs-config/hdfs-site.xml:")
    assert {"name": "hdfs-confs", "configMap": {"name": "hdfs"}} in BACKEND.components(made)[0].pod["volumes"]


def test_clients_mount_as_the_dataset_says() -> None:
    owner = {"owner": {"uid": 7, "gid": 8, "user": "a", "group": "b"}, "accessModes": ["ReadWriteMany"]}
    args = BACKEND.components(cache(dataset=owner))[2].pod["containers"][0]["args"]
    assert args == [
        "fuse",
        "--fuse-opts=kernel_cache,rw,uid=7,gid=8,allow_other",
        "/var/lib/boundaryless/mounts/demo/hbase",
        "/",
    ]
    second = {"alluxio.fuse.jnifuse.libfuse.version": "2"}
    for tag, ends in (("release-2.8.1-SNAPSHOT", "/"), ("nightly", "/"), ("2.3.0-SNAPSHOT", "allow_other")):
        client = BACKEND.components(cache(properties=second, fuse={"imageTag": tag}))[2].pod["containers"][0]
        assert client["args"][1].startswith("--fuse-opts=kernel_cache,ro,max_read=131072,attr_timeout=7200,")
        assert client["args"][-1].endswith(ends), "before 2.8 it is a variable that says where"
        assert {"name": "MOUNT_POINT", "value": "/var/lib/boundaryless/mounts/demo/hbase"} in client["env"]


def test_sources_are_mounted_and_unmounted_while_it_runs(shell: Shell, tmp_path: Path) -> None:
    assert shell(BACKEND.prepare(cache()).command[-1]).returncode == 0
    mounts = json.loads((tmp_path / "state.json").read_text())["mounts"]
    assert mounts == {"/": "/u", "/spark": "https://example.org/spark", "/hbase": "s3://data/hbase"}
    assert "fs mount --readonly /spark https://example.org/spark" in asked(tmp_path)
    assert "fs mount --option a=b c /hbase s3://data/hbase" in asked(tmp_path)
    before = len(asked(tmp_path))
    assert shell(BACKEND.prepare(cache()).command[-1]).returncode == 0  # again: nothing to do
    assert asked(tmp_path)[before:] == ["fsadmin report", "fs mount"]
    other = {"mountPoint": "s3://data/new", "name": "new"}
    assert shell(BACKEND.prepare(cache(SPARK, other)).command[-1]).returncode == 0
    mounts = json.loads((tmp_path / "state.json").read_text())["mounts"]
    assert sorted(mounts) == ["/", "/new", "/spark"]


def test_a_source_is_mounted_though_another_begins_like_it(shell: Shell, tmp_path: Path) -> None:
    long = {"mountPoint": "s3://data/ab", "name": "ab"}
    short = {"mountPoint": "s3://data/a", "name": "a"}
    for mounts in ([long], [long, short], [short]):
        assert shell(BACKEND.prepare(cache(*mounts)).command[-1]).returncode == 0
        mounted = json.loads((tmp_path / "state.json").read_text())["mounts"]
        assert mounted == {"/": "/u"} | {f"/{m['name']}": m["mountPoint"] for m in mounts}


def test_a_mount_that_says_something_else_is_changed(shell: Shell, tmp_path: Path) -> None:
    one = {"mountPoint": "s3://data/a", "name": "a", "options": {"k": "1"}}
    for mount, command in (
        (one, "fs mount --option k=1 /a s3://data/a"),
        ({**one, "options": {"k": "2"}}, "fs updateMount --option k=2 /a"),
        ({**one, "mountPoint": "s3://other", "options": {"k": "2"}}, "fs mount --option k=2 /a s3://other"),
        ({**one, "mountPoint": "s3://other/", "options": {}}, "fs updateMount /a"),
    ):
        done = shell(BACKEND.prepare(cache(mount)).command[-1])
        assert done.returncode == 0, done.stderr
        assert asked(tmp_path)[-1] == command
    assert json.loads((tmp_path / "state.json").read_text())["mounts"]["/a"] == "s3://other"


def test_the_state_is_what_alluxio_reports(shell: Shell) -> None:
    done = shell(SUMMARY)
    state = BACKEND.summarize(cache(), done.stdout)
    assert (state.cached, state.capacity) == (512 << 20, 2 << 30)
    assert state.hit_ratio == pytest.approx(0.8)
    assert (state.local, state.remote) == (0.75, 0.125)


async def test_what_we_cannot_list_alluxio_counts_unless_it_shall_not(shell: Shell, tmp_path: Path) -> None:
    hdfs = {"mountPoint": "hdfs://namenode:8020/x", "name": "x"}
    made = cache(HBASE, hdfs)

    def told() -> tuple[int, int] | None:
        return BACKEND.summarize(made, shell(BACKEND.summary(made).command[-1]).stdout).source

    await eventually(lambda: told() == (1536, 42))
    never = {"metadataSyncPolicy": {"autoSync": False}}
    for given in (cache(HBASE), cache(HBASE, hdfs, management=never)):
        assert "count" not in BACKEND.summary(given).command[-1]


def test_a_load_asks_the_workers_once_and_reports(shell: Shell, tmp_path: Path) -> None:
    task = BACKEND.warm(
        cache(data={"pin": True}), from_dict(DataLoad, {"metadata": {"name": "l"}, "spec": {}})
    )
    assert task.once
    script = task.pod["containers"][0]["command"][-1]
    done = shell(script)
    assert [json.loads(line)["report"] for line in done.stdout.splitlines() if line.startswith("{")] == [
        "start",
        "done",
    ]
    assert "fs setReplication --max 2 -R /hbase" in asked(tmp_path)
    assert "fs distributedLoad --replication 2 /hbase" in asked(tmp_path)
    assert "fs pin /spark" in asked(tmp_path)


def test_a_load_of_what_is_not_there_says_so(shell: Shell) -> None:
    task = BACKEND.warm(cache(), from_dict(DataLoad, {"metadata": {"name": "l"}, "spec": {}}))
    done = shell("PATHS=/missing/x; COPIES=1\n" + task.pod["containers"][0]["command"][-1])
    assert done.returncode == 1
    said = json.loads(done.stdout.splitlines()[-1])
    assert (said["report"], said["message"]) == ("failed", "Path /missing/x does not exist.")


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (cache(SPARK, SPARK), "spec.mounts: two have the path /spark"),
        (cache(SPARK, {**HBASE, "path": "/"}), "spec.mounts[1].path: '/' must be /name"),
        (cache(master={"replicas": 2}), "spec.master.replicas: 2 masters cannot vote"),
        (cache(worker={"replicas": 2}), "spec.worker.replicas: is spec.replicas"),
        (
            cache(properties={"alluxio.worker.web.port": "x"}),
            "spec.properties.alluxio.worker.web.port: 'x' is not",
        ),
        (cache(worker={"ports": {"data": 1}}), "spec.worker.ports.data: there is no such port"),
        (cache(fuse={"properties": {"a": "b c"}}), "spec.fuse.properties.a: 'b c' has spaces"),
        (cache(worker={"volumeMounts": [{"name": "x"}]}), "spec.worker.volumeMounts[0].name"),
    ],
)
def test_what_cannot_be_is_said_with_the_field(made: Cache, said: str) -> None:
    (problem,) = BACKEND.validate(made)
    assert said in problem


def test_two_secrets_for_one_option_are_too_many() -> None:
    other = [{"name": "aws.accessKeyId", "valueFrom": {"secretKeyRef": {"name": "others", "key": "id"}}}]
    made = cache(HBASE, {"mountPoint": "s3://other", "name": "o", "encryptOptions": other})
    (problem,) = BACKEND.validate(made)
    assert "encryptOptions aws.accessKeyId: Alluxio has one value for all mounts" in problem


def test_a_backup_is_taken_from_the_master_and_described(shell: Shell, tmp_path: Path) -> None:
    task = BACKEND.backup(cache(), Backup("pvc://kept/here"))
    assert isinstance(task, Task)
    (container,) = task.pod["containers"]
    given = {each["name"]: each["value"] for each in container["env"]}
    assert given["BACKUP"] == "/boundaryless/backup/here"
    into = tmp_path / "kept"
    given |= {"BACKUP": str(into), "ALLUXIO_BACKUPS": str(tmp_path)}
    exports = "\n".join(f"export {name}={shlex.quote(value)}" for name, value in given.items())
    done = shell(f"{exports}\n{container['command'][-1]}")
    assert '"report": "done"' in done.stdout, done
    assert (into / "metadata-backup-hbase-demo.gz").read_bytes() == b"journal"
    assert described(into / "hbase-demo.yaml") == (1536, 42)
    failed = shell(f"{exports}\nunset ALLUXIO_BACKUPS\n{container['command'][-1]}")
    assert "no quorum" in json.loads(failed.stdout.splitlines()[-1])["message"]


def test_a_backup_of_several_masters_is_refused() -> None:
    said = BACKEND.backup(cache(master={"replicas": 3}), Backup("pvc://kept"))
    assert isinstance(said, str)
    assert "use one master" in said


def test_a_master_begins_from_a_backup_and_says_what_fluid_wrote(shell: Shell, tmp_path: Path) -> None:
    where = {"dataRestoreLocation": {"path": "local:///data/b", "nodeName": "node-1"}}
    made = cache(dataset=where)
    master = BACKEND.components(made)[0].pod
    assert master["affinity"] == on_node("node-1")
    init = options(made, "ALLUXIO_MASTER_JAVA_OPTS")["alluxio.master.journal.init.from.backup"]
    assert init == "/boundaryless/backup/metadata-backup-hbase-demo.gz"
    (tmp_path / "hbase-demo.yaml").write_text(
        "dataset: hbase\nnamespace: demo\nufstotal: 443.89MiB\nfilenum: 7\n"
    )
    names = f"RESTORE={tmp_path} DATASET_NAME=hbase DATASET_NAMESPACE=demo ALLUXIO_HOME={tmp_path}"
    (tmp_path / "conf").mkdir()
    said = json.loads(
        shell(f"export {names}\n{master['containers'][0]['command'][2]}").stdout.splitlines()[0]
    )
    assert (said["report"], said["bytes"], said["files"]) == ("restored", round(443.89 * (1 << 20)), 7)
    assert not restore_problems(BACKEND, made)
