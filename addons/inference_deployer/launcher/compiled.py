"""What the engine has compiled, carried from one replica to the next beside the model's cached files.

COMPILED names a directory of the node that belongs to one Dataset. The engine never works in it: it has a
directory of its own, filled from an archive before the weights are read, and packed into an archive once it
serves, if it compiled something that was not in there. Compiled code is executed, so whoever may write to
COMPILED decides what later replicas run: it is mounted into the replicas of one InferenceDeployment only.

An archive is `<key>.<SHA-256 of the file>.tar`: it appears by rename, whole, and a damaged one shows. The key
is of all that must be the same for the code to fit (see `key_of`); within it the engine's own keys decide, so
that an archive can be useless, but not wrong.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

from .arriving import shards
from .timeline import say

LIMIT = 2 << 30  # bytes of one archive, and of all of a Dataset on a node
ARCHIVE = re.compile(r"([0-9a-f]{32})\.([0-9a-f]{64})\.tar")
_PIECE = 1 << 20
_ABANDONED = 3600.0  # seconds after which an archive that nobody finished is removed
_GPU_TOOL = "nvidia-smi"
# Arguments and variables that say where, not what.
_PLACES = ("--model", "--served-model-name", "--host", "--port", "--api-key")
_SETTINGS = re.compile(r"(VLLM|TORCH|TORCHINDUCTOR|TRITON|PYTORCH)_\w+|OMP_NUM_THREADS")
_OTHERS = re.compile(r"VLLM_(HOST_IP|CACHE_ROOT|API_KEY)|\w+_CACHE_DIR|\w+_(SERVICE|PORT)(_\w+)?")


def variables(directory: str) -> dict[str, str]:
    """What makes an engine keep below a directory all that it compiles.

    Without a GPU vLLM's ahead-of-time artefacts are off unless the user wants them: there vLLM 0.32 uses
    plain inductor, writes the artefact, cannot load it ("'function' object has no attribute
    'finalize_loading'") and so compiles everything again. Inductor's own cache serves the same start.
    """
    return {
        "VLLM_CACHE_ROOT": directory,
        "TORCHINDUCTOR_CACHE_DIR": os.path.join(directory, "inductor"),
        "TRITON_CACHE_DIR": os.path.join(directory, "triton"),
        **(
            {}
            if shutil.which(_GPU_TOOL)
            else {"VLLM_USE_AOT_COMPILE": os.environ.get("VLLM_USE_AOT_COMPILE", "0")}
        ),
    }


class Compiled:
    """The compiled code of one replica: `private` is the engine's, `carried` the Dataset's on this node."""

    def __init__(self, carried: str, private: str = "", limit: int = LIMIT) -> None:
        self.carried = Path(carried)
        self.private = Path(private or tempfile.mkdtemp(prefix="compiled-"))
        self.limit = limit
        self.key = ""
        self.machine: list[str] = []
        self.before: set[tuple[str, int]] = set()

    def look(self) -> None:
        """Find out what the code is for. To ask for GPUs may take seconds, but needs no data."""
        self.machine = accelerator()

    def bring(self, key: str) -> None:
        """Fill the private directory, if there is something for the key; what is wrong with it is said."""
        self.key = key
        for archive in archives(self.carried, key):
            try:
                self._unpack(archive)
                say(f"what earlier replicas compiled is here: {archive}")
                break
            except (OSError, tarfile.TarError, ValueError) as error:
                say(f"{archive}: not used, the engine compiles by itself: {error}")
                for entry in self.private.iterdir():
                    shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        self.before = contents(self.private)

    def keep(self) -> str:
        """Publish what the engine has compiled; how much of it had been carried: all, part or none.

        Empty when there is nothing, for instance because the engine does not compile.
        """
        after = contents(self.private)
        if self.key and after and not after <= self.before:
            try:
                self._publish()
            except (OSError, tarfile.TarError, ValueError) as error:
                say(f"what was compiled stays here, the next replica compiles again: {error}")
        if not after:
            return ""
        return "all" if after <= self.before else "part" if self.before else "none"

    def remove(self) -> None:
        """The private directory, once the engine has ended."""
        shutil.rmtree(self.private, ignore_errors=True)

    def _unpack(self, archive: Path) -> None:
        with archive.open("rb") as file:
            match = ARCHIVE.fullmatch(archive.name)
            if match is None or digest(file) != match[2]:
                raise ValueError("its SHA-256 is not the one in its name")
            file.seek(0)
            with tarfile.open(fileobj=file, mode="r:") as tar:
                tar.extractall(self.private, members=self._bounded(tar), filter="data")

    def _bounded(self, tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
        size = 0
        for member in tar:
            size += member.size
            if size > self.limit:
                raise ValueError(f"it unpacks to more than {self.limit} bytes")
            yield member

    def _publish(self) -> None:
        size = sum(size for _, size in contents(self.private))
        if size > self.limit:
            raise ValueError(f"it has {size} bytes, {self.limit} are allowed")
        with tempfile.NamedTemporaryFile(dir=self.carried, prefix=".", suffix=".new", delete=False) as file:
            try:
                with tarfile.open(fileobj=file, mode="w") as tar:
                    for name, _ in sorted(contents(self.private)):
                        tar.add(self.private / name, name, recursive=False)
                file.flush()
                os.fsync(file.fileno())
                file.seek(0)
                path = self.carried / f"{self.key}.{digest(file)}.tar"
                os.chmod(file.fileno(), 0o644)
                os.rename(file.name, path)
            except BaseException:
                os.unlink(file.name)
                raise
        say(f"compiled code of {size} bytes published for other replicas: {path}")
        self._tidy(path)

    def _tidy(self, newest: Path) -> None:
        """One archive of our key; of others the newest, as many as there is room for."""
        room = self.limit
        for archive in archives(self.carried):
            room -= _size(archive)
            if archive != newest and (archive.name.startswith(self.key) or room < 0):
                archive.unlink(missing_ok=True)
        for left in self.carried.glob(".*.new"):
            if time.time() - _written(left) > _ABANDONED:
                left.unlink(missing_ok=True)


def archives(carried: Path, key: str = "") -> list[Path]:
    """Those of a key, or all; the newest first. Other replicas may remove some at any time."""
    found = [path for path in carried.glob(f"{key}*.tar") if ARCHIVE.fullmatch(path.name)]
    return sorted(found, key=_written, reverse=True)


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return time.time()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def contents(directory: Path) -> set[tuple[str, int]]:
    """Relative names and sizes of all files; locks and unfinished files are nothing to carry."""
    found = set()
    for folder, _, names in os.walk(directory):
        for name in names:
            path = Path(folder, name)
            if path.is_symlink() or path.suffix in (".lock", ".tmp"):
                continue
            try:
                found.add((str(path.relative_to(directory)), path.stat().st_size))
            except FileNotFoundError:
                continue
    return found


def digest(file: IO[bytes]) -> str:
    """The SHA-256 of a file from where it is."""
    made = hashlib.sha256()
    while piece := file.read(_PIECE):
        made.update(piece)
    return made.hexdigest()


def key_of(model: str, arguments: list[str], environment: Mapping[str, str], machine: list[str]) -> str:
    """32 hexadecimal digits of model, engine, accelerator and the settings of the engine."""
    if not machine:
        raise ValueError("it is not known for which machine")
    factors = [_model(Path(model)), _engine(environment), machine, _settings(arguments, environment)]
    return hashlib.sha256(json.dumps(factors, sort_keys=True).encode()).hexdigest()[:32]


def _model(directory: Path) -> list[object]:
    """What the graph follows from: the configuration, and names and sizes of weights; not their values.

    What an index names need not be there yet; the index has their sizes.
    """
    indexed = shards(str(directory))
    files = sorted(p for p in directory.iterdir() if p.is_file() and p.name not in indexed)
    described = [path for path in files if path.name.endswith(("config.json", "params.json", ".index.json"))]
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in described]
    return [*digests, *((path.name, path.stat().st_size) for path in files)]


def _engine(environment: Mapping[str, str]) -> list[str]:
    found = [environment.get("ENGINE_IMAGE", ""), platform.python_version()]
    for name in ("vllm", "torch", "triton"):
        try:
            found.append(importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            found.append("")
    return found


def accelerator() -> list[str]:
    """GPUs with compute capability and driver; and the CPU, for which code is generated in any case."""
    cpu = [platform.machine()]
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            name, _, value = line.partition(":")
            if name.strip() in ("vendor_id", "cpu family", "model", "flags", "Features", "CPU part"):
                cpu.append(value.strip())
            if not line.strip():
                break
    return [*cpu, *_gpus()]


def _gpus() -> list[str]:
    """Name, compute capability and driver of each, as NVIDIA's tool says; its runtime puts it into pods."""
    if not (tool := shutil.which(_GPU_TOOL)):
        return []
    command = [tool, "--query-gpu=name,compute_cap,driver_version", "--format=csv,noheader"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=60, check=True)
    return done.stdout.splitlines()


def _settings(arguments: list[str], environment: Mapping[str, str]) -> list[str]:
    """All but where it is, what it is called, and secrets: more archives than needed, never one too few."""
    kept, skip = [], False
    for argument in arguments:
        name, equals, _ = argument.partition("=")
        if name not in _PLACES and not skip:
            kept.append(argument)
        skip = name in _PLACES and not equals
    found = {k: v for k, v in environment.items() if _SETTINGS.fullmatch(k) and not _OTHERS.fullmatch(k)}
    return [*kept, *(f"{name}={value}" for name, value in sorted(found.items()))]
