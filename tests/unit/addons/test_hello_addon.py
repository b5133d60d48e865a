"""The example of the page for authors keeps the contract and the page's promises."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from addon_framework.hub.addons.render import render_addon
from addon_framework.plugins import Plugin, Plugins
from addon_framework.testing import AddonContract

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "examples" / "hello-addon"


class TestHello(AddonContract):
    addon = "hello-addon"

    @pytest.fixture
    def plugin(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Plugin]:
        monkeypatch.syspath_prepend(EXAMPLE)
        from hello_addon import HelloAddon

        yield Plugins().add(self.addon, HelloAddon)
        sys.modules.pop("hello_addon")

    def test_it_can_be_rendered(self, plugin: Plugin) -> None:
        kinds = [obj["kind"] for obj in render_addon(plugin).objects]
        assert kinds[-2:] == ["AddOnTemplate", "ClusterManagementAddOn"]


def test_it_takes_as_many_lines_as_the_page_says() -> None:
    lines = [line for line in (EXAMPLE / "hello_addon.py").read_text().splitlines() if line.strip()]
    assert len(lines) <= 40
    page = (ROOT / "docs" / "write-an-add-on.md").read_text()
    assert f"`hello_addon.py`, {len(lines)} lines" in page
