"""No field of a runtime is taken and then forgotten: it changes what is made, or is told by name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from addon_framework.api.meta import Json
from tests.unit.runtimes.fields import SAMPLES, Path, assert_known, changed, leaves, result, spec_of

# What changes nothing when it is said, and why that is right.
ELSEWHERE = {
    "runtimeClassName": "the class, which is given beside it",
    "profileName": "the profile, which is given beside it",
}
PARTS = ("master.enabled", "jobMaster.enabled", "worker.enabled", "jobWorker.enabled")


SWITCHED_ON = ("local.peers", "alluxio.apiGateway", "jindo.fuse.metrics", "thin.worker")


def cases() -> Iterator[Any]:
    for name, sample in SAMPLES.items():
        for path, value in leaves(spec_of(sample.kind)):
            dotted = ".".join(path)
            if dotted in ELSEWHERE or (name == "alluxio" and dotted in PARTS):
                continue  # Alluxio always has these parts, as with Fluid; only the gateway can be left out
            yield pytest.param(name, path, value, id=f"{name}.{dotted}")


def given(name: str, path: Path, value: Any) -> Any:
    """The spec with the field, and with what it is about: volumes and their mounts come together."""
    spec = SAMPLES[name].spec
    if path[-1] == "enabled" and ".".join((name, *path[:-1])) in SWITCHED_ON:
        value = False
    if path[-1] == "volumeMounts":
        spec = changed(spec, ("volumes",), [{"name": "v", "emptyDir": {}}])
        value = [{"name": "v", "mountPath": "/some"}]
    if path == ("volumes",):
        part = "worker" if name in ("vineyard", "jindo", "cache") else "fuse"
        spec = changed(spec, (part, "volumeMounts"), [{"name": "v", "mountPath": "/v"}])
        value = [{"name": "v", "configMap": {"name": "some"}}]
    if path[-1] in ("high", "low", "quotaList") and name in ("thin", "thin-rclone"):
        spec = changed(spec, ("tieredstore", "levels", "0", "volumeType"), "hostPath")
    if path[-1] == "mediumtype" and name == "local":
        value = "MEM"  # disks are alike to it
    return changed(spec, path, value)


@pytest.mark.parametrize(("name", "path", "value"), list(cases()))
def test_a_field_is_honoured_or_told(name: str, path: Path, value: Any) -> None:
    sample = SAMPLES[name]
    with_it = given(name, path, value)
    assert_known(result(sample), result(sample, spec=with_it), path, value, "spec")


@pytest.mark.parametrize("name", SAMPLES)
def test_what_they_are_compared_with_can_be_made(name: str) -> None:
    assert result(SAMPLES[name]).startswith("[")


@pytest.mark.parametrize(
    ("said", "text"),
    [
        (
            {"imagePullPolicy": "Often"},
            "spec.fuse.imagePullPolicy: 'Often' must be one of Always, IfNotPresent",
        ),
        (
            {"resources": {"limits": {"cpu": "lots"}}},
            "spec.fuse.resources.limits.cpu: 'lots' is not a quantity",
        ),
        (
            {"resources": {"limits": {"memory": "1Gi"}, "requests": {"memory": "2Gi"}}},
            "spec.fuse.resources.requests.memory: 2Gi is more than the limit, 1Gi",
        ),
    ],
)
@pytest.mark.parametrize("name", ["juicefs", "thin", "alluxio", "jindo", "vineyard"])
def test_what_no_server_would_take_is_refused_by_name(name: str, said: Json, text: str) -> None:
    sample = SAMPLES[name]
    assert text in result(sample, spec={**sample.spec, "fuse": said})
