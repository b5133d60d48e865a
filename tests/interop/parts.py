"""The six parts of a fleet, and who plays them: ours or OCM's."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

HUB_PARTS = ("registration", "placement", "work", "addons")  # as `fleetadm hub run --controllers` has them
REGISTRATION_AGENT, WORK_AGENT = "registration-agent", "work-agent"
PARTS = (*HUB_PARTS, REGISTRATION_AGENT, WORK_AGENT)
_SHORT = {"registration": "R", "placement": "P", "work": "W", "addons": "A"}
_SHORT |= {REGISTRATION_AGENT: "r", WORK_AGENT: "w"}


@dataclass(frozen=True)
class Cast:
    """Which parts are OCM's; the others are ours."""

    ocm: frozenset[str]

    def __str__(self) -> str:
        if not self.ocm:
            return "all-ours"
        if len(self.ocm) == len(PARTS):
            return "all-ocm"
        if len(self.ocm) == 1:
            return f"ours-with-ocm-{next(iter(self.ocm))}"
        if len(self.ocm) == len(PARTS) - 1:
            return f"ocm-with-our-{next(iter(set(PARTS) - self.ocm))}"
        return "ocm-" + "".join(_SHORT[part] for part in PARTS if part in self.ocm)

    @property
    def ours_on_hub(self) -> list[str]:
        """For `fleetadm hub run --controllers`."""
        return [part for part in HUB_PARTS if part not in self.ocm]

    @property
    def ours_on_spoke(self) -> list[str]:
        """For `fleetadm agent run --controllers`."""
        agents = {REGISTRATION_AGENT: "registration", WORK_AGENT: "work"}
        return [name for part, name in agents.items() if part not in self.ocm]


def chosen() -> list[Cast]:
    """All ours, all OCM's, each single swap both ways, OCM's hub with our agents, and our hub with OCM's.

    Any three parts meet in every way in these.
    """
    everything, hub = frozenset(PARTS), frozenset(HUB_PARTS)
    casts = [Cast(frozenset()), Cast(everything), Cast(hub), Cast(everything - hub)]
    casts += [Cast(frozenset({part})) for part in PARTS]
    return casts + [Cast(everything - {part}) for part in PARTS]


def every() -> list[Cast]:
    """All 64."""
    sizes = range(len(PARTS) + 1)
    return [Cast(frozenset(ocm)) for size in sizes for ocm in itertools.combinations(PARTS, size)]
