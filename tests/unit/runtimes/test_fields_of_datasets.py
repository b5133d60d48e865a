"""No field of a Dataset is taken and then forgotten, whatever caches it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from addon_framework.api.data import Dataset
from addon_framework.api.meta import Json
from runtimes.interface import Cache
from runtimes.local import LocalBackend
from runtimes.validation import problems
from tests.unit.runtimes.fields import (
    SAMPLES,
    Path,
    Sample,
    assert_known,
    changed,
    leaves,
    result,
    secret,
    spec_of,
)

# What changes nothing when it is said, and why that is right.
ALREADY = {
    ("efc", "mounts.0.name"): "a name, as anybody may give one",
    ("local", "mounts.0.readOnly"): "a copy is read-only",
    ("juicefs-copy", "mounts.0.readOnly"): "a copy is read-only",
    ("local", "accessModes"): "ReadOnlyMany is the default, and all that is possible",
    ("juicefs-copy", "accessModes"): "ReadOnlyMany is the default, and all that is possible",
    **{
        (name, "tolerations"): "clients tolerate all taints, since pods with the data may be anywhere"
        for name in ("juicefs", "thin-s3fs", "thin-rclone")
    },
}


def cases() -> Iterator[Any]:
    for name in SAMPLES:
        for path, value in leaves(spec_of(Dataset)):
            if (name, ".".join(path)) not in ALREADY:
                yield pytest.param(name, path, value, id=f"{name}.{'.'.join(path)}")


def base(sample: Sample, *, mounted: bool = False) -> Json:
    """Vineyard's has no mounts, unless one is asked for."""
    mounts = sample.mounts or ([{"mountPoint": "s3://bucket/a"}] if mounted else [])
    return {"mounts": mounts, **sample.dataset}


@pytest.mark.parametrize(("name", "path", "value"), list(cases()))
def test_a_field_is_honoured_or_told(name: str, path: Path, value: Any) -> None:
    sample, before = SAMPLES[name], base(SAMPLES[name], mounted=path[0] == "mounts")
    if path[-1] == "name" and "path" in before["mounts"][0]:  # else the path says it
        before = {**before, "mounts": [{k: v for k, v in before["mounts"][0].items() if k != "path"}]}
    if path[-1] == "encryptOptions":
        value = [*(before["mounts"][0].get("encryptOptions") or []), *value]
    if (name, path) == ("local", ("placement",)):
        value = "Exclusive"  # of its files the other is the default
    after = changed(before, path, value)
    assert_known(result(sample, dataset=before), result(sample, dataset=after), path, value, "spec")


WRONG: list[tuple[Json, str]] = [
    ({"accessModes": ["ReadMany"]}, "spec.accessModes[0]: 'ReadMany' must be one of"),
    ({"mounts": [{"mountPoint": "s3://a", "path": "/../x"}]}, "spec.mounts[0].path: '/../x' must be"),
    ({"nodeAffinity": {"required": {"x": 1}}}, "spec.nodeAffinity.required.nodeSelectorTerms: at least one"),
    ({"owner": {"uid": -1, "gid": 0, "user": "a", "group": "b"}}, "spec.owner: uid and gid must not"),
    ({"sharedEncryptOptions": [{"name": "a"}]}, "spec.sharedEncryptOptions[0].valueFrom.secretKeyRef"),
    (
        {"sharedEncryptOptions": [secret("a")], "sharedOptions": {"a": "1"}},
        "spec.sharedEncryptOptions[0].name: a is there as an option",
    ),
]


@pytest.mark.parametrize(("more", "text"), WRONG)
@pytest.mark.parametrize("name", SAMPLES)
def test_what_nothing_could_make_sense_of_is_refused(name: str, more: Json, text: str) -> None:
    assert f"Dataset demo/m: {text}" in result(SAMPLES[name], dataset={**base(SAMPLES[name]), **more})


@pytest.mark.parametrize("name", ["1abc", "a.b", "a-", "A", "a" * 64])
def test_a_name_that_pods_and_services_could_not_have_is_refused(name: str) -> None:
    named = {"metadata": {"namespace": "demo", "name": name}, "spec": {"mounts": [{"mountPoint": "s3://a"}]}}
    found = problems(LocalBackend(), Cache.of(named, {**named, "spec": {}}, image="agent"))
    assert [f"Dataset demo/{name}: metadata.name: must be" in each for each in found] == [True]


def test_a_name_is_as_short_as_its_pods_need_it() -> None:
    """The controller of StatefulSets would only say so in an event."""

    def found(name: str, replicas: int) -> list[str]:
        source = {"mounts": [{"mountPoint": "s3://a"}]}
        named: Json = {"metadata": {"namespace": "demo", "name": name}, "spec": source}
        return problems(
            LocalBackend(), Cache.of(named, {**named, "spec": {"replicas": replicas}}, image="agent")
        )

    assert "metadata.name: is 1 characters too long" in found("a" * 46, 1)[0]
    assert not found("a" * 45, 1)
    assert not found("a" * 46, 0)
