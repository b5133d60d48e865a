"""Fluid's annotation data.fluid.io/metadataList on a runtime."""

from __future__ import annotations

import json
from typing import Any

import pytest

from addon_framework.api.meta import Json
from addons.cache_runtime.agent.backends import Binding
from addons.cache_runtime.agent.volumes import claim, persistent_volume
from runtimes.interface import Cache
from runtimes.local import LocalBackend
from runtimes.validation import notes, problems

BACKEND = LocalBackend()


def binding(said: Any) -> Binding:
    metadata: Json = {"name": "m", "namespace": "demo", "uid": "u"}
    text = said if isinstance(said, str) else json.dumps(said)
    annotated = {**metadata, "annotations": {"data.fluid.io/metadataList": text}}
    runtime: Json = {"kind": "LocalRuntime", "metadata": annotated, "spec": {}}
    dataset: Json = {"metadata": metadata, "spec": {"mounts": [{"mountPoint": "s3://bucket"}]}}
    return Binding(dataset, runtime, BACKEND, Cache.of(dataset, runtime, image="us"))


def test_labels_and_annotations_go_to_what_is_selected_and_ours_stay() -> None:
    made = binding(
        [
            {"selector": {"kind": "PersistentVolume"}, "labels": {"team": "a"}, "annotations": {"n": "1"}},
            {"Selector": {"Kind": "PersistentVolumeClaim"}, "Annotations": {"CreatedBy": "me", "Note": "2"}},
        ]
    )
    assert problems(BACKEND, made.cache) == []
    volume, bound = persistent_volume(made)["metadata"], claim(made)["metadata"]
    assert volume["labels"]["team"] == "a"
    assert volume["annotations"] == {"n": "1", "CreatedBy": "fluid"}
    assert "team" not in bound["labels"]
    assert bound["annotations"] == {"CreatedBy": "fluid", "Note": "2"}


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ("{", "is not JSON"),
        ({"labels": {}}, "must be a list of objects"),
        ([{"selector": {"kind": "PersistentVolume"}, "labels": {"a": 1}}], "labels of entry 0 must be"),
        ([{"selector": {"kind": "Pod"}}], "entry 0 selects {'kind': 'Pod'}; there are PersistentVolume and"),
    ],
)
def test_what_cannot_be_read_is_refused(said: Any, text: str) -> None:
    (problem,) = problems(BACKEND, binding(said).cache)
    assert problem.startswith("LocalRuntime demo/m: annotation data.fluid.io/metadataList: ")
    assert text in problem


def test_how_a_csi_driver_publishes_has_no_effect() -> None:
    entry = {"selector": {"kind": "PersistentVolume"}, "labels": {"fluid.io/node-publish-method": "symlink"}}
    (note,) = notes(BACKEND, binding([entry]).cache)
    assert "label fluid.io/node-publish-method: has no effect" in note
