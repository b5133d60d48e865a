"""Where data may come from, and what is told of it: the hub, claims, a profile of a user, scores."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from addon_framework.api.cluster import AddOnPlacementScore
from addon_framework.api.data import ThinRuntimeProfile
from addon_framework.api.meta import Json
from addon_framework.kube import wait_for
from tests.integration.cache_runtime.fleet import DATALOADS, DATASETS, Fleet
from tests.integration.cache_runtime.webservers import TOKEN, serve_directory, serve_hub

SCORES, PROFILES = AddOnPlacementScore.RESOURCE, ThinRuntimeProfile.RESOURCE
FILES = {"config.json": b"{}", "model.safetensors": bytes(range(256)) * 4000, "sub/a b.txt": b"odd"}


def cached(fleet: Fleet, name: str) -> dict[str, bytes]:
    root = fleet.host / f"var/lib/boundaryless/cache/{fleet.namespace}/{name}/data"
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


async def test_a_hub_and_a_web_directory_in_one_dataset(fleet: Fleet, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "readme").write_bytes(b"read me")
    with serve_hub(FILES) as endpoint, serve_directory(tmp_path) as web:
        await fleet.secret(token=TOKEN)
        dataset = fleet.dataset("model", source="hf://team/model")
        mount = dataset["spec"]["mounts"][0]
        mount |= {
            "path": "/model",
            "options": {"endpoint": endpoint},
            "encryptOptions": [
                {"name": "token", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "token"}}}
            ],
        }
        dataset["spec"]["mounts"].append({"mountPoint": f"{web}/docs/", "name": "docs"})
        await fleet.create(dataset, fleet.runtime("local", "model"), fleet.load("model"))
        await fleet.phase(DATALOADS, "model", "Complete")
    expected = {f"model/{path}": content for path, content in FILES.items()}
    assert cached(fleet, "model") == {**expected, "docs/readme": b"read me"}


async def test_another_datasets_claim_and_the_nodes_own_files(
    fleet: Fleet, model: dict[str, bytes], host_files: Path
) -> None:
    await fleet.secret()
    await fleet.create(fleet.dataset("llama"), fleet.runtime("local", "llama"), fleet.load("llama"))
    await fleet.phase(DATALOADS, "llama", "Complete")
    place = host_files / "srv" / fleet.namespace
    place.mkdir(parents=True)
    (place / "extra").write_bytes(b"of the node")
    dataset = fleet.dataset("copy", source="pvc://llama/sub dir")
    local = {"mountPoint": f"local:///srv/{fleet.namespace}", "name": "node"}
    dataset["spec"]["mounts"].append(local)
    dataset["spec"]["placement"] = "Shared"
    await fleet.create(dataset, fleet.runtime("local", "copy"), fleet.load("copy"))
    await fleet.phase(DATALOADS, "copy", "Complete")
    assert cached(fleet, "copy") == {"ä+b.txt": model["sub dir/ä+b.txt"], "node/extra": b"of the node"}


async def test_the_hub_learns_what_a_cluster_holds(fleet: Fleet, model: dict[str, bytes]) -> None:
    async def score(value: int | None) -> None:
        def as_wanted(obj: Json | None) -> bool:
            if obj is None or value is None:
                return obj is None and value is None
            return (obj.get("status") or {}).get("scores") == [{"name": "cached", "value": value}]

        name = f"dataset-{fleet.namespace}-llama"
        await wait_for(fleet.client, SCORES, name, "cluster1", until=as_wanted, timeout=30)

    await fleet.secret()
    await fleet.create(fleet.dataset("llama"), fleet.runtime("local", "llama"))
    await score(0)
    await fleet.create(fleet.load("llama"))
    await score(100)
    await fleet.delete(DATASETS, "llama")
    await score(None)


# As an image of a user's own would do it: by the configuration alone.
MOUNT = """
set -eu
config=/etc/fluid/config/config.json
value() { python3 -c "import json; c = json.load(open('$config')); print($1)"; }
umask 077
target=$(value "c['targetPath']")
keys=$(value "c['mounts'][0]['options']['aws.accessKeyId']")
secret=$(value "c['mounts'][0]['options']['aws.secretKey']")
printf '%s:%s' "$(cat "$keys")" "$(cat "$secret")" > /tmp/passwd
bucket=$(value "c['mounts'][0]['mountPoint'].removeprefix('s3://').replace('/', ':/', 1)")
mkdir -p "$target"
exec s3fs "$bucket" "$target" -f -o "passwd_file=/tmp/passwd,use_path_request_style,allow_other" \\
  -o "url=$(value "c['mounts'][0]['options']['endpoint']"),mp_umask=022,umask=022,$MOUNT_OPTIONS"
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="FUSE needs root")
async def test_a_users_own_profile_mounts(fleet: Fleet, model: dict[str, bytes]) -> None:
    name = f"mine-{fleet.namespace}"
    fuse = {
        "image": "ghcr.io/boundaryless/s3fs",
        "command": ["sh", "-c", MOUNT],
        "options": {"max_stat_cache_size": "1000"},
    }
    profile = {
        "apiVersion": PROFILES.api_version,
        "kind": PROFILES.kind,
        "metadata": {"name": name},
        "spec": {"fileSystemType": "mine", "fuse": fuse},
    }
    await fleet.secret()
    await fleet.create(fleet.dataset("llama"), fleet.runtime("thin", "llama", profileName=name))
    failed = await fleet.phase(DATASETS, "llama", "Failed")
    assert f"ThinRuntimeProfile {name} does not exist" in str(failed["status"]["conditions"])
    await fleet.client.create(PROFILES, profile)
    try:
        await fleet.phase(DATASETS, "llama", "Bound")
        await fleet.create(fleet.reader("llama", "wc -c < /models/model-2.safetensors"))
        assert int(await fleet.output("reader-llama")) == len(model["model-2.safetensors"])
    finally:
        await fleet.client.delete(PROFILES, name)
