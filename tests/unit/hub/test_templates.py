"""A folder of templates becomes manifests, or an error that names file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from addon_framework.hub.run import UnknownController, select
from addon_framework.hub.templates import TemplateFailed, render_folder


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
        ("a: 1\nb: {{ missing }}\n", r"a\.yaml.*'missing' is undefined"),
        ("a: 1\n{% if %}\n", r"a\.yaml:2"),
        ("{{ ''.__class__.__mro__ }}", r"a\.yaml"),
        ("a: [", r"a\.yaml: not YAML once rendered"),
        ("text", "a document is a str"),
    ],
)
def test_errors_name_the_file(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(TemplateFailed, match=message):
        render_folder(tmp_path, {})


def test_controllers_are_chosen_by_name() -> None:
    assert select(None) == ["registration", "placement", "addons"]
    assert select(["placement"]) == ["placement"]
    with pytest.raises(UnknownController, match="plasement; known are registration, placement, addons"):
        select(["plasement"])
