"""The launcher's files, and the ConfigMap that carries them to a spoke."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any


@cache
def launcher_files() -> dict[str, str]:
    """Name and text of every file of the launcher."""
    folder = resources.files("addons.inference_deployer.launcher")
    return {
        file.name: file.read_text("utf-8")
        for file in sorted(folder.iterdir(), key=lambda file: file.name)
        if file.name.endswith(".py")
    }


def launcher_config(name: str, namespace: str, labels: dict[str, str]) -> dict[str, Any]:
    """A ConfigMap that is the launcher's directory when it is mounted."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "data": dict(launcher_files()),
    }
