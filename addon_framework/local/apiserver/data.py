"""What Kubernetes keeps in Go and this server in tables: files beside the modules that read them."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import yaml

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def described(package: str, name: str) -> Any:
    """What a YAML file of a package says."""
    return yaml.load(files(package).joinpath(name).read_bytes(), _LOADER)
