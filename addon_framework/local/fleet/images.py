"""Which local programs stand for which images: the embedded fleet runs processes, not containers."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from urllib.parse import unquote, urlparse

from addon_framework.local.node.config import Image

_PLUGINS = ("boundaryless.addons", "boundaryless.runtimes", "boundaryless.engines")
_DEBIAN = ["/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"]


def engine_directory() -> Path:
    """The engine's own environment: BOUNDARYLESS_ENGINE, or `.engine` beside this one, as `make` lays it."""
    given = os.environ.get("BOUNDARYLESS_ENGINE")
    return Path(given) if given else Path(sys.prefix).parent / ".engine"


def images() -> dict[str, Image]:
    """By repository. An engine that is not installed is left out, so a pod that wants it says so."""
    path = [str(Path(sys.executable).parent)]
    # Wherever these lie, the pods see them: our environment, the Python below it, and the code.
    code = str(Path(__file__).parents[3])
    files = list(dict.fromkeys([sys.prefix, sys.base_prefix, code, *_installed_in_place()]))
    agent = [sys.executable, "-m", "addon_framework.spoke.addon_agent"]
    table = {
        "ghcr.io/boundaryless/agent": Image(path=path, entrypoint=agent, files=files),
        "juicedata/juicefs-fuse": Image(path=path, files=files),
        "ghcr.io/boundaryless/s3fs": Image(path=path, files=files),
        "ghcr.io/boundaryless/seaweedfs": Image(path=path, files=files),
        "rclone/rclone": Image(path=path, files=files),
        "busybox": Image(path=_DEBIAN, command=["sh"]),
        "debian": Image(path=_DEBIAN, command=["bash"]),
    }
    engine = engine_directory().absolute()
    if (engine / "bin" / "python3").exists():
        python = str(engine / "bin" / "python3")
        table["vllm/vllm-openai"] = Image(
            path=[str(engine / "bin")],
            entrypoint=[python, "-m", "vllm.entrypoints.openai.api_server"],
            # Pod addresses are local without being an interface's; Gloo looks for the interface.
            env={"GLOO_SOCKET_IFNAME": "lo"},
            files=[str(engine), sys.base_prefix],
        )
    return table


def _installed_in_place() -> Iterator[str]:
    """Where the source of plug-ins lies that were installed with `pip install --editable`."""
    entries = [entry for group in _PLUGINS for entry in metadata.entry_points(group=group)]
    for dist in {entry.dist for entry in entries if entry.dist}:
        said = json.loads(dist.read_text("direct_url.json") or "{}")
        if (said.get("dir_info") or {}).get("editable"):
            yield unquote(urlparse(said["url"]).path)
