"""What a cache backend is: one small class that describes, and leaves the doing to the add-on.

The cache add-on owns everything that takes time or can fail half way: phases, volumes, finalizers, retries,
status. It asks a backend only questions, all of them pure but `measure`: is this spec valid, which pods does
it need, where is the data, which command warms it, which one removes it.

A backend's pods report by printing JSON objects, one a line, with a field `report`:

    {"report": "state", "cached": 123, "capacity": 456, "hits": 7, "misses": 1}     bytes, and lookups;
                                                          hitBytes and missBytes: what those were about;
                                                          total and totalFiles: what the source has, where
                                                          only a client can tell
    {"report": "start", "time": 1764034000.1, "total": 123, "totalFiles": 9}         a load begins
    {"report": "progress", "bytes": 99, "files": 3, "rate": 118000000}               bytes a second
    {"report": "trouble", "time": ..., "message": "..."}                             nothing moves, and why
    {"report": "speed", "time": ..., "cache": 2100000000, "source": 118000000}       bytes a second
    {"report": "done", "time": ..., "bytes": 123, "files": 9}                        a load ends
    {"report": "failed", "time": ..., "reason": "...", "message": "..."}             a load ends

One that failed is tried again by its Job, unless the report says `"permanent": true`.

The add-on follows the pods' logs; a program that prints something else overrides `report`.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, ClassVar, Literal

from addon_framework.api.data import DataLoad, Dataset
from addon_framework.api.meta import Json, Resource, from_dict
from addon_framework.api.quantity import parse_quantity
from runtimes.mounts import SecretKey as SecretKey
from runtimes.mounts import Source as Source
from runtimes.mounts import sources_of

CACHE_DIRECTORY = "/var/lib/boundaryless/cache"
MEMORY_DIRECTORY = "/dev/shm"
MOUNT_DIRECTORY = "/var/lib/boundaryless/mounts"
PORTS_ANNOTATION = "data.boundaryless.io/ports"


class Missing(str):
    """A problem that ends when another object comes; every other one stays until the specs change."""


@dataclass(frozen=True)
class Cache:
    """A Dataset and the runtime that caches it: what a backend decides from."""

    dataset: Dataset
    runtime: Json
    sources: tuple[Source, ...]
    image: str  # this project's own image: python with addon_framework, addons and runtimes
    profile: Json | None = None  # the cluster's object that the runtime names (see Backend.profile)

    @classmethod
    def of(cls, dataset: Json, runtime: Json, *, image: str, profile: Json | None = None) -> Cache:
        """From the objects as the API server has them."""
        typed = from_dict(Dataset, dataset)
        return cls(typed, runtime, sources_of(typed), image, profile)

    @property
    def namespace(self) -> str:
        """Of the Dataset, and of everything that belongs to it."""
        return self.dataset.metadata.namespace

    @property
    def name(self) -> str:
        """Of the Dataset, the runtime and the claim."""
        return self.dataset.metadata.name

    @property
    def spec(self) -> Json:
        """The runtime's spec."""
        return self.runtime.get("spec") or {}

    @property
    def title(self) -> str:
        """How messages call the runtime: LocalRuntime demo/model."""
        return f"{self.runtime.get('kind', 'runtime')} {self.namespace}/{self.name}"

    @property
    def read_only(self) -> bool:
        """Fluid's rule: ReadOnlyMany anywhere, or nothing said, makes it read-only."""
        modes = self.dataset.spec.access_modes
        return not modes or "ReadOnlyMany" in modes

    @property
    def ports(self) -> dict[str, int]:
        """In nodes' networks, by the names that the backend gave; empty until they are allocated."""
        return allocated(self.runtime)

    @property
    def _level(self) -> Json:
        levels = (self.spec.get("tieredstore") or {}).get("levels") or [{}]
        return dict(levels[0])

    @property
    def directory(self) -> str:
        """The cache's own directory on a node, below the path of the first tier."""
        return f"{level_paths(self._level)[0]}/{self.namespace}/{self.name}"

    @property
    def mount_point(self) -> str:
        """Where a FUSE client mounts, on a node."""
        return f"{MOUNT_DIRECTORY}/{self.namespace}/{self.name}"

    @property
    def quota(self) -> int | None:
        """Bytes that the cache may hold on one node; None when nothing is said. Raises ValueError."""
        level = self._level
        if level.get("quotaList"):
            return int(sum((parse_quantity(q) for q in str(level["quotaList"]).split(",")), Decimal(0)))
        return int(parse_quantity(level["quota"])) if level.get("quota") else None


Role = Literal["master", "worker", "client"]


@dataclass(frozen=True)
class Service:
    """A headless Service: names for the pods of a component from their start on, or for `pod` alone."""

    name: str
    ports: Mapping[str, int] = field(default_factory=dict)
    pod: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    governing: bool = False  # pods have names of their own below it, for as long as the component is there


