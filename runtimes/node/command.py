"""The tasks that leave nothing of a cache on a node, and that mend its mounts there. Pure."""

from __future__ import annotations

import os
from collections.abc import Sequence

from addon_framework.api.meta import Json
from runtimes.pods import host_path, mount

PROC = "/node/proc"  # where our containers have the node's


def clean_pod(image: str, *, remove: Sequence[str] = (), unmount: Sequence[str] = ()) -> Json:
    """Removes directories with all that is in them, and mount points with nothing in them.

    The pod sees the parents, since a directory cannot be removed from inside itself. A mount can be ended
    only by a privileged pod that shares it with the node.
    """
    parents = list(dict.fromkeys(os.path.dirname(os.path.dirname(path)) for path in (*remove, *unmount)))
    propagation = "Bidirectional" if unmount else ""
    container: Json = {
        "name": "clean",
        "image": image,
        "command": ["python", "-m", "runtimes.node.clean"],
        "args": [*(f"--remove={path}" for path in remove), *(f"--unmount={path}" for path in unmount)],
        "volumeMounts": [
            mount(f"parent-{number}", path, propagation=propagation) for number, path in enumerate(parents)
        ],
    }
    if unmount:
        container["securityContext"] = {"privileged": True}
    volumes = [host_path(f"parent-{number}", path) for number, path in enumerate(parents)]
    return {"containers": [container], "volumes": volumes}


def rebind_pod(image: str, directory: str) -> Json:
    """Shows a cache's new directory to the pods of a node that have the one that was removed; privileged."""
    container: Json = {
        "name": "rebind",
        "image": image,
        "command": ["python", "-m", "runtimes.node.rebind"],
        "args": [f"--directory={directory}", f"--proc={PROC}"],
        "securityContext": {"privileged": True},
        "volumeMounts": [mount("cache", directory), mount("proc", PROC, read_only=True)],
    }
    volumes = [host_path("cache", directory), host_path("proc", "/proc", "Directory")]
    return {"containers": [container], "volumes": volumes}
