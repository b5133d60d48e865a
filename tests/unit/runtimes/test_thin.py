"""What a ThinRuntime says over its profile, and what built-in clients are told."""

from __future__ import annotations

import json
from typing import Any

from addon_framework.api.meta import Json
from runtimes.interface import Cache
from runtimes.thin import ThinBackend
from runtimes.validation import notes, problems

BACKEND = ThinBackend()
S3: Json = {"mountPoint": "s3://models/llama", "name": "llama", "path": "/"}
PROFILE: Json = {"fileSystemType": "fuse.x", "fuse": {"image": "x:1"}}


def cache(*mounts: Json, dataset: Json | None = None, profile: Json | None = None, **spec: Any) -> Cache:
    metadata = {"name": "llama", "namespace": "demo", "uid": "u"}
    made: Json = {"metadata": metadata, "spec": {"mounts": list(mounts or (S3,)), **(dataset or {})}}
    runtime: Json = {"kind": "ThinRuntime", "metadata": metadata, "spec": {"profileName": "x", **spec}}
    return Cache.of(made, runtime, image="agent", profile={"spec": profile} if profile else None)


def client(made: Cache) -> Json:
    assert problems(BACKEND, made) == []
    (pod,) = (c.pod for c in BACKEND.components(made) if c.role == "client")
    return pod


def test_what_the_runtime_says_is_over_the_profile() -> None:
    profile = {
        **PROFILE,
        "fuse": {
            "image": "x:1",
            "env": [{"name": "A", "value": "1"}],
            "nodeSelector": {"disk": "ssd", "zone": "a"},
            "networkMode": "ContainerNetwork",
            "podMetadata": {"labels": {"l": "profile", "m": "profile"}},
        },
        "imagePullSecrets": [{"name": "profile"}],
    }
    made = cache(
        profile=profile,
        fuse={
            "imagePullPolicy": "Always",
            "env": [{"name": "A", "value": "2"}],
            "nodeSelector": {"zone": "b"},
            "podMetadata": {"labels": {"l": "runtime"}},
        },
    )
    pod = client(made)
    assert pod["containers"][0]["imagePullPolicy"] == "Always"
    variables = [e["value"] for e in pod["containers"][0]["env"] if e["name"] == "A"]
    assert variables == ["1", "2"]  # the last one counts
    assert pod["nodeSelector"] == {"disk": "ssd", "zone": "b"}
    assert pod["imagePullSecrets"] == [{"name": "profile"}]
    assert "hostNetwork" not in pod
    (component,) = BACKEND.components(made)
    assert component.labels == {"l": "runtime", "m": "profile"}


def test_clients_are_in_their_nodes_network_as_with_fluid() -> None:
    assert client(cache(profile=PROFILE))["hostNetwork"] is True
    inside = cache(profile=PROFILE, fuse={"networkMode": "ContainerNetwork"})
    assert "hostNetwork" not in client(inside)


def test_a_dataset_that_can_only_be_read_is_sealed_whatever_the_image_does() -> None:
    for modes, sealed in ((["ReadOnlyMany"], True), (["ReadWriteMany"], False)):
        pod = client(cache(profile=PROFILE, dataset={"accessModes": modes}))
        assert ("--read-only" in pod["containers"][1]["args"]) is sealed


def test_workers_run_where_they_are_enabled_with_the_tier() -> None:
    tiers = {"levels": [{"mediumtype": "SSD", "path": "/cache"}]}
    worker = {"enabled": True, "image": "w", "env": [{"name": "A", "value": "1"}]}
    made = cache(profile=PROFILE, worker=worker, replicas=2, tieredstore=tiers)
    assert problems(BACKEND, made) == []
    (component, _) = BACKEND.components(made)
    assert (component.role, component.replicas) == ("worker", 2)
    (container,) = component.pod["containers"]
    # Where the image expects its cache, on the node a directory of this Dataset alone.
    assert container["volumeMounts"][0]["mountPath"] == "/cache"
    assert component.pod["volumes"][0]["hostPath"]["path"] == "/cache/demo/llama"
    assert "--remove=/cache/demo/llama" in json.dumps(BACKEND.clean(made).pod)
    (said,) = notes(BACKEND, cache(profile=PROFILE, worker={"image": "w"}))
    assert said.endswith(
        "spec.worker: has no effect: there are workers only where spec.worker.enabled is true"
    )


def test_a_directory_of_the_node_that_a_mount_asks_for() -> None:
    pod = client(cache({**S3, "options": {"fluid.fuse.hostvolume": "/srv/keys:/keys"}}, profile=PROFILE))
    (at,) = (m for m in pod["containers"][0]["volumeMounts"] if m["mountPath"] == "/keys")
    assert at["readOnly"] is True
    assert {"name": at["name"], "hostPath": {"path": "/srv/keys", "type": ""}} in pod["volumes"]
    wrong = cache({**S3, "options": {"fluid.fuse.hostvolume": "keys"}}, profile=PROFILE)
    assert "options.fluid.fuse.hostvolume: 'keys' must be /directory" in problems(BACKEND, wrong)[0]


def test_a_claim_is_not_something_that_a_client_mounts() -> None:
    (said,) = problems(BACKEND, cache({"mountPoint": "pvc://claim", "name": "c"}, profile=PROFILE))
    assert "spec.mounts[0].mountPoint: 'pvc://claim': a client cannot mount a claim; name the storage" in said


def test_built_in_clients_are_told_whose_the_files_are_and_what_is_read_only() -> None:
    owner = {"owner": {"uid": 7, "gid": 8, "user": "a", "group": "b"}, "accessModes": ["ReadWriteMany"]}
    for profile, words in (("s3fs", ("uid=7", "gid=8")), ("rclone", ("--uid=7", "--gid=8"))):
        made = cache({**S3, "readOnly": True}, dataset=owner, profileName=profile)
        said = next(e["value"] for e in client(made)["containers"][0]["env"] if e["name"] == "MOUNT_OPTIONS")
        options = said.split("," if profile == "s3fs" else " ")
        assert {*words, "ro" if profile == "s3fs" else "--read-only"} <= set(options)


def test_rclone_keeps_what_it_reads_in_the_tier() -> None:
    tiers = {"levels": [{"mediumtype": "MEM", "quota": "1Gi"}]}
    container = client(cache(profileName="rclone", tieredstore=tiers))["containers"][0]
    said = next(e["value"] for e in container["env"] if e["name"] == "MOUNT_OPTIONS").split()
    assert {"--cache-dir=/dev/shm/rclone", f"--vfs-cache-max-size={1 << 30}"} <= set(said)
    assert container["volumeMounts"][-1]["mountPath"] == "/dev/shm"


def test_a_built_in_profile_has_its_own_command() -> None:
    found = problems(BACKEND, cache(profileName="s3fs", fuse={"command": ["x"]}, worker={"enabled": True}))
    assert [each.partition("spec.")[2].partition(":")[0] for each in found] == [
        "fuse.command",
        "worker.enabled",
    ]
