"""Manifests from folders, charts and objects; or an error that names file, line and variable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from kubernetes.client import V1ConfigMap, V1ObjectMeta

from addon_framework.api.cluster import ManagedCluster
from addon_framework.api.meta import ObjectMeta
from addon_framework.plugins import TemplateFailed, render_chart, render_folder, render_objects
from addon_framework.plugins.helm import helm

VALUES = {
    "cluster_name": "c1",
    "addon_name": "hello",
    "install_namespace": "ns1",
    "hub_kubeconfig_secret": "hello-hub-kubeconfig",
}


def test_files_in_order_documents_and_lists(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text("kind: B\nname: {{ name }}\n---\n---\nkind: C\n")
    (tmp_path / "a.json").write_text('{"kind": "List", "items": [{"kind": "A"}]}')
    (tmp_path / "README.md").write_text("{{ no }}")
    assert render_folder(tmp_path, {"name": "x"}) == [
        {"kind": "A"},
        {"kind": "B", "name": "x"},
        {"kind": "C"},
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: {{ missing }}\n", r"a\.yaml:2: 'missing' is undefined"),
        ("a: 1\n\n{% if %}\n", r"a\.yaml:3: Expected an expression"),
        ("x: 1\ny: {{ ''.__class__.__mro__ }}", r"a\.yaml:2: access to attribute '__class__'"),
        ("x: 1\ny: {{ 1 / 0 }}", r"a\.yaml:2: ZeroDivisionError"),
        ("a: [", r"a\.yaml: not YAML once rendered"),
        ("text", "a document is a str"),
    ],
)
def test_errors_name_file_line_and_variable(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(TemplateFailed, match=message):
        render_folder(tmp_path, {})


def test_an_error_in_an_included_template_names_that_one(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("{% include 'parts/b.tpl' %}")
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "b.tpl").write_text("x: 1\ny: 2\nz: {{ nothing }}")
    with pytest.raises(TemplateFailed, match=r":3: 'nothing' is undefined"):
        render_folder(tmp_path, {})


def test_a_folder_that_was_not_packaged_is_named(tmp_path: Path) -> None:
    with pytest.raises(TemplateFailed, match="no such folder; is it part of the package"):
        render_folder(tmp_path / "manifests", {})
    with pytest.raises(TemplateFailed, match="no such chart; is it part of the package"):
        render_chart(tmp_path / "chart", VALUES)


def test_objects_and_models_become_manifests() -> None:
    model = V1ConfigMap(
        api_version="v1", kind="ConfigMap", metadata=V1ObjectMeta(name="m"), data={"some_key": "v"}
    )
    typed = ManagedCluster(metadata=ObjectMeta(name="c1"))
    plain: dict[str, Any] = {"apiVersion": "v1", "kind": "Secret"}
    assert render_objects(model, [typed], plain) == [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": {"some_key": "v"}},
        {
            "apiVersion": "cluster.open-cluster-management.io/v1",
            "kind": "ManagedCluster",
            "metadata": {"name": "c1"},
        },
        plain,
    ]


def test_models_without_a_kind_and_other_things_are_refused() -> None:
    with pytest.raises(TemplateFailed, match="V1ConfigMap needs api_version and kind"):
        render_objects(V1ConfigMap())
    with pytest.raises(TemplateFailed, match="a str cannot be made a manifest"):
        render_objects("text")


CHART = {
    "Chart.yaml": "apiVersion: v2\nname: hello\nversion: 0.1.0\n",
    "values.yaml": "greeting: hi\n",
    "crds/x.yaml": "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: x}",
    "templates/NOTES.txt": "welcome",
    "templates/a.yaml": (
        "kind: A\napiVersion: v1\nmetadata: {name: a, namespace: {{ .Release.Namespace }}}\n"
        "text: {{ .Values.greeting }} {{ .Values.clusterName }} {{ .Release.Name }}\n"
    ),
    "templates/hook.yaml": (
        'kind: Job\napiVersion: batch/v1\nmetadata: {name: h, annotations: {"helm.sh/hook": pre-install}}\n'
    ),
}


def chart(directory: Path, **more: str) -> Path:
    for name, text in {**CHART, **more}.items():
        path = directory / "chart" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return directory / "chart"


needs_helm = pytest.mark.skipif(not helm(), reason="neither helm nor helm-python-sdk is installed")


@needs_helm
def test_a_chart_gets_the_values_without_helms_hooks(tmp_path: Path) -> None:
    crd, a = render_chart(chart(tmp_path), {**VALUES, "greeting": "hey"})
    assert crd["kind"] == "CustomResourceDefinition"
    assert a["text"] == "hey c1 hello"
    assert a["metadata"]["namespace"] == "ns1"
    assert render_chart(tmp_path / "chart", VALUES, greeting="ho")[1]["text"] == "ho c1 hello"


@needs_helm
def test_helms_errors_name_template_and_line(tmp_path: Path) -> None:
    bad = chart(
        tmp_path, **{"templates/a.yaml": 'a: 1\nb: {{ required "say greetings" .Values.greetings }}\n'}
    )
    with pytest.raises(TemplateFailed, match=r"templates/a.yaml:2.*say greetings"):
        render_chart(bad, VALUES)


def test_without_helm_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("addon_framework.plugins.helm.helm", lambda: "")
    with pytest.raises(TemplateFailed, match="needs the program `helm` on PATH"):
        render_chart(chart(tmp_path), VALUES)
