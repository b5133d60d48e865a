"""Backups of Alluxio's journal, as Fluid makes them: by the master, taken from where it puts them. Pure."""

from __future__ import annotations

from dataclasses import replace

from addon_framework.api.meta import Json
from runtimes import backup_pods
from runtimes.alluxio import pods
from runtimes.alluxio.commands import BACKUP
from runtimes.backups import metadata_name
from runtimes.interface import Backup, Cache, Task
from runtimes.pods import host_path, literal, mount, on_node

_MADE = "/alluxio_backups"  # Alluxio's default, in the master


def keep(cache: Cache, master: Json) -> None:
    """Where the master's backups are taken from, and what it begins from."""
    first = master["containers"][0]
    master["volumes"] = [*(master.get("volumes") or []), _directory(cache)]
    first["volumeMounts"] = [*(first.get("volumeMounts") or []), mount("backups", _MADE)]
    if cache.spec.get("runAs"):  # the master writes there as that user
        users = master["initContainers"][0]
        users["command"].append(_MADE)
        users["volumeMounts"].append(mount("backups", _MADE))
    location = cache.dataset.spec.data_restore_location
    if location is None:
        return
    volume, mounted = backup_pods.volume(location.path, read_only=True)
    master["volumes"].append(volume)
    first["volumeMounts"].append(mounted)
    first["env"] = [*first["env"], *backup_pods.restore_variables(cache)]
    if location.path.startswith("local://"):
        master["affinity"] = on_node(location.node_name)


def journal(cache: Cache) -> dict[str, str]:
    """Properties of a master that begins from a backup; one with a journal does not look at it."""
    location = cache.dataset.spec.data_restore_location
    if location is None:
        return {}
    kept = f"{backup_pods.directory(location.path)}/{metadata_name(cache.name, cache.namespace)}"
    return {"alluxio.master.journal.init.from.backup": kept}


def task(cache: Cache, backup: Backup) -> Task | str:
    """On the master's node, whose directory the backup appears in."""
    if pods.masters(cache) > 1:
        return "spec.dataset: of several masters only one has the backup, and which changes; use one master"
    if backup.owner is None and (user := cache.spec.get("runAs")):
        backup = replace(backup, owner=(user["uid"], user["gid"]))  # whoever begins from it reads it as them
    volume, mounted = backup_pods.volume(backup.url, read_only=False)
    env = [literal("PATHS", "/"), literal("COPIES", "1"), *backup_pods.variables(cache, backup)]
    made = pods.load(cache, BACKUP, env)
    made["volumes"] = [_directory(cache), volume]
    made["containers"][0]["volumeMounts"] = [mount("backups", _MADE), mounted]
    return Task(made)


def place(cache: Cache) -> str:
    """A directory of the master's node."""
    return f"/var/lib/boundaryless/backups/{cache.namespace}/{cache.name}"


def _directory(cache: Cache) -> Json:
    return host_path("backups", place(cache))
