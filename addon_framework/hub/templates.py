"""Manifests from a folder of Jinja2 templates: one line for an author of `addon_manifests`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from jinja2 import FileSystemLoader, StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from addon_framework.api.meta import Json

SUFFIXES = (".yaml", ".yml", ".json", ".j2")
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class TemplateFailed(ValueError):
    """A template cannot be rendered; the message names file and line."""


def render_folder(folder: str | Path, values: Mapping[str, Any]) -> list[Json]:
    """Render every template of a folder, in order of name, and parse the YAML documents in them.

    Templates run in a sandbox, and a variable that has no value is an error.
    """
    root = Path(folder)
    environment = ImmutableSandboxedEnvironment(
        loader=FileSystemLoader(root), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    objects: list[Json] = []
    for path in sorted(p for p in root.rglob("*") if p.is_file() and p.suffix in SUFFIXES):
        name = path.relative_to(root).as_posix()
        try:
            text = environment.get_template(name).render(**values)
        except TemplateError as error:
            line = getattr(error, "lineno", None)
            raise TemplateFailed(f"{path}{f':{line}' if line else ''}: {error}") from error
        try:
            documents = list(yaml.load_all(text, Loader=_Loader))
        except yaml.YAMLError as error:
            raise TemplateFailed(f"{path}: not YAML once rendered: {error}") from error
        for document in documents:
            if document is None:
                continue
            if not isinstance(document, dict):
                raise TemplateFailed(f"{path}: a document is a {type(document).__name__}, not an object")
            objects += document["items"] if document.get("kind") == "List" else [document]
    return objects