@dataclass(frozen=True)
class Component:
    """One kind of pod of a cache. `pod` is a PodSpec; affinity and owners are the add-on's."""

    role: Role
    pod: Json
    replicas: int | None = None  # None: one on every node that fits
    config_maps: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # name -> data
    services: Sequence[Service] = ()
    name: str = ""  # of the workload; the Dataset's and the role when empty
    labels: Mapping[str, str] = field(default_factory=dict)  # of the pods, besides the add-on's
    annotations: Mapping[str, str] = field(default_factory=dict)  # of the pods
    private: bool = False  # only pods of the Dataset's own may reach it, where NetworkPolicies are honoured
    follows: bool = False  # whether its program reads config_maps anew whenever they change
    portable: bool = True  # whether it works in a pod of its users, with nothing of the node's
    kernel: bool = False  # whether the kernel mounts for it, and goes on when it has ended


@dataclass(frozen=True)
class Exec:
    """A command that the add-on runs in the first container of the first pod of a component."""

    role: Role
    command: Sequence[str]
    timeout: float = 60.0  # seconds
    inputs: str = ""  # what its effect depends on besides; it runs again when that changes


@dataclass(frozen=True)
class Profile:
    """A kind of object of the cluster that runtimes name in a field of their spec."""

    resource: Resource
    field: str


@dataclass(frozen=True)
class Volume:
    """Where the data is on a node, and which component must be ready before pods may mount it.

    `mounted`: the path is there only while a client shows the data at it (see runtimes.node.publish); else
    the node makes a directory of it.
    """

    path: str
    after: Literal["client", "none"] = "none"
    mounted: bool = False


@dataclass(frozen=True)
class Task:
    """Something that runs once on every node of the cache, or `once` anywhere. `pod` is a PodSpec.

    `after` "client": only where a client is ready; else as soon as a node is known.
    """

    pod: Json
    after: Literal["client", "none"] = "none"
    once: bool = False


@dataclass(frozen=True)
class Migration:
    """Files from one place to another: those of `sources` below `base`, into `directory` of `target`.

    URLs are those of a Dataset's mounts, and pvc://claim/path.
    """

    sources: tuple[Source, ...]
    base: str
    target: Source
    directory: str = ""
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Backup:
    """What to write into local:///path or pvc://claim/path (see runtimes.backups), and whom it belongs to.

    `size` (bytes), `files` and `ufs_total` are what the Dataset's status says of its source, if it does.
    """

    url: str
    size: int | None = None
    files: int | None = None
    ufs_total: str = ""  # 443.89MiB
    owner: tuple[int, int] | None = None  # uid and gid
    contents: bool = False  # the files too


@dataclass(frozen=True)
class CacheState:
    """Bytes, and ratios from 0 to 1; None is not known.

    `local` and `remote` are shares of the bytes that were read lately: from the reader's own node, and from
    others'. `source`: the bytes and files that there are, where `Backend.measure` cannot tell.
    """

    cached: int | None = None
    capacity: int | None = None
    hit_ratio: float | None = None
    local: float | None = None
    remote: float | None = None
    source: tuple[int, int] | None = None


