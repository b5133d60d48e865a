"""Files that are read before a pod needs them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from addon_framework.api.meta import Json
from addons.cache_runtime.admission.prefetch import PrefetchError, bring, volumes_of, wanted
from runtimes.node.prefetch import files, run


def pod(**annotations: str) -> Json:
    names = {name.replace("_", "-"): value for name, value in annotations.items()}
    said = {f"file-prefetcher.fluid.io/{name}": value for name, value in {"inject": "true", **names}.items()}
    claims = [{"name": f"v-{c}", "persistentVolumeClaim": {"claimName": c}} for c in ("llama", "other")]
    spec: Json = {"containers": [{"name": "main"}], "volumes": claims, "initContainers": [{"name": "mine"}]}
    return {"metadata": {"annotations": said}, "spec": spec}


def brought(**annotations: str) -> Json:
    made = pod(**annotations)
    bring(made, volumes_of(made), "ours")
    return made


def variables(container: Json) -> dict[str, Any]:
    return {each["name"]: each["value"] for each in container["env"]}


def test_all_files_are_read_before_anything_starts() -> None:
    made = brought()
    first, mine = made["spec"]["initContainers"]
    assert (first["name"], first["image"], mine["name"]) == ("fluid-file-prefetcher", "ours", "mine")
    assert first["restartPolicy"] == "Always"
    assert "prefetcher.status" in first["startupProbe"]["exec"]["command"][-1]
    assert variables(first)["FILE_PREFETCHER_FILE_LIST"] == "/data/v-llama/**;/data/v-other/**"
    assert not wanted(made), "a webhook that is called again changes nothing"


def test_a_list_an_image_and_no_waiting() -> None:
    made = brought(
        file_list="pvc://llama/*.safetensors; pvc://other/sub/**",
        async_prefetch="true",
        image="theirs",
        extra_envs="A=b C=d=e",
    )
    first = made["spec"]["initContainers"][0]
    assert variables(first)["FILE_PREFETCHER_FILE_LIST"] == "/data/v-llama/*.safetensors;/data/v-other/sub/**"
    assert (variables(first)["A"], variables(first)["C"]) == ("b", "d=e")
    assert first["image"] == "theirs"
    assert "command" not in first
    assert "startupProbe" not in first
    (mount,) = made["spec"]["containers"][0]["volumeMounts"]
    assert mount["mountPath"] == "/tmp/fluid-file-prefetcher/status"


@pytest.mark.parametrize(
    ("annotations", "text"),
    [
        ({"file_list": "pvc://third/x"}, "file-list: 'pvc://third/x' must be pvc://CLAIM/PATTERN"),
        ({"file_list": "/etc/passwd"}, "file-list"),
        ({"file_list": "pvc://llama/../x"}, "file-list"),
        ({"async_prefetch": "yes"}, "async-prefetch: 'yes' must be true or false"),
        ({"prefetch_timeout_seconds": "soon"}, "prefetch-timeout-seconds: 'soon' must be a whole number"),
        ({"extra_envs": "A"}, "extra-envs: 'A' must be NAME=VALUE"),
    ],
)
def test_what_is_wrong_is_said(annotations: dict[str, str], text: str) -> None:
    with pytest.raises(PrefetchError) as error:
        brought(**annotations)
    assert text in str(error.value)


def test_files_are_found_once_and_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("a.bin", "sub/b.bin", "c.txt"):
        (tmp_path / name).write_bytes(b"x" * 1000)
    (tmp_path / "gone.bin").symlink_to(tmp_path / "nowhere")
    patterns = f"{tmp_path}/**/*.bin;{tmp_path}/sub"
    assert sorted(files(patterns)) == [f"{tmp_path}/a.bin", f"{tmp_path}/sub/b.bin"]
    status = tmp_path / "status" / "prefetcher.status"
    run({"FILE_PREFETCHER_FILE_LIST": patterns}, status)
    assert status.read_text() == "done\n"
    assert "2000 bytes of 2 files" in capsys.readouterr().out


def test_it_gives_up_when_the_time_is_over(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    status = tmp_path / "prefetcher.status"
    run({"FILE_PREFETCHER_FILE_LIST": f"{tmp_path}/a", "FILE_PREFETCHER_TIMEOUT_SECONDS": "-1"}, status)
    assert status.read_text() == "timeout\n"
