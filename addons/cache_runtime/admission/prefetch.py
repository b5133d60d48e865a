"""Files are read into a node's memory before a pod's containers start, or while they do. Pure.

Annotations, variables and the status file are Fluid's; the container is a native sidecar.
https://github.com/fluid-cloudnative/fluid/blob/master/docs/zh/samples/file_prefetcher.md
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping

from addon_framework.api.meta import Json

_PREFIX = "file-prefetcher.fluid.io/"
_DONE = f"{_PREFIX}inject-done"
_NAME, _VOLUME = "fluid-file-prefetcher", "fluid-file-prefetcher-status-vol"
_STATUS = "/tmp/fluid-file-prefetcher/status"
_ALL = "<ALL>"
_TIMEOUT = 120


class PrefetchError(ValueError):
    """An annotation is wrong; the message says which."""


def wanted(pod: Json) -> bool:
    """Whether a pod asks for it and has not got it yet."""
    said = pod["metadata"].get("annotations") or {}
    return said.get(f"{_PREFIX}inject") == "true" and said.get(_DONE) != "true"


def volumes_of(pod: Json) -> dict[str, str]:
    """The pod's volumes that are claims, by the claims' names."""
    return {
        volume["persistentVolumeClaim"]["claimName"]: volume["name"]
        for volume in reversed(pod["spec"].get("volumes") or [])
        if "persistentVolumeClaim" in volume
    }


def bring(pod: Json, volumes: Mapping[str, str], image: str) -> None:
    """Puts the prefetcher before the pod's own containers. `volumes` by claim. Raises PrefetchError."""
    said = pod["metadata"].get("annotations") or {}
    asynchronous = _boolean(said)
    seconds = _seconds(said)
    patterns = _patterns(said.get(f"{_PREFIX}file-list", _ALL), volumes)
    mounts = [
        {"name": name, "mountPath": f"/data/{name}", "readOnly": True, "mountPropagation": "HostToContainer"}
        for name in sorted(set(volumes.values()))
    ]
    status = {"name": _VOLUME, "mountPath": _STATUS}
    container: Json = {
        "name": _NAME,
        "image": said.get(f"{_PREFIX}image") or image,
        "restartPolicy": "Always",
        "env": [
            {"name": "FILE_PREFETCHER_FILE_LIST", "value": ";".join(patterns)},
            {"name": "FILE_PREFETCHER_ASYNC_PREFETCH", "value": str(asynchronous).lower()},
            {"name": "FILE_PREFETCHER_TIMEOUT_SECONDS", "value": str(seconds)},
            *_variables(said.get(f"{_PREFIX}extra-envs", "")),
        ],
        "volumeMounts": [*mounts, status],
    }
    if not said.get(f"{_PREFIX}image"):
        container["command"] = ["python", "-m", "runtimes.node.prefetch"]
    if asynchronous:
        for each in pod["spec"]["containers"]:
            each["volumeMounts"] = [*(each.get("volumeMounts") or []), status]
    else:
        there = ["sh", "-c", f"[ -e {_STATUS}/prefetcher.status ]"]
        # Ours gives up by itself when the time is over; this is for one that does not.
        container["startupProbe"] = {
            "exec": {"command": there},
            "periodSeconds": 1,
            "failureThreshold": seconds + 10,
        }
    pod["spec"]["initContainers"] = [container, *(pod["spec"].get("initContainers") or [])]
    pod["spec"]["volumes"] = [*pod["spec"]["volumes"], {"name": _VOLUME, "emptyDir": {}}]
    pod["metadata"]["annotations"] = {**said, _DONE: "true"}


def _patterns(listed: str, volumes: Mapping[str, str]) -> list[str]:
    if listed == _ALL:
        listed = ";".join(f"pvc://{claim}" for claim in sorted(volumes))
    found = []
    for text in filter(None, (part.strip() for part in listed.split(";"))):
        claim, _, path = text.removeprefix("pvc://").partition("/")
        if not text.startswith("pvc://") or claim not in volumes or ".." in path.split("/"):
            known = ", ".join(sorted(volumes))
            raise PrefetchError(
                f"annotation {_PREFIX}file-list: {text!r} must be pvc://CLAIM/PATTERN, of a Dataset that the "
                f"pod mounts: {known}"
            )
        found.append(f"/data/{volumes[claim]}/{posixpath.normpath(path) if path else '**'}")
    return found


def _boolean(said: Mapping[str, str]) -> bool:
    text = said.get(f"{_PREFIX}async-prefetch", "false")
    if text not in ("true", "false"):
        raise PrefetchError(f"annotation {_PREFIX}async-prefetch: {text!r} must be true or false")
    return text == "true"


def _seconds(said: Mapping[str, str]) -> int:
    text = said.get(f"{_PREFIX}prefetch-timeout-seconds", str(_TIMEOUT))
    if not text.isdigit() or not int(text):
        raise PrefetchError(f"annotation {_PREFIX}prefetch-timeout-seconds: {text!r} must be a whole number")
    return int(text)


def _variables(text: str) -> list[Json]:
    found = []
    for pair in text.split():
        name, equals, value = pair.partition("=")
        if not name or not equals:
            raise PrefetchError(f"annotation {_PREFIX}extra-envs: {pair!r} must be NAME=VALUE")
        found.append({"name": name, "value": value})
    return found
