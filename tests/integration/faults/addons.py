"""Two add-ons: one that does what it should, and one whose plug-in can be made to fail in three ways."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from addon_framework.api.meta import Json
from addon_framework.plugins import AddonDescription, NoProbe, Plugins, hookimpl
from tests.integration.spoke.objects import config_map

STEADY, FAULTY = "steady", "faulty"


class Mood:
    """How the faulty plug-in answers; all managers' instances share it."""

    def __init__(self) -> None:
        self.mode = "good"
        self._well = threading.Event()
        self._well.set()

    def turn(self, mode: str) -> None:
        """good, raises, hangs or nonsense."""
        self.mode = mode
        if mode == "hangs":
            self._well.clear()
        else:
            self._well.set()

    def answer(self, manifests: list[Json]) -> Any:
        """What the hook gives, if it gives anything."""
        if self.mode == "raises":
            raise RuntimeError("out of order")
        if self.mode == "nonsense":
            return [{"neither": "kind nor name"}, 7]
        self._well.wait()
        return manifests


class Addon:
    """Ships one ConfigMap with the value that its configuration gives, and has an identity on the hub."""

    def __init__(self, name: str, mood: Mood) -> None:
        self._name, self._mood = name, mood

    @hookimpl
    def addon_describe(self) -> AddonDescription:
        return AddonDescription(
            name=self._name, health=NoProbe, hook_timeout=0.5, install_namespace="default"
        )

    @hookimpl
    def addon_manifests(self, values: Mapping[str, Any]) -> Any:
        return self._mood.answer([config_map(f"f-{self._name}", "default", v=values.get("VALUE", ""))])


def plugins(mood: Mood) -> Plugins:
    """Those of one manager."""
    found = Plugins()
    found.add(STEADY, Addon(STEADY, Mood()))
    found.add(FAULTY, Addon(FAULTY, mood))
    return found
