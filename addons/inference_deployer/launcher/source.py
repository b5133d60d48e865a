"""The launcher as text, and as the ConfigMap that carries it to a spoke."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any


@cache
def launcher_source() -> str:
    """The text of launcher.py."""
    return resources.files("addons.inference_deployer.launcher").joinpath("launcher.py").read_text("utf-8")


def launcher_config(name: str, namespace: str, labels: dict[str, str]) -> dict[str, Any]:
    """A ConfigMap with launcher.py."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "data": {"launcher.py": launcher_source()},
    }
