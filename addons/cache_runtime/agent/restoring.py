"""A Dataset that begins from a backup: what its pods found there. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from addon_framework.api.conditions import get_condition, set_condition
from addon_framework.api.meta import Json
from addon_framework.api.time import now_rfc3339
from addons.cache_runtime.agent.backends import Binding
from addons.cache_runtime.agent.sizes import CALCULATING, human_size
from runtimes.backup_pods import DIRECTORY


@dataclass(frozen=True)
class Restored:
    """Bytes and files that the source had; `waiting` until some pod has looked."""

    counted: tuple[int, int] | None = None
    adopted: int = 0  # files that need not be read again, on the node that has most
    problem: str = ""
    waiting: bool = False


def restored(binding: Binding, said: Sequence[Json], pods: int) -> Restored | None:
    """From what the cache's pods reported; None where nothing is to be restored."""
    location = binding.cache.dataset.spec.data_restore_location
    if location is None or not binding.backend.restores:
        return None
    counted = next(((int(each["bytes"]), int(each["files"])) for each in said if "bytes" in each), None)
    if counted is not None:
        return Restored(counted, max(int(each.get("adopted") or 0) for each in said))
    problem = next((str(each["problem"]) for each in said if each.get("problem")), "")
    problem = problem.replace(DIRECTORY, location.path)  # where containers see it is nothing to people
    if not problem and said and len(said) >= pods:
        problem = f"no node has {location.path}"
    return Restored(problem=problem, waiting=not problem)


def is_news(dataset: Json) -> bool:
    """Whether the backup knows more than the status does: later numbers are the source's own."""
    return (dataset.get("status") or {}).get("ufsTotal") in (None, "", CALCULATING)


def say(status: Json, found: Restored | None) -> None:
    """A condition `Restored` in a Dataset's status."""
    if found is None or found.waiting:
        return
    now = now_rfc3339()
    text = found.problem
    if found.counted is not None:
        size, files = found.counted
        spared = f"{found.adopted} of them need not" if found.adopted else "all of them have to"
        text = f"{human_size(size)} in {files} files; {spared} be read again"
    reason = "BackupUnreadable" if found.problem else "DatasetReady"
    if set_condition(status["conditions"], "Restored", not found.problem, reason, text, now=now):
        condition = get_condition(status["conditions"], "Restored")
        assert condition is not None
        condition["lastUpdateTime"] = now
