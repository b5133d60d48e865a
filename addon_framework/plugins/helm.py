"""Manifests from a Helm chart: by the `helm` program, or by Helm as a library (helm-python-sdk)."""

from __future__ import annotations

import importlib
import importlib.util
import shutil
import subprocess
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson

from addon_framework.api.meta import Json
from addon_framework.plugins.rendering import TemplateFailed, parse_documents

TIMEOUT = 60.0
HOOK_ANNOTATION = "helm.sh/hook"


def render_chart(chart: str | Path, values: Mapping[str, Any], **overrides: Any) -> list[Json]:
    """Render a chart directory or archive; its release is the add-on, in the install namespace.

    The chart gets the values of the hook, and under the names that Go add-ons use: clusterName,
    addonInstallNamespace, hubKubeConfigSecret, managedKubeConfigSecret, installMode. `overrides` come on top.
    CRDs are included, Helm's own hooks are not: for work before deletion there is the pre-delete annotation.
    `lookup` finds nothing.
    """
    path = Path(chart)
    if not path.exists():
        raise TemplateFailed(f"{path}: there is no such chart; is it part of the package that is installed?")
    given = {
        **values,
        "clusterName": values["cluster_name"],
        "addonInstallNamespace": values["install_namespace"],
        "hubKubeConfigSecret": values["hub_kubeconfig_secret"],
        "managedKubeConfigSecret": values.get("managed_kubeconfig_secret", ""),
        "installMode": values.get("install_mode", "Default"),
        **overrides,
    }
    text = orjson.dumps(given, option=orjson.OPT_SORT_KEYS)
    release, namespace = str(values["addon_name"]), str(values["install_namespace"])
    rendered = _render(str(path), _stamp(path), release, namespace, text)
    objects: list[Json] = orjson.loads(rendered)  # fresh ones: the caller may change them
    return objects


def helm() -> str:
    """What renders charts here: a path, "helm_python", or ""."""
    if program := shutil.which("helm"):
        return program
    return "helm_python" if importlib.util.find_spec("helm_python") else ""


@lru_cache(maxsize=4096)  # hooks are called whenever something might have changed, and Helm takes long
def _render(path: str, stamp: float, release: str, namespace: str, values: bytes) -> bytes:
    by = helm()
    if not by:
        raise TemplateFailed(
            f"{path}: rendering a chart needs the program `helm` on PATH, see "
            "https://helm.sh/docs/intro/install, or `pip install helm-python-sdk`"
        )
    texts = (
        _by_library(path, release, namespace, values)
        if by == "helm_python"
        else [_by_program(by, path, release, namespace, values)]
    )
    objects = [obj for text in texts for obj in parse_documents(text, path)]
    kept = [
        obj
        for obj in objects
        if HOOK_ANNOTATION not in ((obj.get("metadata") or {}).get("annotations") or {})
    ]
    return orjson.dumps(kept)


def _by_program(program: str, path: str, release: str, namespace: str, values: bytes) -> str:
    command = [program, "template", release, path, "--namespace", namespace, "--include-crds", "--no-hooks"]
    try:
        done = subprocess.run(
            [*command, "--values", "-"], input=values, capture_output=True, timeout=TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        raise TemplateFailed(f"{path}: helm template has not ended within {TIMEOUT:.0f} s") from None
    if done.returncode:
        raise TemplateFailed(f"{path}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout.decode()


def _by_library(path: str, release: str, namespace: str, values: bytes) -> list[str]:
    library = importlib.import_module("helm_python")
    try:
        chart = library.Chart.load(path)
        rendered = chart.render(orjson.loads(values), name=release, namespace=namespace)
        definitions = [crd["data"] for crd in chart.crds]
    except library.HelmError as error:
        raise TemplateFailed(f"{path}: {error}") from error
    return [
        *definitions,
        *(text for name, text in sorted(rendered.items()) if not name.endswith("NOTES.txt")),
    ]


def _stamp(path: Path) -> float:
    """Changes when the chart does."""
    files = path.rglob("*") if path.is_dir() else ()
    return max((each.stat().st_mtime for each in files), default=path.stat().st_mtime)
