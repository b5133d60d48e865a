"""Which directories of nodes whoever creates Datasets, runtimes and operations may name. Pure.

Pods of ours are root in these directories, and the right to create a Dataset is not the right to create such
pods. The names of a namespace and a Dataset follow the path of a tier, so it is the whole that is judged.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from runtimes.interface import CACHE_DIRECTORY, Cache

# What runs a node, or tells its secrets. Neither these nor what is in them, nor what they are in.
SYSTEM = (
    *("/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib32", "/lib64", "/libx32", "/lost+found"),
    *("/opt/bin", "/opt/cni", "/proc", "/root", "/run", "/sbin", "/snap", "/sys", "/usr"),
    *("/var/db", "/var/log", "/var/run", "/var/snap", "/var/spool"),
    *("/var/lib/calico", "/var/lib/cloud", "/var/lib/cni", "/var/lib/containerd", "/var/lib/containers"),
    *("/var/lib/crio", "/var/lib/dpkg", "/var/lib/etcd", "/var/lib/k0s", "/var/lib/kube-proxy"),
    *("/var/lib/kubelet", "/var/lib/kubernetes", "/var/lib/microshift", "/var/lib/minikube"),
    *("/var/lib/rancher", "/var/lib/rpm", "/var/lib/systemd"),
    *(f"/var/lib/docker/{name}" for name in ("buildkit", "containers", "image", "network", "overlay2")),
    *(f"/var/lib/docker/{name}" for name in ("plugins", "runtimes", "swarm", "tmp", "volumes")),
)
_SHARED_MEMORY = "/dev/shm"
_NODES_OWN = ("local", "file")  # schemes of mounts


@dataclass(frozen=True)
class NodeDirectories:
    """With `allowed` only what is in these, otherwise anything but the system's."""

    allowed: tuple[str, ...] = ()

    @classmethod
    def of(cls, text: str) -> NodeDirectories:
        """From a list separated by commas."""
        return cls(tuple(_clean(each) for each in text.split(",") if each.strip()))

    def problem(self, path: str) -> str:
        """Why not this one; "" when it may be."""
        if ".." in path.split("/"):
            return f"{path!r} must not have .. in it"
        whole = _clean(path)
        if _within(whole, CACHE_DIRECTORY):
            return ""
        if self.allowed:
            if any(_within(whole, each) for each in self.allowed):
                return ""
            known = ", ".join(self.allowed)
            return (
                f"{whole} of nodes is not in {known}, which is where NODE_DIRECTORIES of the add-on allows it"
            )
        if _within(whole, _SHARED_MEMORY):
            return ""
        if system := next((d for d in SYSTEM if _within(whole, d) or _within(d, whole)), ""):
            about = f"belongs to the system of nodes ({system})"
            return f"{whole} {about}; take another, or have NODE_DIRECTORIES of the add-on allow it"
        return ""

    def problems(self, cache: Cache) -> list[str]:
        """Of a Dataset and its runtime: each with the field."""
        dataset = f"Dataset {cache.namespace}/{cache.name}"
        named = [(f"{cache.title}: {field}", path) for field, path in _of_runtime(cache)]
        for number, source in enumerate(cache.sources):
            if source.scheme in _NODES_OWN:
                path = source.url.partition("://")[2]
                named.append((f"{dataset}: spec.mounts[{number}].mountPoint", path))
        location = cache.dataset.spec.data_restore_location
        if location is not None and location.path.startswith("local://"):
            named.append((f"{dataset}: spec.dataRestoreLocation.path", location.path.partition("://")[2]))
        return [f"{field}: {wrong}" for field, path in named if (wrong := self.problem(path))]


def _of_runtime(cache: Cache) -> Iterator[tuple[str, str]]:
    """Tiers, each with the Dataset's own directory in it, and volumes as they are."""
    own = f"{cache.namespace}/{cache.name}"
    for number, level in enumerate((cache.spec.get("tieredstore") or {}).get("levels") or []):
        for path in str(level.get("path") or "").replace(":", ",").split(","):
            if path.strip():
                yield f"spec.tieredstore.levels[{number}].path", f"{path.strip()}/{own}"
    for field, said in _host_paths("spec", cache.spec):
        for path in said.get("paths") or ():  # a tier of a CacheRuntime
            yield f"{field}.paths", f"{path}/{own}"
        if said.get("path"):
            yield f"{field}.path", str(said["path"])


def _host_paths(field: str, said: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every hostPath in a spec, wherever pods are described there."""
    if isinstance(said, dict):
        for name, value in said.items():
            if name == "hostPath" and isinstance(value, dict):
                yield f"{field}.{name}", value
            else:
                yield from _host_paths(f"{field}.{name}", value)
    elif isinstance(said, list):
        for number, value in enumerate(said):
            yield from _host_paths(f"{field}[{number}]", value)


def _within(path: str, directory: str) -> bool:
    return path == directory or path.startswith(f"{directory.rstrip('/')}/")


def _clean(path: str) -> str:
    return "/" + "/".join(part for part in path.strip().split("/") if part not in ("", "."))
