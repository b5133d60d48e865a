"""Manifests the easy ways: each is one line for an author of `addon_manifests`.

return render_folder(Path(__file__).parent / "manifests", values)   # Jinja2
return render_chart(Path(__file__).parent / "chart", values)        # Helm
return render_objects(V1ConfigMap(...), {"kind": ...}, MyStruct())  # Python objects, typed models
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml
from jinja2 import FileSystemLoader, StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from addon_framework.api.meta import Json, Resource, to_dict

SUFFIXES = (".yaml", ".yml", ".json", ".j2")
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class TemplateFailed(ValueError):
    """Manifests cannot be rendered; the message names template and line, and the variable if it is one."""


def render_folder(folder: str | Path, values: Mapping[str, Any]) -> list[Json]:
    """Render every template of a folder, in order of name, and parse the YAML documents in them.

    Templates run in a sandbox, and a variable that has no value is an error.
    """
    root = Path(folder)
    if not root.is_dir():
        raise TemplateFailed(f"{root}: there is no such folder; is it part of the package that is installed?")
    environment = ImmutableSandboxedEnvironment(
        loader=FileSystemLoader(root), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    objects: list[Json] = []
    for path in sorted(p for p in root.rglob("*") if p.is_file() and p.suffix in SUFFIXES):
        try:
            text = environment.get_template(path.relative_to(root).as_posix()).render(**values)
        except Exception as error:  # an expression may raise whatever Python does
            line = _line_of(error, root)
            where = f"{path}:{line}" if line else str(path)
            kind = "" if isinstance(error, TemplateError) else f"{type(error).__name__}: "
            raise TemplateFailed(f"{where}: {kind}{error}") from error
        objects += parse_documents(text, str(path))
    return objects


def render_objects(*objects: Any) -> list[Json]:
    """Turn Python objects into manifests: dicts, models of the kubernetes package, msgspec structs.

    Lists of them too. A struct with a RESOURCE, such as those in `addon_framework.api`, gets its apiVersion
    and kind.
    """
    return [manifest for each in objects for manifest in _as_manifests(each)]


def parse_documents(text: str, source: str) -> list[Json]:
    """The objects in a YAML text; Lists are taken apart."""
    try:
        documents = list(yaml.load_all(text, Loader=_Loader))
    except yaml.YAMLError as error:
        raise TemplateFailed(f"{source}: not YAML once rendered: {error}") from error
    objects: list[Json] = []
    for document in documents:
        if document is None:
            continue
        if not isinstance(document, dict):
            raise TemplateFailed(f"{source}: a document is a {type(document).__name__}, not an object")
        objects += document["items"] if document.get("kind") == "List" else [document]
    return objects


def _line_of(error: Exception, root: Path) -> int | None:
    """The line of the template: a syntax error says it; else it is in the trace, which Jinja2 rewrites."""
    line = getattr(error, "lineno", None)
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename.startswith(str(root)):
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def _as_manifests(value: Any) -> Iterable[Json]:
    if isinstance(value, Mapping):
        return [dict(value)]
    if isinstance(value, list | tuple):
        return render_objects(*value)
    if isinstance(value, msgspec.Struct):
        manifest: Json = to_dict(value)
        resource = getattr(type(value), "RESOURCE", None)
        if isinstance(resource, Resource):
            manifest = {"apiVersion": resource.api_version, "kind": resource.kind, **manifest}
        return [manifest]
    if hasattr(value, "openapi_types"):  # a model of the kubernetes package
        from kubernetes.client import ApiClient

        serialize: Callable[[Any], Json] = ApiClient().sanitize_for_serialization
        manifest = serialize(value)
        if not manifest.get("apiVersion") or not manifest.get("kind"):
            raise TemplateFailed(f"{type(value).__name__} needs api_version and kind to be a manifest")
        return [manifest]
    if hasattr(value, "model_dump"):  # pydantic
        return [value.model_dump(mode="json", by_alias=True, exclude_none=True)]
    raise TemplateFailed(f"a {type(value).__name__} cannot be made a manifest: return dicts or models")
