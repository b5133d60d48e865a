"""What a fleet is made of, before anything runs."""

from __future__ import annotations

import ipaddress
import itertools
import secrets
import socket
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from addon_framework.local.fleet import FleetError, FleetOptions, network
from addon_framework.local.fleet.state import Layout, create, extend

LOOPBACK = FleetOptions(isolated=False, link="none")


def test_spokes_get_their_gpus_and_regions_in_order(tmp_path: Path) -> None:
    options = msgspec.structs.replace(LOOPBACK, spokes=3, gpus=(4, 1), regions=("here", "there"))
    clusters = create(Layout(tmp_path), options).clusters
    assert [c.name for c in clusters] == ["cluster1", "cluster2", "cluster3"]
    assert [c.gpus for c in clusters] == [4, 1, 0]
    assert [c.region for c in clusters] == ["here", "there", "here"]


@given(st.integers(1, network.MAX_SPOKES))
def test_no_two_clusters_share_an_address(spokes: int) -> None:
    block = "198.18.32"
    ranges = [
        ipaddress.ip_network(network_of(block, index))
        for index in range(spokes + 1)
        for network_of in (network.services, network.pods)
    ]
    for one in ranges:
        assert sum(one.overlaps(other) for other in ranges) == 1
    nodes = [ipaddress.ip_address(network.spoke_address(block, index)) for index in range(1, spokes + 1)]
    assert not any(node in one for node in nodes for one in ranges)


def test_a_fleet_grows_but_does_not_shrink(tmp_path: Path) -> None:
    state = create(Layout(tmp_path), LOOPBACK)
    grown = extend(state, "127.9.0", msgspec.structs.replace(LOOPBACK, spokes=3))
    assert grown.clusters[:2] == state.clusters
    with pytest.raises(FleetError, match="not shrink"):
        extend(grown, "127.9.0", LOOPBACK)


def test_more_spokes_than_one_machine_has_networks_for_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FleetError, match="at most 15"):
        create(Layout(tmp_path), msgspec.structs.replace(LOOPBACK, spokes=16))


@pytest.mark.parametrize("beyond", [0, 10000], ids=["http", "grpc"])
def test_the_store_gets_ports_that_are_free_on_every_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, beyond: int
) -> None:
    drawn = itertools.count(2000)
    monkeypatch.setattr(secrets, "randbelow", lambda _: next(drawn))
    first = create(Layout(tmp_path), LOOPBACK).store
    drawn = itertools.count(2000)
    with socket.socket() as other:
        other.bind(("127.77.77.77", first.s3 + beyond))
        other.listen()
        store = create(Layout(tmp_path), LOOPBACK).store
    assert first.s3 not in (store.s3, store.master, store.volume, store.filer, store.admin)


def test_the_state_survives_writing_and_is_for_its_owner_only(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "fleet")
    state = create(layout, LOOPBACK)
    layout.save(state)
    assert layout.load() == state
    assert layout.state.stat().st_mode & 0o077 == 0
    assert layout.directory.stat().st_mode & 0o077 == 0


def test_a_damaged_state_is_named_with_what_to_do(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.state.write_text("{")
    with pytest.raises(FleetError, match="fleetadm delete"):
        layout.load()


@pytest.mark.parametrize("rate", ["1gbit", "500mbit", "2.5gbit", "none"])
def test_rates_that_tc_takes(rate: str) -> None:
    assert network.valid_rate(rate)


@pytest.mark.parametrize("rate", ["", "1", "fast", "1gbit; reboot", "1 gbit", "-1gbit"])
def test_rates_that_are_none(rate: str) -> None:
    assert not network.valid_rate(rate)
