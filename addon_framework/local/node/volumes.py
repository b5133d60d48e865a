"""Volumes as directories of the host: made before a pod starts, kept current while it runs.

ConfigMaps, Secrets and projections are written as the kubelet writes them: into a fresh directory that a
symlink `..data` points to, so that a change is seen whole or not at all.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import math
import os
import secrets
import shutil
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from addon_framework.api.meta import Json
from addon_framework.local.node.environment import Lookup, MissingSourceError, expand, field, resource, values
from addon_framework.local.node.mounts import below, is_dead, remove_tree
from addon_framework.local.node.sandbox import Bind

Token = Callable[[str, int, str], Awaitable[str]]  # service account, seconds, audience
_NO_MODES: Mapping[str, int] = {}
_CONTENT = {"configMap", "secret", "projected", "downwardAPI"}
# Of hostPaths: what has to be there, in the kubelet's words.
_TYPES: Mapping[str, tuple[str, Callable[[Path], bool]]] = {
    "Directory": ("directory", Path.is_dir),
    "DirectoryOrCreate": ("directory", Path.is_dir),
    "File": ("file", Path.is_file),
    "FileOrCreate": ("file", Path.is_file),
    "Socket": ("socket file", Path.is_socket),
    "CharDevice": ("character device", Path.is_char_device),
    "BlockDevice": ("block device", Path.is_block_device),
}
Claim = Callable[[str], Json | None]  # the PersistentVolume bound to a claim, by the claim's name


@dataclass(frozen=True)
class Surroundings:
    """Where volumes lie and where their content comes from."""

    directory: Path  # this pod's
    memory: Path  # this pod's, in memory
    host: Path  # what hostPath "/" means
    lookup: Lookup
    claim: Claim
    token: Token
    capacity: Mapping[str, str]


class Volumes:
    """The volumes of one pod."""

    def __init__(self, pod: Json, around: Surroundings, clock: Callable[[], float] = time.time) -> None:
        self._pod, self._around, self._clock = pod, around, clock
        self._paths: dict[str, Path] = {}
        self._tokens: dict[tuple[str, str], tuple[str, float]] = {}

    async def prepare(self) -> None:
        """Makes all of them. Raises MissingSourceError for what is not there yet."""
        for volume in self._pod["spec"].get("volumes") or ():
            self._paths[volume["name"]] = await self._make(volume)

    async def refresh(self, pod: Json) -> None:
        """Brings ConfigMaps, Secrets, projections and the downward API up to date."""
        self._pod = pod
        for volume in pod["spec"].get("volumes") or ():
            if not _CONTENT.isdisjoint(volume):
                try:
                    await self._make(volume)
                except MissingSourceError:
                    continue  # a source that went away leaves the last content

    def make_again(self, container: Json) -> None:
        """What a container mounts and somebody has removed, as container runtimes do when one starts."""
        for mount in container.get("volumeMounts") or ():
            with contextlib.suppress(OSError):
                self._paths[mount["name"]].mkdir(parents=True, exist_ok=True)

    def binds(self, container: Json, variables: Mapping[str, str]) -> list[Bind]:
        """What a container mounts."""
        content = {v["name"] for v in self._pod["spec"].get("volumes") or () if not _CONTENT.isdisjoint(v)}
        found = []
        for mount in container.get("volumeMounts") or ():
            name = mount["name"]
            source: Path = self._paths[name]
            sub_path = mount.get("subPath") or expand(mount.get("subPathExpr") or "", variables)
            if sub_path:
                source = _within(source, sub_path)
            read_only = bool(mount.get("readOnly")) or name in content
            shared = mount.get("mountPropagation") == "Bidirectional"
            found.append(Bind(source, os.path.normpath(mount["mountPath"]), read_only, shared))
        return found

    def held(self) -> bool:
        """Whether a dead mount is in one that is the pod's: a kubelet cannot take it down, and waits."""
        own = (self._around.directory, self._around.memory)
        return any(is_dead(Path(point)) for directory in own for point in below(directory))

    def remove(self) -> None:
        """Removes what was made for this pod; hostPaths and claims are not the pod's."""
        for directory in (self._around.directory, self._around.memory):
            remove_tree(directory)

    async def _make(self, volume: Json) -> Path:
        path: Path = self._around.directory / volume["name"]
        if "hostPath" in volume:
            return await asyncio.to_thread(self._host_path, volume["hostPath"])
        if "persistentVolumeClaim" in volume:
            claim = volume["persistentVolumeClaim"]["claimName"]
            return await asyncio.to_thread(self._host_path, self._persistent(claim))
        if "emptyDir" in volume:
            if volume["emptyDir"].get("medium") == "Memory":
                path = self._around.memory / volume["name"]
            path.mkdir(parents=True, exist_ok=True)
            path.chmod(0o777)
            return path
        if "configMap" in volume:
            files = self._keys("configmap", volume["configMap"]["name"], volume["configMap"])
        elif "secret" in volume:
            files = self._keys("secret", volume["secret"]["secretName"], volume["secret"])
        elif "downwardAPI" in volume:
            files = self._downward(volume["downwardAPI"])
        elif "projected" in volume:
            files = await self._projected(volume["name"], volume["projected"])
        else:
            kinds = ", ".join(key for key in volume if key != "name") or "none"
            raise MissingSourceError(
                f"volume {volume['name']!r} is of a kind that the embedded fleet does not have: {kinds}"
            )
        mode = next((int(volume[k].get("defaultMode", 0o644)) for k in _CONTENT if k in volume), 0o644)
        write_atomically(path, files, mode, dict(_modes(volume)))
        return path

    @property
    def renewal(self) -> float:
        """Seconds until the first token has to be renewed."""
        return max(1.0, min((at for _, at in self._tokens.values()), default=math.inf) - self._clock())

    def _host_path(self, source: Json) -> Path:
        """In a thread: it may lie in a FUSE mount, which answers when its process likes."""
        if source["path"].startswith("/dev/") or source["path"] == "/proc":
            path = Path(source["path"])  # devices and processes are the machine's
        elif source["path"].startswith("/proc/1/"):
            # A node begins with us.
            path = Path(f"/proc/{os.getpid()}", source["path"].removeprefix("/proc/1/"))
        else:
            path = self._around.host / source["path"].lstrip("/")
        kind = source.get("type") or ""
        if kind == "FileOrCreate" and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        elif kind in ("", "DirectoryOrCreate") and not path.exists():
            path.mkdir(parents=True, exist_ok=True)
        what, is_that = _TYPES.get(kind, ("", Path.exists))
        if not is_that(path):
            raise FileNotFoundError(f"hostPath type check failed: {source['path']} is not a {what}")
        return path

    def _persistent(self, claim: str) -> Json:
        volume = self._around.claim(claim)
        if volume is None:
            raise MissingSourceError(f"persistentvolumeclaim {claim!r} is not bound")
        spec = volume["spec"]
        for kind in ("hostPath", "local"):
            if kind in spec:
                return {"type": "", **spec[kind]}
        raise MissingSourceError(
            f"persistentvolume {volume['metadata']['name']!r} is neither hostPath nor local, the kinds that "
            "the embedded fleet has"
        )

    def _keys(self, kind: str, name: str, options: Json) -> dict[str, bytes]:
        found = self._around.lookup(kind, name)
        if found is None:
            if options.get("optional"):
                return {}
            raise MissingSourceError(f"{kind} {name!r} not found")
        data = values(kind, found)
        items = options.get("items")
        if not items:
            return data
        files = {}
        for item in items:
            if item["key"] in data:
                files[item["path"]] = data[item["key"]]
            elif not options.get("optional"):
                raise MissingSourceError(f"{kind} {name!r} has no key {item['key']!r}")
        return files

    def _downward(self, options: Json) -> dict[str, bytes]:
        files = {}
        for item in options.get("items") or ():
            if "fieldRef" in item:
                text = field(self._pod, item["fieldRef"]["fieldPath"])
            else:
                name = item["resourceFieldRef"].get("containerName")
                container = next(c for c in self._pod["spec"]["containers"] if c["name"] == name)
                text = resource(container, item["resourceFieldRef"], self._around.capacity)
            files[item["path"]] = text.encode()
        return files

    async def _projected(self, name: str, options: Json) -> dict[str, bytes]:
        files: dict[str, bytes] = {}
        for source in options.get("sources") or ():
            if reference := source.get("configMap"):
                files |= self._keys("configmap", reference["name"], reference)
            elif reference := source.get("secret"):
                files |= self._keys("secret", reference["name"], reference)
            elif reference := source.get("downwardAPI"):
                files |= self._downward(reference)
            elif reference := source.get("serviceAccountToken"):
                files[reference["path"]] = (await self._service_token(name, reference)).encode()
            else:
                raise MissingSourceError(
                    f"volume {name!r} has a source that the embedded fleet does not have: {', '.join(source)}"
                )
        return files

    async def _service_token(self, volume: str, reference: Json) -> str:
        """The same until four fifths of its life are over."""
        key = (volume, reference["path"])
        token, renew_at = self._tokens.get(key, ("", 0.0))
        if self._clock() >= renew_at:
            seconds = int(reference.get("expirationSeconds") or 3600)
            account = self._pod["spec"].get("serviceAccountName") or "default"
            token = await self._around.token(account, seconds, reference.get("audience", ""))
            self._tokens[key] = (token, self._clock() + 0.8 * seconds)
        return token


