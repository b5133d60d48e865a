"""Which operations may work on a Dataset side by side, and who is next when they may not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from addon_framework.kube import Key
from addons.cache_runtime.agent.secrets import Name


@dataclass(frozen=True)
class Claim:
    """What an operation wants. Readers go together; who is exclusive goes alone. `order` is its age."""

    name: Name
    datasets: frozenset[Key]
    exclusive: bool
    order: tuple[str, str]

    def conflicts(self, other: Claim) -> bool:
        """Whether the two cannot run at once."""
        return (
            self.name != other.name
            and bool(self.datasets & other.datasets)
            and (self.exclusive or other.exclusive)
        )


class Turns:
    """Decides in one process, at once. What ran before a restart has to ask again first."""

    def __init__(self, wake: Callable[[Name], None]) -> None:
        self._wake = wake
        self._running: dict[Name, Claim] = {}
        self._waiting: dict[Name, Claim] = {}
        self._idle: dict[Name, Claim] = {}  # those that begin by a schedule

    def ask(self, claim: Claim, *, force: bool = False) -> Name | None:
        """None: it is its turn, until `end`. Else the operation that it waits for: first come, first served.

        `force` is for what has begun already.
        """
        self._idle.pop(claim.name, None)
        other = None if force or claim.name in self._running else self._before(claim)
        if other is not None:
            self._waiting[claim.name] = claim
            return other
        self._waiting.pop(claim.name, None)
        if claim.name not in self._running:
            self._wake_idle(claim)
        self._running[claim.name] = claim
        return None

    def idle(self, claim: Claim) -> Name | None:
        """Whom it would have to wait for if it began now. It is woken when that may have changed."""
        self.end(claim.name)
        self._idle[claim.name] = claim
        return self._before(claim)

    def _before(self, claim: Claim) -> Name | None:
        ahead = [other for other in self._waiting.values() if other.order < claim.order]
        for other in [*self._running.values(), *ahead]:
            if claim.conflicts(other):
                return other.name
        return None

    def end(self, name: Name) -> None:
        """It is over, or gone."""
        ended = self._running.pop(name, None)
        waited = self._waiting.pop(name, None)
        self._idle.pop(name, None)
        if ended is not None or waited is not None:
            for other in {*self._waiting, *self._idle}:
                self._wake(other)

    def _wake_idle(self, claim: Claim) -> None:
        for other in list(self._idle.values()):
            if claim.conflicts(other) and other.name not in self._running:
                self._wake(other.name)
