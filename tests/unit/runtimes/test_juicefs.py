"""What JuiceFS's clients are told; the quota of a directory is set by the real program."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from addon_framework.api.meta import Json
from runtimes.interface import Backup, Cache, Task
from runtimes.juicefs import JuiceFSBackend
from runtimes.juicefs.scripts import FORMAT, SYNC
from runtimes.validation import notes, problems

BACKEND = JuiceFSBackend()
METAURL = {"name": "metaurl", "valueFrom": {"secretKeyRef": {"name": "jfs", "key": "metaurl"}}}
FILES: Json = {"mountPoint": "juicefs:///sub", "name": "fs1", "path": "/", "encryptOptions": [METAURL]}
BUCKET: Json = {"mountPoint": "s3://models/llama", "name": "llama", "path": "/"}


def cache(mount: Json, *, dataset: Json | None = None, **spec: Any) -> Cache:
    metadata = {"name": "llama", "namespace": "demo", "uid": "u"}
    made: Json = {"metadata": metadata, "spec": {"mounts": [mount], **(dataset or {})}}
    runtime: Json = {"kind": "JuiceFSRuntime", "metadata": metadata, "spec": spec}
    return Cache.of(made, runtime, image="agent")


def client(made: Cache) -> Json:
    assert problems(BACKEND, made) == []
    (component,) = BACKEND.components(made)
    return component.pod


def options(made: Cache) -> set[str]:
    return set(
        next(e["value"] for e in client(made)["containers"][0]["env"] if e["name"] == "OPTIONS").split()
    )


def test_a_tier_of_several_paths_and_how_much_stays_free() -> None:
    level = {"mediumtype": "SSD", "path": "/a:/b", "quota": "2Gi", "low": "0.2"}
    made = cache(FILES, tieredstore={"levels": [level]})
    wanted = {"--cache-dir=/a/demo/llama/cache:/b/demo/llama/cache", "--cache-size=2048"}
    assert wanted | {"--free-space-ratio=0.2"} <= options(made)
    assert {"name": "DIRECTORY", "value": "/a/demo/llama"} in client(made)["containers"][0]["env"]
    assert [v["hostPath"]["path"] for v in client(made)["volumes"][-2:]] == ["/a/demo/llama", "/b/demo/llama"]
    args = BACKEND.clean(made).pod["containers"][0]["args"]
    assert {"--remove=/a/demo/llama", "--remove=/b/demo/llama"} <= set(args)


def test_a_tier_in_the_pod_leaves_nothing_to_remove() -> None:
    level = {"mediumtype": "MEM", "path": "/c", "quota": "1Gi", "volumeType": "emptyDir"}
    made = cache(FILES, tieredstore={"levels": [level]})
    assert client(made)["volumes"][-1]["emptyDir"] == {"medium": "Memory", "sizeLimit": str(1 << 30)}
    assert not [a for a in BACKEND.clean(made).pod["containers"][0]["args"] if a.startswith("--remove")]
    (said,) = problems(BACKEND, cache(BUCKET, tieredstore={"levels": [level]}))
    assert "spec.tieredstore.levels[0].volumeType: must be hostPath" in said


def test_a_client_is_as_its_section_says() -> None:
    said = {
        "imagePullPolicy": "Always",
        "env": [{"name": "A", "value": "1"}],
        "networkMode": "ContainerNetwork",
        "nodeSelector": {"disk": "ssd"},
        "volumeMounts": [{"name": "ca", "mountPath": "/ca"}],
    }
    volumes = [{"name": name, "emptyDir": {}} for name in ("ca", "unused")]
    for mount in (FILES, BUCKET):
        pod = client(cache(mount, fuse=said, volumes=volumes))
        container = pod["containers"][0]
        assert container["imagePullPolicy"] == "Always"
        assert container["env"][-1] == {"name": "A", "value": "1"}
        assert pod["nodeSelector"] == {"disk": "ssd"}
        assert "hostNetwork" not in pod
        assert [v["name"] for v in pod["volumes"] if "emptyDir" in v] == ["ca"]
        assert client(cache(mount))["hostNetwork"] is True


def test_options_of_fuse_are_told_from_juicefs_own() -> None:
    said = {"cache-mode": "0644", "enable-xattr": "", "allow_other": "", "max_read": "131072", "ro": ""}
    made = next(
        e["value"]
        for e in client(cache(FILES, fuse={"options": said}))["containers"][0]["env"]
        if e["name"] == "OPTIONS"
    )
    assert made.startswith("-o allow_other,max_read=131072,ro --metrics=")
    assert made.endswith(" --cache-mode=0644 --enable-xattr")


def test_who_can_only_read_is_refused_by_the_node_or_else_by_juicefs() -> None:
    remounter = client(cache(FILES))["containers"][1]
    assert "--read-only" not in remounter["args"], "a warm-up writes to .control"
    assert "--read-only" in options(cache(FILES))
    assert "--read-only" in client(cache(BUCKET))["containers"][1]["args"]


def test_a_gateway_is_where_its_annotation_names_keys() -> None:
    made, copy = cache(FILES), cache(BUCKET)
    for each in (made, copy):
        annotation = {"data.boundaryless.io/gateway": "keys"}
        each.runtime["metadata"] = {**each.runtime["metadata"], "annotations": annotation}
    assert problems(BACKEND, made) == []
    gateway, _ = BACKEND.components(made)
    assert (gateway.name, gateway.services[0].ports) == ("llama-gateway", {"s3": 9000})
    assert BACKEND.gateway(made) == "llama-gateway.demo:9000"
    env = {each["name"]: each for each in gateway.pod["containers"][0]["env"]}
    assert env["MINIO_ROOT_PASSWORD"]["valueFrom"]["secretKeyRef"]["name"] == "keys"
    assert {"--subdir=/sub", "--read-only"} <= set(env["OPTIONS"]["value"].split())
    (said,) = problems(BACKEND, copy)
    assert "annotations.data.boundaryless.io/gateway: a copy of a bucket has none" in said


def test_a_mount_may_be_read_only_where_the_dataset_is_not() -> None:
    writable = {"accessModes": ["ReadWriteMany"]}
    assert "--read-only" not in options(cache(FILES, dataset=writable))
    assert "--read-only" in options(cache({**FILES, "readOnly": True}, dataset=writable))


@pytest.mark.parametrize(
    ("mount", "spec", "text"),
    [
        (FILES, {"volumeClaimTemplates": [{}]}, "spec.volumeClaimTemplates: there are no such pods"),
        (
            FILES,
            {"fuse": {"options": {"bucket": "b"}}},
            "spec.fuse.options.bucket: is of the Dataset's mount",
        ),
        (
            FILES,
            {"fuse": {"volumeMounts": [{"name": "x"}]}},
            "spec.fuse.volumeMounts[0].name: spec.volumes has",
        ),
        (
            {**FILES, "options": {"quota": "1Mi"}},
            {},
            "options.quota: '1Mi' must be a quantity of at least 1Gi",
        ),
        (
            {**FILES, "mountPoint": "juicefs:///", "options": {"quota": "1Gi"}},
            {},
            "options.quota: is of a dir",
        ),
        (
            BUCKET,
            {"tieredstore": {"levels": [{"mediumtype": "SSD", "path": "/a,/b"}]}},
            "is in one directory",
        ),
    ],
)
def test_what_cannot_be_is_said_with_the_field(mount: Json, spec: Json, text: str) -> None:
    (problem,) = problems(BACKEND, cache(mount, **spec))
    assert text in problem


def test_what_has_no_effect_is_said_with_the_field_and_why() -> None:
    said = notes(
        BACKEND, cache(FILES, replicas=2, worker={"resources": {"limits": {}}}, disablePrometheus=True)
    )
    assert [each.partition(": ")[2].partition(":")[0] for each in said] == [
        "spec.worker",
        "spec.disablePrometheus",
        "spec.replicas",
    ]
    assert all("JuiceFSRuntime demo/llama" in each for each in said)
    assert notes(BACKEND, cache(BUCKET, replicas=2)) == []


def test_what_a_file_system_has_is_what_its_clients_see() -> None:
    reports: list[Json] = [
        {"cached": 7, "total": 10, "totalFiles": 2},
        {"cached": 8, "total": 12, "totalFiles": 3},
    ]
    assert BACKEND.state(cache(FILES), reports).source == (12, 3)
    assert BACKEND.state(cache(BUCKET), [{"cached": 7}]).source is None
    env = client(cache(BUCKET))["containers"][0]["env"]
    assert {"name": "COPY", "value": "true"} in env, "whose source is the bucket"


def formatting(directory: Path, **more: str) -> subprocess.CompletedProcess[bytes]:
    """What a client does first, to a volume of this directory."""
    env = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "NAME": "fs1"}
    env |= {"METAURL": f"sqlite3://{directory}/meta.db", "DIRECTORY": str(directory), **more}
    env["FORMAT"] = f"--storage=file --bucket={directory}/blocks/"
    return subprocess.run(["sh", "-c", FORMAT], env=env, check=False, capture_output=True)


def test_a_directory_holds_no_more_than_its_quota(tmp_path: Path) -> None:
    made = cache({**FILES, "options": {"quota": "2Gi"}})
    given = {e["name"]: e.get("value", "") for e in client(made)["containers"][0]["env"]}
    assert (given["QUOTA"], given["QUOTA_PATH"]) == ("2", "/sub")
    for _ in range(2):  # a client that starts again sets it again
        done = formatting(tmp_path, QUOTA=given["QUOTA"], QUOTA_PATH=given["QUOTA_PATH"])
        assert done.returncode == 0
    program, url = Path(sys.executable).with_name("juicefs"), f"sqlite3://{tmp_path}/meta.db"
    listed = subprocess.run([program, "quota", "ls", url], capture_output=True, text=True, check=True)
    assert "2.0 GiB" in next(line for line in listed.stdout.splitlines() if "/sub" in line)


def test_a_client_whose_backup_is_broken_ends(tmp_path: Path) -> None:
    kept = tmp_path / "metadata-backup-llama-demo.gz"
    kept.write_bytes(b"nothing of the kind")
    names = {"DATASET_NAME": "llama", "DATASET_NAMESPACE": "demo"}
    assert formatting(tmp_path, RESTORE=str(tmp_path), RESTORE_NODE="", **names).returncode != 0


def test_a_copy_has_a_name_though_a_power_cut_left_it_without(tmp_path: Path) -> None:
    assert formatting(tmp_path, COPY="true").returncode == 0
    (tmp_path / "id").write_bytes(b"")
    names = set()
    for _ in range(2):
        assert formatting(tmp_path, COPY="true").returncode == 0
        names.add((tmp_path / "id").read_text().strip())
    (name,) = names  # which it keeps
    assert len(name) == 16


def test_a_juicefs_that_counts_in_other_words_still_says_that_it_is_done(tmp_path: Path) -> None:
    program, mine = Path(sys.executable).with_name("juicefs"), tmp_path / "bin/juicefs"
    mine.parent.mkdir()
    mine.write_text(f'#!/bin/sh\n[ "$1" = sync ] || exec {program} "$@"\necho Copied\n')
    mine.chmod(0o755)
    env = {"PATH": f"{mine.parent}:{os.environ['PATH']}", "NAME": "fs1", "DIRECTORY": str(tmp_path / "cache")}
    env |= {
        "METAURL": f"sqlite3://{tmp_path}/meta.db",
        "FORMAT": f"--storage=file --bucket={tmp_path}/blocks/",
    }
    env |= {"SOURCE": f"{tmp_path}/source/", "TARGETS": "", "LIMIT": "", "FLAGS": ""}
    with (tmp_path / "log").open("w") as log:  # a pipe would be open as long as its progress is told
        subprocess.run(["sh", "-c", SYNC], env=env, check=True, stdout=log)
    said = [found for line in (tmp_path / "log").read_text().splitlines() if (found := BACKEND.report(line))]
    assert "done" in [each["report"] for each in said]


def test_a_backup_finds_metadata_that_are_in_a_volume() -> None:
    volume = {"name": "shared", "hostPath": {"path": "/shared"}}
    mount = {"name": "shared", "mountPath": "/shared"}
    made = cache(FILES, volumes=[volume], fuse={"volumeMounts": [mount]})
    task = BACKEND.backup(made, Backup("local:///backup"))
    assert isinstance(task, Task)
    assert volume in task.pod["volumes"]
    assert mount in task.pod["containers"][0]["volumeMounts"]