def memory_directory(node: Path) -> Path:
    """Where a node keeps emptyDirs of medium Memory: a tmpfs that is there and needs no right to mount."""
    return Path("/dev/shm") / f"boundaryless-{hashlib.sha256(str(node).encode()).hexdigest()[:12]}"


def _within(volume: Path, sub_path: str) -> Path:
    """What a subPath names, made if it is not there. Raises MissingSourceError if it leads out of it."""
    path = (volume / sub_path).resolve()
    if not path.is_relative_to(volume.resolve()):
        raise MissingSourceError(f"subPath {sub_path!r} leads out of its volume")
    if not path.exists():
        path.mkdir(parents=True)
    return path


def _modes(volume: Json) -> Iterator[tuple[str, int]]:
    """Those that items have of their own."""
    sources = [volume, *((volume.get("projected") or {}).get("sources") or ())]
    for source in sources:
        for kind in ("configMap", "secret", "downwardAPI"):
            for item in (source.get(kind) or {}).get("items") or ():
                if item.get("mode") is not None:
                    yield os.path.normpath(item["path"]), int(item["mode"])


def write_atomically(
    directory: Path, files: Mapping[str, bytes], mode: int = 0o644, modes: Mapping[str, int] = _NO_MODES
) -> bool:
    """Makes a directory hold exactly `files`; False when it does already. `modes`: those of single files.

    As the kubelet's AtomicWriter: content in a fresh hidden directory, `..data` swapped by rename, and one
    symlink for each top-level name.
    """
    directory.mkdir(parents=True, exist_ok=True)
    data = directory / "..data"
    if data.is_symlink() and _content(data) == dict(files):
        return False
    fresh = directory / f"..{secrets.token_hex(8)}"
    for name, content in files.items():
        target = fresh / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        target.chmod(modes.get(os.path.normpath(name), mode))
    fresh.mkdir(exist_ok=True)
    previous = directory / os.readlink(data) if data.is_symlink() else None
    swap = directory / "..data_tmp"
    swap.unlink(missing_ok=True)
    swap.symlink_to(fresh.name)
    swap.replace(data)
    tops = {name.split("/")[0] for name in files}
    for entry in directory.iterdir():
        if not entry.name.startswith("..") and entry.name not in tops:
            entry.unlink()
    for top in tops:
        if not (directory / top).is_symlink():
            (directory / top).symlink_to(f"..data/{top}")
    if previous is not None:
        shutil.rmtree(previous, ignore_errors=True)
    return True


def _content(directory: Path) -> dict[str, bytes]:
    root = directory.resolve()
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
