"""Which controllers a hub manager runs."""

from __future__ import annotations

import pytest

from addon_framework.hub.run import UnknownController, select


def test_controllers_are_chosen_by_name() -> None:
    assert select(None) == ["registration", "placement", "work", "addons"]
    assert select(["placement"]) == ["placement"]
    with pytest.raises(UnknownController, match="plasement; known are registration, placement, work, addons"):
        select(["plasement"])
