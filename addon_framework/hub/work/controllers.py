"""The controllers of works, in one list."""

from __future__ import annotations

from addon_framework.hub.work.finished import FinishedWorkController
from addon_framework.hub.work.replicasets import ReplicaSetController
from addon_framework.kube import Controller


def work_controllers() -> list[Controller]:
    """All of them."""
    return [ReplicaSetController(), FinishedWorkController()]
