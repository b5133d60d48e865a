"""No field of a ThinRuntimeProfile or a CacheRuntimeClass is taken and then forgotten."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from addon_framework.api.data import CacheRuntimeClass, ThinRuntimeProfile
from addon_framework.api.meta import Json
from tests.unit.runtimes.fields import (
    MARK,
    PROFILE,
    SAMPLES,
    Path,
    assert_known,
    changed,
    leaves,
    result,
    secret,
    spec_of,
)

# What changes nothing when it is said, and why that is right.
ELSEWHERE = {
    "fileSystemType": "people, who read it in the list of classes; of a profile it is checked below",
    "worker.replicas": "refused in the runtime, see below",
}
CLASS_VALUES: dict[str, Any] = {
    "template": {"spec": {"containers": [{"name": "c", "image": MARK}]}},
    "enabled": True,
    "command": [MARK],
    "timeout": 77,
    "dataOperationSpecs": [{"name": "DataLoad", "image": MARK, "command": ["x"]}],
}


def in_profiles() -> Iterator[Any]:
    for path, value in leaves(spec_of(ThinRuntimeProfile)):
        if ".".join(path) not in ELSEWHERE:
            yield pytest.param(path, value, id=".".join(path))


@pytest.mark.parametrize(("path", "value"), list(in_profiles()))
def test_a_field_of_a_profile_is_honoured_or_told(path: Path, value: Any) -> None:
    sample, spec = SAMPLES["thin"], PROFILE
    if path[-1] == "volumeMounts":
        spec = {**spec, "volumes": [{"name": "v", "emptyDir": {}}]}
        value = [{"name": "v", "mountPath": "/some"}]
    if path == ("volumes",):
        spec = changed(spec, ("fuse", "volumeMounts"), [{"name": "v", "mountPath": "/v"}])
        value = [{"name": "v", "configMap": {"name": MARK}}]
    if path == ("worker", "enabled"):
        own = changed(sample.spec, ("worker", "enabled"), False)
        before = result(sample, spec=own)
        after = result(sample, spec=own, profile={"spec": changed(spec, path, value)})
    else:
        before, after = result(sample), result(sample, profile={"spec": changed(spec, path, value)})
    assert_known(before, after, path, value, "spec")


def in_classes() -> Iterator[Any]:
    about: Any = msgspec.inspect.type_info(CacheRuntimeClass)
    fields: dict[str, Any] = {each.encode_name: each.type for each in about.fields}
    for path, value in leaves(fields["topology"], ("topology",)):
        yield pytest.param(path, CLASS_VALUES.get(path[-1], value), id=".".join(path))
    yield pytest.param(("dataOperationSpecs",), CLASS_VALUES["dataOperationSpecs"], id="dataOperationSpecs")
    yield pytest.param(("extraResources", "configMaps"), [{"name": "m", "data": {MARK: "v"}}], id="data")


@pytest.mark.parametrize(("path", "value"), list(in_classes()))
def test_a_field_of_a_class_is_honoured_or_told(path: Path, value: Any) -> None:
    sample = SAMPLES["cache"]
    given: Json = sample.profile or {}
    keys = {"mounts": [{**sample.mounts[0], "encryptOptions": [secret("k")]}]}
    if path[-1] == "configMaps" and path[0] == "topology":
        value = [{"name": "m", "mountPath": "/some"}]
    if path[-1] == "enabled":
        value = not given["topology"][path[1]]["dependencies"]["secretMount"]["enabled"]
    if path[-1] == "headless":  # that it is there is all that it says
        value, given = {}, changed(given, path[:-1], {})
        given["topology"][path[1]].pop("service")
    after = result(sample, dataset=keys, profile=changed(given, path, value))
    assert_known(result(sample, dataset=keys, profile=given), after, path, value, "")


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"fileSystemType": "a b"}, "spec.fileSystemType: 'a b' must be as mount shows it"),
        ({"fuse": {}}, "spec.fuse.image: neither the runtime nor the profile names one"),
        ({"fuse": {"image": "f", "lifecycle": {"postStart": {"exec": {}}}}}, "spec.fuse.lifecycle.postStart"),
        ({"worker": {"image": "w", "replicas": 2}}, "spec.worker.replicas: is spec.replicas"),
    ],
)
def test_what_a_profile_cannot_say_is_refused(more: Json, text: str) -> None:
    assert text in result(SAMPLES["thin"], profile={"spec": {**PROFILE, **more}})


def test_a_client_of_a_kernels_file_system_is_ready_when_that_is_mounted() -> None:
    made = result(SAMPLES["thin"], profile={"spec": {**PROFILE, "fileSystemType": "nfs"}})
    assert json.dumps(r"\(fuse\|nfs\)")[1:-1] in made
