from __future__ import annotations

import pytest

from addon_framework.api.meta import Json
from addon_framework.local.node.config import Image, UnknownImageError, find_image
from addon_framework.local.node.environment import MissingSourceError, environment, expand


def nothing(kind: str, name: str) -> Json | None:
    return None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(A)-$(B)", "1-$(B)"),
        ("$$(A)", "$(A)"),
        ("$A $(", "$A $("),
        ("kill $$; echo $$$(A) $$$$", "kill $; echo $1 $$"),
        ("$(date +%s) $((A+1)) $(A", "$(date +%s) $((A+1)) $(A"),
        ("$(A)$(A)", "11"),
    ],
)
def test_references_are_expanded_as_kubernetes_does_it(text: str, expected: str) -> None:
    assert expand(text, {"A": "1"}) == expected


def test_variables_see_those_before_them() -> None:
    container = {
        "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "$(A)$(C)"}, {"name": "C", "value": "3"}]
    }
    assert environment({"metadata": {}}, container, nothing, {}) == {"A": "1", "B": "1$(C)", "C": "3"}


def test_a_missing_key_names_itself_and_an_optional_one_is_left_out() -> None:
    def lookup(kind: str, name: str) -> Json | None:
        return {"data": {"here": "x"}}

    reference = {"name": "settings", "key": "gone"}
    container = {"env": [{"name": "A", "valueFrom": {"configMapKeyRef": reference}}]}
    with pytest.raises(MissingSourceError, match="key 'gone' in configmap 'settings' not found"):
        environment({"metadata": {}}, container, lookup, {})
    container = {"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {**reference, "optional": True}}}]}
    assert environment({"metadata": {}}, container, lookup, {}) == {}


def test_resources_are_rounded_up_and_fall_back_to_the_node() -> None:
    def variable(resource: str, divisor: str = "") -> Json:
        reference = {"resource": resource} | ({"divisor": divisor} if divisor else {})
        return {"name": resource, "valueFrom": {"resourceFieldRef": reference}}

    container = {
        "resources": {"limits": {"memory": "1Gi"}},
        "env": [variable("limits.memory", "1Mi"), variable("limits.cpu")],
    }
    found = environment({"metadata": {}}, container, nothing, {"cpu": "1500m"})
    assert found == {"limits.memory": "1024", "limits.cpu": "2"}


@pytest.mark.parametrize(
    "reference",
    ["busybox", "busybox:1.36", "docker.io/library/busybox:1", "busybox@sha256:abc", "library/busybox"],
)
def test_images_are_found_by_repository(reference: str) -> None:
    images = {"busybox": Image(), "localhost:5000/x": Image(path=["/x"])}
    assert find_image(images, reference) is images["busybox"]
    assert find_image(images, "localhost:5000/x:latest").path == ["/x"]


def test_an_unknown_image_is_refused_with_what_there_is() -> None:
    with pytest.raises(UnknownImageError, match=r"'nginx:1'.*it knows busybox"):
        find_image({"busybox": Image()}, "nginx:1")
