"""Fluid's own repository, at the checkout or the git directory FLUID_SOURCE. Nothing of it is kept here."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from addon_framework.api.meta import Json

_FENCE = re.compile(r"^[ \t]*```[^\n]*\n(.*?)^[ \t]*```", re.MULTILINE | re.DOTALL)
_LIMITS = {"minimum": 1, "minLength": 1, "minItems": 1, "maximum": -1, "maxLength": -1, "maxItems": -1}
_OURS = "data.fluid.io/v1alpha1"


@dataclass(frozen=True)
class Sample:
    """One document, and where it stands."""

    origin: str
    document: Json


def source() -> Path | None:
    """FLUID_SOURCE."""
    named = os.environ.get("FLUID_SOURCE")
    return Path(named) if named else None


def read(root: Path) -> dict[str, str]:
    """The YAML and Markdown files, by path."""
    if (root / "go.mod").is_file():
        found = (path for end in ("*.yaml", "*.yml", "*.md") for path in root.rglob(end) if path.is_file())
        return {str(path.relative_to(root)): path.read_text(errors="replace") for path in found}
    git = ["git", f"--git-dir={root}"]
    listed = subprocess.run([*git, "ls-tree", "-r", "HEAD"], check=True, capture_output=True, text=True)
    blobs: dict[str, str] = {}
    for line in listed.stdout.splitlines():
        about, path = line.split("\t", 1)
        if path.endswith((".yaml", ".yml", ".md")) and not about.startswith("120000"):
            blobs[path] = about.split()[2]
    asked = "\n".join(blobs.values())
    answer = subprocess.run(
        [*git, "cat-file", "--batch"], check=True, capture_output=True, input=asked.encode()
    )
    return dict(zip(blobs, _batch(answer.stdout), strict=True))


def _batch(answer: bytes) -> Iterator[str]:
    """The contents of `git cat-file --batch`: a line with the size, the bytes, a newline, again and again."""
    position = 0
    while position < len(answer):
        end = answer.index(b"\n", position)
        size = int(answer[position:end].split()[-1])
        yield answer[end + 1 : end + 1 + size].decode(errors="replace")
        position = end + size + 2


def crds(files: Mapping[str, str]) -> dict[str, Json]:
    """Fluid's CRDs of the group, by plural."""
    made = (
        yaml.safe_load(text)
        for path, text in files.items()
        if path.startswith("charts/fluid/fluid/crds/data.")
    )
    return {crd["spec"]["names"]["plural"]: crd for crd in made}


def samples(files: Mapping[str, str]) -> tuple[list[Sample], list[str]]:
    """The documents of the group, and the texts that hold some but are no YAML."""
    found: list[Sample] = []
    broken: list[str] = []
    for path, text in sorted(files.items()):
        if path.startswith(("charts/", "config/crd/", "vendor/")) or _OURS not in text:
            continue
        blocks = [text] if not path.endswith(".md") else _FENCE.findall(text)
        for number, block in enumerate(blocks, 1):
            origin = path if not path.endswith(".md") else f"{path}#{number}"
            if _OURS not in block:
                continue
            try:
                documents = list(yaml.safe_load_all(_inside(block)))
            except yaml.YAMLError:
                broken.append(origin)
                continue
            found += [
                Sample(origin, document)
                for document in documents
                if isinstance(document, dict) and document.get("apiVersion") == _OURS and "kind" in document
            ]
    return found, broken


def is_whole(document: Json) -> bool:
    """Whether it has a name, and a spec that is not left out in words."""
    named = isinstance(document.get("metadata"), dict) and "name" in document["metadata"]
    return named and isinstance(document.get("spec") or {}, dict)


def pairs(found: Iterable[Sample]) -> Iterator[tuple[Json, Json]]:
    """Datasets with the objects of their name in the same file, but those that refer to another's."""
    by_file: dict[str, list[Json]] = {}
    for sample in found:
        metadata = {"namespace": "samples", "uid": "u", **sample.document["metadata"]}
        document = {**sample.document, "metadata": metadata, "spec": sample.document.get("spec") or {}}
        by_file.setdefault(sample.origin.partition("#")[0], []).append(document)
    for documents in by_file.values():
        for dataset in (each for each in documents if each["kind"] == "Dataset"):
            if any(
                mount["mountPoint"].startswith("dataset://") for mount in dataset["spec"].get("mounts", ())
            ):
                continue
            for other in documents:
                if other["metadata"]["name"] == dataset["metadata"]["name"] and other is not dataset:
                    yield dataset, other


def _inside(block: str) -> str:
    """The YAML of a block that is typed into a shell: between `<<EOF` and `EOF`, without the indent."""
    if told := re.search(r"<<-?\s*['\"]?(\w+)['\"]?[^\n]*\n(.*?)^[ \t]*\1", block, re.MULTILINE | re.DOTALL):
        block = told.group(2)
    lines = [line for line in block.split("\n") if not re.match(r"[ \t]*\$ ", line)]
    indents = [len(line) - len(line.lstrip(" ")) for line in lines if line.strip()]
    return "\n".join(line[min(indents, default=0) :] for line in lines)


def stricter(theirs: Any, ours: Any, path: str = "") -> Iterator[str]:
    """Where the schema `ours` refuses or drops what `theirs` accepts."""
    if ours is None:
        yield f"{path}: is not known here"
        return
    if ours.get("x-kubernetes-preserve-unknown-fields") and not ours.get("properties"):
        if ours.get("type") not in (None, theirs.get("type")):
            yield f"{path}: {ours.get('type')} here, {theirs.get('type')} there"
        return
    if ours.get("type") != theirs.get("type") and not ours.get("x-kubernetes-int-or-string"):
        yield f"{path}: {ours.get('type')} here, {theirs.get('type')} there"
        return
    yield from _limits(theirs, ours, path)
    if "items" in theirs:
        yield from stricter(theirs["items"], ours.get("items"), f"{path}[]")
    if isinstance(theirs.get("additionalProperties"), dict):
        yield from stricter(theirs["additionalProperties"], ours.get("additionalProperties"), f"{path}.*")
    for name, schema in (theirs.get("properties") or {}).items():
        yield from stricter(schema, (ours.get("properties") or {}).get(name), f"{path}.{name}")


def _limits(theirs: Json, ours: Json, path: str) -> Iterator[str]:
    if missing := set(ours.get("required") or []) - set(theirs.get("required") or []):
        yield f"{path}: {', '.join(sorted(missing))} required here only"
    if "enum" in ours and not set(theirs.get("enum") or ["anything"]) <= set(ours["enum"]):
        yield f"{path}: enum {ours['enum']} here, {theirs.get('enum')} there"
    for limit, sign in (
        ("minimum", 1),
        ("minLength", 1),
        ("minItems", 1),
        ("maximum", -1),
        ("maxLength", -1),
    ):
        if limit in ours and (limit not in theirs or sign * ours[limit] > sign * theirs[limit]):
            yield f"{path}: {limit} {ours[limit]} here, {theirs.get(limit)} there"
    if "pattern" in ours and ours["pattern"] != theirs.get("pattern"):
        yield f"{path}: a pattern here only"
    if ours.get("default") != theirs.get("default"):
        yield f"{path}: default {ours.get('default')!r} here, {theirs.get('default')!r} there"
