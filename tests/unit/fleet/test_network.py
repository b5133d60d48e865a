"""A fleet's network, made for real; needs root."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from addon_framework.local.fleet import FleetOptions, network
from addon_framework.local.fleet.state import FleetState, Layout, create

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")]

Make = Callable[[], FleetState]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Another fleet in the same place each time, with its network; removed afterwards."""
    made: list[FleetState] = []
    options = FleetOptions(spokes=1, link="none")

    def bring_up() -> FleetState:
        state = create(Layout(tmp_path), options)
        made.append(state)
        network.up(state)
        return state

    yield bring_up
    for state in made:
        network.down(state)


def inside(state: FleetState) -> str:
    namespace = network.namespace(state, state.clusters[0])
    command = ["ip", "-netns", namespace, "-4", "-brief", "address", "show", "dev", "eth0"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_after_a_fleet_whose_directory_was_removed_a_new_one_has_its_own_addresses(make: Make) -> None:
    removed, new = make(), make()
    assert removed.id == new.id
    assert removed.clusters[0].address != new.clusters[0].address
    assert f" {new.clusters[0].address}/24 " in inside(new)


def test_what_is_up_stays_as_it_is(make: Make) -> None:
    state = make()
    before = inside(state)
    network.up(state)
    assert inside(state) == before
