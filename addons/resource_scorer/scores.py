"""From what is free to scores: which families of resources there are, and the formula.

Scores, each from -100 to 100, in the AddOnPlacementScore `resource-usage-score`; `*` is cpu, mem, gpu, tpu:

- `*NodeAvailable`: of what the single node with most has free; for one pod that must fit,
- `*ClusterAvailable`: of what all nodes together have free; for many pods,
- `*Available`: the same as `*ClusterAvailable`.

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
from addons.resource_scorer.ledger import Free

LOWEST, HIGHEST = -100, 100
_VALID_SECONDS = 300


class BadVariable(ValueError):
    """A customized variable that is not what it must be."""


@dataclass(frozen=True)
class Family:
    """Resources that count as one: their names, and the amount that scores 100."""

    resources: tuple[str, ...]
    unit: float
    maximum: float

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

    def scores(self, free: Mapping[str, Free]) -> dict[str, int]:
        """All scores by name."""
        result = {}
        for name, family in self.families.items():
            node, cluster = family.score(free[name].node), family.score(free[name].cluster)
            result[f"{name}Available"] = cluster
            result[f"{name}NodeAvailable"], result[f"{name}ClusterAvailable"] = node, cluster
        return result


DEFAULTS = {
    "cpu": Family(("cpu",), 1, 10_000),
    "mem": Family(("memory",), 2**30, 2**46),
    "gpu": Family(("nvidia.com/gpu", "amd.com/gpu", "gpu.intel.com/i915", "gpu.intel.com/xe"), 1, 1024),
    "tpu": Family(("google.com/tpu",), 1, 1024),
}
VARIABLES = (*(f"{name}Max" for name in DEFAULTS), "gpuResources", "tpuResources", "validSeconds")


def settings_from(variables: Mapping[str, str]) -> Settings:
    """Settings with the `customizedVariables` of an AddOnDeploymentConfig over the defaults.

    `cpuMax`, `memMax`, `gpuMax`, `tpuMax` are quantities; `gpuResources` and `tpuResources` are names of
    extended resources, separated by commas; `validSeconds` is how long a score holds when no agent renews
    it. Other variables are not ours to judge. Raises BadVariable.
    """
    families = {}
    for name, default in DEFAULTS.items():
        maximum = _number(variables, f"{name}Max", default.maximum, above=0)
        resources = default.resources
        if f"{name}Resources" in VARIABLES and f"{name}Resources" in variables:
            resources = _names(f"{name}Resources", variables[f"{name}Resources"])
        families[name] = Family(resources, default.unit, maximum)
    return Settings(families, _number(variables, "validSeconds", _VALID_SECONDS, above=9))


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


def _names(variable: str, text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not names:
        raise BadVariable(f"customizedVariables {variable}: must name at least one resource")
    return names
