"""Which local programs stand for which images: the embedded fleet runs processes, not containers."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from addon_framework.local.node.config import Image

_DEBIAN = ["/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"]


def engine_directory() -> Path:
    """The engine's own environment: BOUNDARYLESS_ENGINE, or `.engine` beside this one, as `make` lays it."""
    given = os.environ.get("BOUNDARYLESS_ENGINE")
    return Path(given) if given else Path(sys.prefix).parent / ".engine"


def images() -> dict[str, Image]:
    """By repository. An engine that is not installed is left out, so a pod that wants it says so."""
    ours = str(Path(sys.executable).parent)
    table = {
        "ghcr.io/boundaryless/agent": Image(
            path=[ours], entrypoint=[sys.executable, "-m", "addon_framework.spoke.addon_agent"]
        ),
        "juicedata/juicefs-fuse": Image(path=[ours]),
        "ghcr.io/boundaryless/s3fs": Image(path=[ours]),
        "busybox": Image(path=_DEBIAN, entrypoint=["/bin/sh"]),
        "debian": Image(path=_DEBIAN, entrypoint=["/bin/bash"]),
    }
    engine = engine_directory().resolve()
    if (engine / "bin" / "python3").exists():
        python = str(engine / "bin" / "python3")
        table["vllm/vllm-openai"] = Image(
            path=[str(engine / "bin")],
            entrypoint=[python, "-m", "vllm.entrypoints.openai.api_server"],
            # Pod addresses are routed to the node without being an interface's; Gloo looks for one that has it.
            env={"GLOO_SOCKET_IFNAME": "lo"},
        )
    return table
