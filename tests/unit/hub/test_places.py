"""Where the manifests of an add-on go in default and in hosted mode, and how the works are called."""

from __future__ import annotations

from typing import Any

import pytest

from addon_framework.hub.addons.places import BadManifest, Place, home_of, mode_values, place_of, sort_out
from addon_framework.hub.addons.predelete import deadline_of, hook_work_name, split_hooks, verdict
from addon_framework.hub.addons.works import build
from addon_framework.plugins import NoProbe, agent_manifests

Json = dict[str, Any]
GROUP = "addon.open-cluster-management.io"
LOCATION = f"{GROUP}/hosted-manifest-location"
DEADLINE = "addon.boundaryless.io/pre-delete-deadline"
ADDON: Json = {
    "metadata": {
        "name": "a",
        "namespace": "c1",
        "uid": "u1",
        "annotations": {f"{GROUP}/hosting-cluster-name": "host"},
    }
}
HOME, HOST = Place("c1"), Place("host", hosting=True)


def obj(name: str, location: str = "", *, field: str = "annotations", kind: str = "ConfigMap") -> Json:
    marks = {field: {LOCATION: location}} if location else {}
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": "n", **marks}}


ALL = [
    obj("plain"),
    obj("m", "managed"),
    obj("h", "hosting"),
    obj("x", "none"),
    obj("old", "hosting", field="labels"),
]


@pytest.mark.parametrize(
    ("hosted", "places", "expected"),
    [
        (False, [HOME], {HOME: ["plain", "m", "h", "x", "old"]}),
        (True, [HOME, HOST], {HOME: ["plain", "m"], HOST: ["h", "old"]}),
        (True, [HOME], {HOME: ["plain", "m"]}),  # the host is not there: its part is nowhere
    ],
)
def test_by_mode_and_annotation(hosted: bool, places: list[Place], expected: dict[Place, list[str]]) -> None:
    found = sort_out(ALL, places, hosted=hosted)
    assert {p: [o["metadata"]["name"] for o in mine] for p, mine in found.items()} == expected


def test_a_location_that_is_none_is_named() -> None:
    with pytest.raises(BadManifest, match=r"ConfigMap y: annotation .*location is 'moon', not managed, ho"):
        sort_out([obj("y", "moon")], [HOME, HOST], hosted=True)
    assert sort_out([obj("y", "moon")], [HOME], hosted=False)  # of no concern in default mode


def test_works_of_the_host_are_ocms() -> None:
    [work] = build(ADDON, [obj("h")], health=NoProbe(), config_hashes={}, place=HOST)
    assert work["metadata"]["name"] == "addon-a-deploy-hosting-c1-0"
    assert work["metadata"]["namespace"] == "host"
    assert work["metadata"]["labels"] == {
        "open-cluster-management.io/addon-name": "a",
        "open-cluster-management.io/addon-namespace": "c1",
    }
    assert "ownerReferences" not in work["metadata"]
    assert place_of(work) == HOST
    assert hook_work_name(ADDON, HOST) == "addon-a-pre-delete-hosting-c1"
    [work] = build(ADDON, [obj("h")], health=NoProbe(), config_hashes={})
    assert place_of(work) == home_of(ADDON) == HOME
    assert hook_work_name(ADDON, HOME) == "addon-a-pre-delete"


def test_a_cluster_that_hosts_itself_has_works_of_both_names() -> None:
    itself = Place("c1", hosting=True)
    works = [
        build(ADDON, [obj("h")], health=NoProbe(), config_hashes={}, place=place)[0]
        for place in (HOME, itself)
    ]
    assert [place_of(work) for work in works] == [HOME, itself]


def test_values_tell_the_mode() -> None:
    assert mode_values(ADDON, hosted=True) == {
        "install_mode": "Hosted",
        "hosting_cluster": "host",
        "managed_kubeconfig_secret": "a-managed-kubeconfig",
    }
    assert mode_values(ADDON, hosted=False)["install_mode"] == "Default"
    assert mode_values(ADDON, hosted=False)["hosting_cluster"] == ""


def test_an_agents_manifests_in_hosted_mode() -> None:
    rules = [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]}]
    found = agent_manifests("a", "ns", "c1", spoke_rules=rules, install_mode="Hosted")
    parts = sort_out(found, [HOME, HOST], hosted=True)
    assert [o["kind"] for o in parts[HOST]] == [
        "Namespace", "ServiceAccount", "Role", "RoleBinding", "Deployment",
    ]  # fmt: skip
    assert parts[HOME] == []  # its rights there come with the kubeconfig that it is given
    pod = parts[HOST][-1]["spec"]["template"]["spec"]
    assert {v["secret"]["secretName"] for v in pod["volumes"]} == {"a-hub-kubeconfig", "a-managed-kubeconfig"}
    env = {e["name"]: e["value"] for e in pod["containers"][0]["env"]}
    assert env["MANAGED_KUBECONFIG"] == "/managed/managed-kubeconfig/kubeconfig"


@pytest.mark.parametrize("mark", [f"{GROUP}/addon-pre-delete", "open-cluster-management.io/addon-pre-delete"])
def test_hooks_are_marked_as_ocm_marks_them(mark: str) -> None:
    job = obj("j", kind="Job")
    job["metadata"]["labels"] = {mark: ""}
    config = obj("c")
    config["metadata"]["annotations"] = {mark: ""}  # only Jobs and Pods can be done
    assert split_hooks([job, config]) == ([config], [job])


@pytest.mark.parametrize(
    ("texts", "seconds"),
    [
        ((None, None), 600.0),
        (("90s", "10m"), 90.0),
        ((None, "10m"), 600.0),
        (("never", "1s"), float("inf")),
        (("0s", "never"), 0.0),
    ],
)
def test_the_first_annotation_is_the_deadline(texts: tuple[str | None, ...], seconds: float) -> None:
    objects = [{"metadata": {"annotations": {DEADLINE: text} if text is not None else {}}} for text in texts]
    assert deadline_of(600.0, *objects) == (seconds, "")


def test_a_deadline_that_is_none_keeps_the_default_and_says_so() -> None:
    found, problem = deadline_of(600.0, {"metadata": {"annotations": {DEADLINE: "soon"}}})
    assert found == 600.0
    assert problem == f"annotation {DEADLINE} 'soon' is no duration such as 30s, 5m or 1h"


def test_what_a_deletion_says() -> None:
    assert verdict([], [], 5, 1)[:2] == ("True", "HookManifestIsCompleted")
    waits = verdict(["Job n/j is not done"], ["cluster c1 is not available"], 5, 1)
    assert waits.message == (
        "the deletion waits: Job n/j is not done; cluster c1 is not available; after 5 s it goes on without"
    )
    over = verdict(["Job n/j is not done"], [], 5, -1)
    assert over.reason == "PreDeleteDeadlineExceeded"
    assert over.message == (
        "not done within 5 s: Job n/j is not done; the add-on's manifests are removed without it"
    )
    assert "goes on" not in verdict(["x"], [], float("inf"), float("inf")).message
