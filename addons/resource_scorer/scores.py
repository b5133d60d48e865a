"""From what is free to scores: which families of resources there are, and the formula.

Scores, each from -100 to 100, in the AddOnPlacementScore `resource-usage-score`; `*` is cpu, mem, gpu, tpu:

- `*NodeAvailable`: of what the single node with most has free; for one pod that must fit,
- `*ClusterAvailable`: of what all nodes together have free; for many pods,
- `*Available`: the same as `*ClusterAvailable`.
- `*NodeUsed`, `*ClusterUsed`, `*Used`, of cpu and mem, where the cluster has a metrics API: which part is
  really in use, on the node that uses least and on all nodes: -100 is nothing, 0 half, 100 all, in fives.

The names are those of OCM's own add-on (addon-contrib, resource-usage-collect), so its Placements work here.
Its formula is `200 * free / max - 100` with max 100 cores, 20 GPUs, 20 TPUs, 1024 * 1024 of memory: all
clusters above max are equal, and 4 free GPUs are -60, less than the 0 that a Placement gives a cluster
without a score, such as one whose agent died.

Ours is -100 when nothing is free, and otherwise `100 * log(1 + free / unit) / log(1 + max / unit)`, rounded
and kept within 1 and 100. So a cluster that has some comes before one of which nothing is known, and that
before one that has none; more free is never a lower score; and one device more shows among few (0 to 12 GPUs
all differ), while among many about a tenth more does. Units are a core, a GiB, a device.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from addon_framework.api.quantity import parse_quantity
from addons.resource_scorer.ledger import Free, Share

LOWEST, HIGHEST = -100, 100
_VALID_SECONDS, _METRICS_SECONDS = 300, 60
_STEP = 5


class BadVariable(ValueError):
    """A customized variable that is not what it must be."""


@dataclass(frozen=True)
class Family:
    """Resources that count as one: their names, and the amount that scores 100."""

    resources: tuple[str, ...]
    unit: float
    maximum: float
    drivers: tuple[str, ...] = ()  # of dynamic resource allocation, each of whose devices counts as one

    def score(self, free: float) -> int:
        """The formula."""
        if free <= 0:
            return LOWEST
        share = math.log1p(free / self.unit) / math.log1p(self.maximum / self.unit)
        return min(HIGHEST, max(1, round(HIGHEST * share)))


@dataclass(frozen=True)
class Settings:
    """Families by the prefix of their scores, and how long a score is valid."""

    families: Mapping[str, Family]
    valid_seconds: float = _VALID_SECONDS
    metrics_seconds: float = _METRICS_SECONDS

    def devices(self, free: Mapping[str, int]) -> dict[str, int]:
        """Free devices by family, given those by driver."""
        families = self.families.items()
        return {name: sum(free.get(driver, 0) for driver in family.drivers) for name, family in families}

    def scores(self, free: Mapping[str, Free], used: Mapping[str, Share]) -> dict[str, int]:
        """All scores by name."""
        result = {}
        for name, family in self.families.items():
            node, cluster = family.score(free[name].node), family.score(free[name].cluster)
            result[f"{name}Available"] = cluster
            result[f"{name}NodeAvailable"], result[f"{name}ClusterAvailable"] = node, cluster
        for name, share in used.items():
            result[f"{name}NodeUsed"], result[f"{name}ClusterUsed"] = (
                _percent(share.node),
                _percent(share.cluster),
            )
            result[f"{name}Used"] = result[f"{name}ClusterUsed"]
        return result


def _percent(share: float) -> int:
    """In steps, since what is used never stands still."""
    return min(HIGHEST, max(LOWEST, _STEP * round((200 * share - 100) / _STEP)))


DEFAULTS = {
    "cpu": Family(("cpu",), 1, 10_000),
    "mem": Family(("memory",), 2**30, 2**46),
    "gpu": Family(
        ("nvidia.com/gpu", "amd.com/gpu", "gpu.intel.com/i915", "gpu.intel.com/xe"),
        1,
        1024,
        ("gpu.nvidia.com", "gpu.amd.com", "gpu.intel.com"),
    ),
    "tpu": Family(("google.com/tpu",), 1, 1024, ("tpu.google.com",)),
}
VARIABLES = (
    *(f"{name}Max" for name in DEFAULTS),
    *("gpuResources", "tpuResources", "gpuDrivers", "tpuDrivers"),
    *("validSeconds", "metricsSeconds"),
)


def settings_from(variables: Mapping[str, str]) -> Settings:
    """Settings with the `customizedVariables` of an AddOnDeploymentConfig over the defaults.

    `cpuMax`, `memMax`, `gpuMax`, `tpuMax` are quantities; `gpuResources` and `tpuResources` are names of
    extended resources, `gpuDrivers` and `tpuDrivers` of DRA drivers, separated by commas; `validSeconds` is
    how long a score holds when no agent renews it, `metricsSeconds` how often the metrics API is asked.
    Other variables are not ours to judge. Raises BadVariable.
    """
    families = {}
    for name, default in DEFAULTS.items():
        maximum = _number(variables, f"{name}Max", default.maximum, above=0)
        resources = _listed(variables, f"{name}Resources", default.resources)
        drivers = _listed(variables, f"{name}Drivers", default.drivers)
        families[name] = Family(resources, default.unit, maximum, drivers)
    return Settings(
        families,
        _number(variables, "validSeconds", _VALID_SECONDS, above=9),
        _number(variables, "metricsSeconds", _METRICS_SECONDS, above=4),
    )


def _number(variables: Mapping[str, str], name: str, default: float, *, above: float) -> float:
    if name not in variables:
        return default
    try:
        value = float(parse_quantity(variables[name]))
    except ValueError as error:
        raise BadVariable(f"customizedVariables {name}: {error}") from None
    if value <= above:
        raise BadVariable(f"customizedVariables {name}: {variables[name]!r} must be more than {above:g}")
    return value


def _listed(variables: Mapping[str, str], variable: str, default: tuple[str, ...]) -> tuple[str, ...]:
    if variable not in VARIABLES or variable not in variables:
        return default
    names = names_in(variables[variable])
    if not names:
        raise BadVariable(f"customizedVariables {variable}: must name at least one resource")
    return names


def names_in(text: str) -> tuple[str, ...]:
    """What a variable lists, separated by commas."""
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