class Backend(ABC):
    """Subclass it and name the class by an entry point of the group `boundaryless.runtimes`."""

    type: ClassVar[str]  # as Dataset.status.runtimes[].type has it
    resource: ClassVar[Resource]  # the kind of the runtime object
    profile: ClassVar[Profile | None] = None  # what Cache.profile is
    status_of_parts: ClassVar[bool] = False  # whether the runtime's status has an object of each component
    restores: ClassVar[bool] = False  # whether Dataset.spec.dataRestoreLocation means something (see backup)

    @abstractmethod
    def validate(self, cache: Cache) -> list[str]:
        """What is wrong with the specs: one sentence each, with the object and the field."""

    def profile_problems(self, profile: Json) -> list[str]:
        """What of an object of the kind `profile` could never work, whichever runtime names it."""
        return []

    def without_effect(self, cache: Cache) -> Mapping[str, str]:
        """Fields that Fluid has and that mean nothing here, and why.

        `spec.x.y` is of the runtime, `Dataset.spec.x` of the Dataset. Whoever gives one is told so (see
        runtimes.validation). What a user could rely on is refused instead.
        """
        return {}

    @abstractmethod
    def components(self, cache: Cache) -> list[Component]:
        """The pods it needs."""

    @abstractmethod
    def volume(self, cache: Cache) -> Volume:
        """Where pods find the data."""

    def shown(self, cache: Cache) -> Sequence[Source] | None:
        """The sources, each with the path at which pods find it; None where only the client knows."""
        return cache.sources

    def prepare(self, cache: Cache) -> Exec | None:
        """What mounts the sources, whenever they change or the component has started; None: nothing does."""
        return None

    def prepared(self, cache: Cache, output: str) -> str:
        """Why the sources are not mounted although the command of `prepare` succeeded and printed this."""
        return ""

    def summary(self, cache: Cache) -> Exec | None:
        """What tells the cache's state, for `summarize`; None where the pods' reports do."""
        return None

    def summarize(self, cache: Cache, output: str) -> CacheState:
        """The state in what the command of `summary` printed."""
        return CacheState()

    @abstractmethod
    def warm(self, cache: Cache, load: DataLoad) -> Task | None:
        """The task that brings data into a node's cache; None when there is nothing to warm."""

    def load_problems(self, cache: Cache, load: DataLoad) -> list[str]:
        """What of a DataLoad it could not honour: each begins with the field, such as spec.options."""
        return []

    @abstractmethod
    def clean(self, cache: Cache) -> Task:
        """The task that leaves nothing of the cache on a node, after all other pods of it are gone."""

    def migrate(self, cache: Cache, migration: Migration) -> Task | str | None:
        """The task that copies; it shares the files with its like by JOB_COMPLETION_INDEX and PODS.

        A text is what is wrong with the migration, beginning with the field; None: it migrates nothing.
        """
        return None

    def backup(self, cache: Cache, backup: Backup) -> Task | str | None:
        """The task, once on a node of the cache, that writes down what a Dataset needs to begin from.

        A text is what is wrong with it, beginning with the field; None: there is nothing to keep. A backend
        that begins from such a backup, where the Dataset has a `dataRestoreLocation`, sets `restores`; its
        pods then report {"report": "restored", "bytes": 123, "files": 9}: what the source had.
        """
        return None

    async def version(self, cache: Cache, secrets: Mapping[SecretKey, str]) -> str | None:
        """Changes whenever the data at the source does; None when that cannot be told. Raises OSError."""
        return None

    def host_ports(self, cache: Cache) -> Sequence[str]:
        """Names of the ports that its pods need in their nodes' networks; `Cache.ports` has them then."""
        return ()

    def hcfs(self, cache: Cache) -> str:
        """Where Hadoop's clients find it, as Dataset.status.hcfs.endpoint has it."""
        return ""

    def gateway(self, cache: Cache) -> str:
        """Where clients without its protocol find it, as the runtime's status.apiGateway.endpoint has it."""
        return ""

    def scale(self, cache: Cache) -> int | None:
        """How many nodes hold the cache; None: every node that fits."""
        return int(cache.spec.get("replicas") or 0) or None

    def report(self, line: str) -> Json | None:
        """What a line of a pod's log reports; None when it is just a line."""
        if not line.startswith("{"):
            return None
        try:
            said = json.loads(line)
        except ValueError:
            return None
        return said if isinstance(said, dict) and said.get("report") else None

    def state(self, cache: Cache, reports: Sequence[Json]) -> CacheState:
        """The cache's state from the last state that each node reported."""
        if not reports:
            return CacheState()
        counters = ("hits", "misses", "hitBytes", "missBytes")
        hits, misses, here, missing = (sum(int(s.get(name) or 0) for s in reports) for name in counters)
        limits = [int(said["capacity"]) for said in reports if said.get("capacity")]
        totals = [(int(s["total"]), int(s.get("totalFiles") or 0)) for s in reports if "total" in s]
        return CacheState(
            # Every node has a copy of its own, so the least full one is what can be relied on.
            cached=min(int(said.get("cached") or 0) for said in reports),
            capacity=cache.quota or (min(limits) if limits else None),
            hit_ratio=hits / (hits + misses) if hits + misses else None,
            local=here / (here + missing) if here + missing else None,
            source=max(totals, default=None),
        )

    async def measure(self, cache: Cache, secrets: Mapping[SecretKey, str]) -> tuple[int, int] | None:
        """Bytes and files at the source; None when it cannot be told from here. Raises OSError."""
        return None


def level_paths(level: Mapping[str, Any]) -> list[str]:
    """The directories of a tier, of which there may be several; JuiceFS puts a colon between them."""
    default = MEMORY_DIRECTORY if level.get("mediumtype") == "MEM" else CACHE_DIRECTORY
    return [path.strip().rstrip("/") for path in re.split("[,:]", str(level.get("path") or default))]


def allocated(runtime: Json) -> dict[str, int]:
    """The ports that the add-on gave a runtime, by name."""
    said = (runtime["metadata"].get("annotations") or {}).get(PORTS_ANNOTATION)
    try:
        found = json.loads(said) if said else {}
    except ValueError:
        return {}
    return {str(name): port for name, port in found.items() if isinstance(port, int)}


def unknown(known: Sequence[str], given: Mapping[str, Any]) -> list[str]:
    """The names in `given` that are not known, for `validate`."""
    return sorted(set(given) - set(known))
