"""What a backup's address means for pods. Pure."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from addon_framework.api.meta import Json
from runtimes.interface import Backend, Backup, Cache
from runtimes.pods import host_path, literal, mount

DIRECTORY = "/boundaryless/backup"  # where containers see it
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?")


def problem(url: str) -> str:
    """What is wrong with the address of a backup; "" when nothing is."""
    scheme, _, rest = url.partition("://")
    if scheme == "local" and rest.startswith("/") and rest.strip("/") and ".." not in rest.split("/"):
        return ""
    claim, _, path = rest.partition("/")
    if scheme == "pvc" and _NAME.fullmatch(claim) and ".." not in path.split("/"):
        return ""
    return f"{url!r} must be local:///directory of a node, or pvc://claim/directory"


def restore_problems(backend: Backend, cache: Cache) -> list[str]:
    """What is wrong with a Dataset's `dataRestoreLocation`."""
    location = cache.dataset.spec.data_restore_location
    if location is None:
        return []
    where = f"Dataset {cache.namespace}/{cache.name}: spec.dataRestoreLocation"
    if not backend.restores:
        return [f"{where}: a {backend.resource.kind} has nothing that could be restored"]
    if wrong := problem(location.path):
        return [f"{where}.path: {wrong}"]
    if location.path.startswith("local://") and not location.node_name:
        return [
            f"{where}.nodeName: local:// needs the node that has it: BackupLocationNodeName of the DataBackup"
        ]
    return []


def volume(url: str, *, read_only: bool) -> tuple[Json, Json]:
    """The volume of a backup's directory, and the mount at DIRECTORY; the directory itself is `directory`."""
    scheme, _, rest = url.partition("://")
    made = mount("backup", DIRECTORY, read_only=read_only)
    if scheme == "local":
        return host_path("backup", rest.rstrip("/")), made
    reference: Json = {"claimName": rest.partition("/")[0]}
    if read_only:
        reference["readOnly"] = True
    return {"name": "backup", "persistentVolumeClaim": reference}, made


def directory(url: str) -> str:
    """The backup's directory, as a container sees it."""
    scheme, _, rest = url.partition("://")
    inside = rest.partition("/")[2].strip("/") if scheme == "pvc" else ""
    return str(PurePosixPath(DIRECTORY, inside))


def restore_variables(cache: Cache) -> list[Json]:
    """For a program that begins from the Dataset's `dataRestoreLocation`."""
    location = cache.dataset.spec.data_restore_location
    assert location is not None
    field = {"fieldRef": {"fieldPath": "spec.nodeName"}}
    return [
        literal("RESTORE", directory(location.path)),
        literal("RESTORE_NODE", location.node_name if location.path.startswith("local://") else ""),
        literal("DATASET_NAME", cache.name),
        literal("DATASET_NAMESPACE", cache.namespace),
        {"name": "NODE_NAME", "valueFrom": field},
    ]


def variables(cache: Cache, backup: Backup) -> list[Json]:
    """For a program that backs up: where to, what the Dataset is, whom the files belong to."""
    given = {
        "BACKUP": directory(backup.url),
        "DATASET_NAME": cache.name,
        "DATASET_NAMESPACE": cache.namespace,
        "SIZE": "" if backup.size is None else str(backup.size),
        "FILES": "" if backup.files is None else str(backup.files),
        "UFS_TOTAL": backup.ufs_total,
        "OWNER": "" if backup.owner is None else ":".join(map(str, backup.owner)),
    }
    return [literal(name, value) for name, value in given.items()]
