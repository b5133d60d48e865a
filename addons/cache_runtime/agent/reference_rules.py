"""dataset://namespace/name[/path]: which Dataset refers to which, and whether it may. Pure.

Fluid lets anybody refer to anything. Here a Dataset says by an annotation which namespaces may; without one,
a Dataset that can only be read is open to all, as in Fluid, and one that can be written to is not: a node's
directory cannot be made read-only for one namespace and not for another.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from addon_framework.api.data import ThinRuntime
from addon_framework.api.meta import Json
from addon_framework.kube import Key, key_of
from addons.cache_runtime.agent.names import REFERENCES_ANNOTATION
from runtimes.validation import remarks

SCHEME = "dataset://"
_READ_ONLY = "ReadOnlyMany"
_OF_MOUNTS = ("path", "options", "encryptOptions", "readOnly", "shared")
_OF_DATASETS = (
    *("owner", "nodeAffinity", "tolerations", "placement", "dataRestoreLocation", "runtimes"),
    *("sharedOptions", "sharedEncryptOptions"),
)
_ELSEWHERE = (*(f"spec.mounts.{name}" for name in _OF_MOUNTS), *(f"spec.{name}" for name in _OF_DATASETS))


@dataclass(frozen=True)
class Reference:
    """The physical Dataset, and a directory of it, "" for all."""

    physical: Key
    path: str = ""


def is_reference(dataset: Json) -> bool:
    """Whether any of its mounts is another Dataset."""
    return any(str(mount.get("mountPoint", "")).startswith(SCHEME) for mount in _mounts(dataset))


def reference_of(dataset: Json) -> Reference | None:
    """What its first such mount names; None where it is none or names nothing."""
    for mount in _mounts(dataset):
        url = str(mount.get("mountPoint", ""))
        if url.startswith(SCHEME):
            namespace, _, rest = url.removeprefix(SCHEME).partition("/")
            name, _, path = rest.partition("/")
            if namespace and name and ".." not in path.split("/"):
                return Reference(Key(namespace, name), path.strip("/"))
            return None
    return None


def outside(pods: Iterable[Json], claim: str, directory: str) -> list[str]:
    """Pods, by name, that mount a claim and do not begin in a directory of it."""
    return sorted(
        pod["metadata"]["name"]
        for pod in pods
        if (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")
        and not all(_begins(mount, directory) for mount in _mounts_of(pod, claim))
    )


def _mounts_of(pod: Json, claim: str) -> list[Json]:
    spec = pod["spec"]
    volumes = {
        volume["name"]
        for volume in spec.get("volumes") or []
        if (volume.get("persistentVolumeClaim") or {}).get("claimName") == claim
    }
    containers = [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]
    mounts = [mount for container in containers for mount in container.get("volumeMounts") or []]
    return [mount for mount in mounts if mount["name"] in volumes]


def _begins(mount: Json, directory: str) -> bool:
    path = mount.get("subPath") or str(mount.get("subPathExpr") or "").replace("$$", "$")
    return f"{path}/".startswith(f"{directory}/")


def access_modes(dataset: Json) -> list[str]:
    """Fluid's default is to read."""
    return list((dataset.get("spec") or {}).get("accessModes") or [_READ_ONLY])


def problems(dataset: Json, physical: Json | None, runtimes: Iterable[Json]) -> list[str]:
    """Why it can never be bound as it and the physical Dataset are now: with the field."""
    metadata = dataset["metadata"]
    where = f"Dataset {metadata.get('namespace', '')}/{metadata['name']}: spec"
    if len(_mounts(dataset)) != 1:
        return [f"{where}.mounts: with a {SCHEME} there can be no other"]
    url = str(_mounts(dataset)[0]["mountPoint"])
    reference = reference_of(dataset)
    if reference is None:
        return [f"{where}.mounts[0].mountPoint: {url!r} must be {SCHEME}namespace/name or .../name/path"]
    found = runtime_problems(dataset, runtimes)
    field = f"{where}.mounts[0].mountPoint: Dataset {reference.physical}"
    if reference.physical == Key(metadata.get("namespace", ""), metadata["name"]):
        return [*found, f"{field} is this one itself"]
    if physical is None:
        return found
    if is_reference(physical):
        return [*found, f"{field} refers to another itself; name that one"]
    if not _allowed(physical, metadata.get("namespace", "")):
        return [
            *found,
            f"{field} is not shared with namespace {metadata.get('namespace', '')}; its owner can add that "
            f"to its annotation {REFERENCES_ANNOTATION}",
        ]
    if reference.path and access_modes(physical) != [_READ_ONLY]:
        # The kubelet makes a directory that is not there, which would be a change of somebody's data.
        found.append(
            f"{field} can be written to, so no directory of it can be named; name all of it, and give pods "
            "volumeMounts[].subPath"
        )
    allowed = {_READ_ONLY, *access_modes(physical)}
    if more := [mode for mode in access_modes(dataset) if mode not in allowed]:
        found.append(
            f"{where}.accessModes: {', '.join(more)} is more than Dataset {reference.physical} has: "
            f"{', '.join(access_modes(physical))}"
        )
    return found


def notes(dataset: Json) -> list[str]:
    """Fields that are the physical Dataset's affair."""
    metadata = dataset["metadata"]
    title = f"Dataset {metadata.get('namespace', '')}/{metadata['name']}"
    reasons = dict.fromkeys(_ELSEWHERE, "it is of the Dataset that is referred to")
    if not any(str(mount.get("path", "")).strip("/") for mount in _mounts(dataset)):
        del reasons["spec.mounts.path"]  # the root is what it is anyway
    return remarks(title, dataset, reasons)


def runtime_problems(dataset: Json, runtimes: Iterable[Json]) -> list[str]:
    """Runtimes of its name that would cache something."""
    return [
        f"{runtime.get('kind')} {key_of(runtime)}: Dataset {dataset['metadata']['name']} refers to another "
        "and has no cache of its own; delete the runtime, or make it a ThinRuntime without profileName"
        for runtime in runtimes
        if runtime.get("kind") != ThinRuntime.RESOURCE.kind or (runtime.get("spec") or {}).get("profileName")
    ]


def _allowed(physical: Json, namespace: str) -> bool:
    said = (physical["metadata"].get("annotations") or {}).get(REFERENCES_ANNOTATION)
    if namespace == physical["metadata"].get("namespace"):
        return True
    if said is None:
        return access_modes(physical) == [_READ_ONLY]
    names = [name.strip() for name in str(said).split(",")]
    return "*" in names or namespace in names


def _mounts(dataset: Json) -> Sequence[Json]:
    return (dataset.get("spec") or {}).get("mounts") or []
