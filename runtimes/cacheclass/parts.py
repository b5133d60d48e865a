"""The components of a cache as its class defines them and its runtime changes them. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from addon_framework.api.meta import Json
from runtimes.interface import Cache, Role

ROLES: tuple[Role, ...] = ("master", "worker", "client")


@dataclass(frozen=True)
class Part:
    """One component: its definition in the class, and its section of the runtime."""

    cache: Cache
    role: Role
    definition: Json
    section: Json

    @property
    def name(self) -> str:
        """Of its workload."""
        return f"{self.cache.name}-{self.role}"

    @property
    def field(self) -> str:
        """Of the runtime."""
        return f"{self.cache.title}: spec.{self.role}"

    @property
    def defined(self) -> str:
        """Of the class."""
        return f"{class_title(self.cache)}: topology.{self.role}"

    @property
    def replicas(self) -> int:
        """Of a master or a worker."""
        said = self.section.get("replicas")
        return 1 if said is None else int(said)

    @property
    def runs(self) -> bool:
        """Whether there are pods."""
        return self.role == "client" or self.replicas > 0

    @property
    def service(self) -> str:
        """The headless Service; empty where the class wants none."""
        wanted = (self.definition.get("service") or {}).get("headless") is not None
        return f"svc-{self.name}" if wanted else ""

    @property
    def options(self) -> dict[str, str]:
        """The class's, the runtime's over them, and the component's own over those."""
        given = (self.definition.get("options"), self.cache.spec.get("options"), self.section.get("options"))
        return {name: value for options in given for name, value in (options or {}).items()}

    @property
    def levels(self) -> list[Json]:
        """Of its tiered store."""
        return list((self.section.get("tieredStore") or {}).get("levels") or [])

    @property
    def spec(self) -> Json:
        """The PodSpec of its template."""
        return (self.definition.get("template") or {}).get("spec") or {}

    @property
    def first(self) -> Json:
        """The container that the contract is with."""
        containers: list[Json] = self.spec.get("containers") or [{}]
        return containers[0]


def parts(cache: Cache) -> dict[Role, Part]:
    """Those that the class has and the runtime does not disable."""
    topology, found = (cache.profile or {}).get("topology") or {}, {}
    for role in ROLES:
        definition, section = topology.get(role), cache.spec.get(role) or {}
        if definition is not None and not section.get("disabled"):
            found[role] = Part(cache, role, definition, section)
    return found


def executing(cache: Cache) -> Part | None:
    """Where commands run: in the master, or in the worker of a cache without one."""
    known = parts(cache)
    return next((known[r] for r in ("master", "worker") if r in known and known[r].runs), None)


def class_title(cache: Cache) -> str:
    """How messages call the class."""
    return f"CacheRuntimeClass {cache.spec.get('runtimeClassName', '')}"
