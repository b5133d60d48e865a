"""What users copy from manifests/samples is accepted to the letter: nothing unknown, nothing twice."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest
import yaml

from addon_framework.api.meta import Json
from addon_framework.hub.install import install
from addon_framework.kube import ApiError, Client

BIN = Path(sys.executable).parent
SAMPLES = sorted((Path(__file__).parents[3] / "manifests" / "samples").glob("*.yaml"))


def read(path: Path) -> list[Json]:
    return [obj for obj in yaml.safe_load_all(path.read_text()) if obj]


async def apply_strictly(client: Client, obj: Json) -> Json:
    """Changes nothing; the cluster may have such an object already."""
    resource = await client.resource_for(obj["apiVersion"], obj["kind"])
    metadata = obj["metadata"]
    return await client.request(
        "PATCH",
        resource.path(metadata.get("namespace"), metadata["name"]),
        body=obj,
        params={"fieldValidation": "Strict", "dryRun": "All", "fieldManager": "test", "force": "true"},
        headers={"Content-Type": "application/apply-patch+yaml"},
    )


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
async def test_a_sample_is_accepted(client: Client, crds_installed: None, path: Path) -> None:
    await install(client)
    objects = read(path)
    assert objects
    for obj in objects:
        await apply_strictly(client, obj)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
async def test_kubectl_applies_a_sample_and_deletes_it_again(
    client: Client, crds_installed: None, kubeconfig: Path, path: Path, tmp_path: Path
) -> None:
    await install(client)
    for verb in ("apply", "delete"):
        done = await asyncio.create_subprocess_exec(
            *(BIN / "kubectl", "--kubeconfig", kubeconfig, "--cache-dir", tmp_path, verb, "-f", path),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await done.communicate()
        assert done.returncode == 0, said.decode()


async def test_strict_is_strict(client: Client, crds_installed: None) -> None:
    sample = next(path for path in SAMPLES if path.stem == "dataset")
    obj = next(o for o in read(sample) if o["kind"] == "Dataset")
    obj["spec"]["mount"] = []
    with pytest.raises(ApiError, match=r"spec\.mount"):
        await apply_strictly(client, obj)


async def test_resources_that_no_pod_could_have_are_refused(client: Client, crds_installed: None) -> None:
    sample = next(path for path in SAMPLES if path.stem == "inference")
    obj = next(o for o in read(sample) if o["kind"] == "InferenceDeployment")
    obj["metadata"]["namespace"] = "default"
    obj["spec"]["resources"] = {"limits": {"nvidia.com/gpu": "many"}}
    with pytest.raises(ApiError, match=r"spec\.resources\.limits\.nvidia\.com/gpu"):
        await apply_strictly(client, obj)
