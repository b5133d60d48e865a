"""A cache that is filled from another whose source is gone: the other says what there is, if believed."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from addon_framework.api.meta import Json
from runtimes.local.peers import PORT, token_of
from tests.integration.cache_runtime.faultyproxy import Asked, Fault
from tests.integration.cache_runtime.objectstore import ObjectStore
from tests.integration.cache_runtime.test_peer_processes import Node, Nodes, done

FILES = {"model.bin": bytes(range(256)) * 40_000, "config.json": b"{}", "empty": b""}


@pytest.fixture
def nodes(store: ObjectStore, tmp_path: Path) -> Iterator[Nodes]:
    with Nodes.of(store, FILES, f"listing/{tmp_path.name}", tmp_path) as made:
        yield made


def gone(asked: Asked) -> Fault:
    return Fault(status=404, code="NoSuchBucket")


def listed(node: Node) -> int:
    """What its worker answers."""
    token = {"Authorization": f"Bearer {token_of(node.environment)}"}
    try:
        url = f"http://{node.host}:{PORT}/listing"
        with urllib.request.urlopen(urllib.request.Request(url, headers=token), timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def failed(loader: subprocess.Popen[str]) -> Json:
    """Why it failed."""
    out, _ = loader.communicate(timeout=90)
    said = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    found: Json = next(each for each in said if each["report"] == "failed")
    return found


def filled_from(node: Node, other: Node, **more: bool) -> Node:
    node.specification |= {"from": [f"{other.host}:{PORT}"], **more}
    return node


async def test_a_copy_goes_by_the_list_of_a_cache_that_has_all(nodes: Nodes) -> None:
    await nodes.start()
    one, two, three = nodes.all
    nodes.load(one)
    nodes.proxy.rule = gone
    refused = failed(filled_from(two, one).load())
    assert "NoSuchBucket" in refused["message"]
    assert "options.listing: cache takes the list from the cache" in refused["message"]
    (said,) = nodes.load(filled_from(two, one, listing=True))
    assert two.cached == nodes.files
    assert (said["origin"], said["peers"], said["unverified"]) == (0, sum(map(len, FILES.values())), 0)
    # It has all of it from then on, and so others may have it from there.
    (said,) = nodes.load(filled_from(three, two, listing=True))
    assert three.cached == nodes.files


async def test_a_cache_that_has_a_part_lists_nothing(nodes: Nodes) -> None:
    await nodes.start()
    one, two, _ = nodes.all
    one.specification["targets"] = ["/config.json"]
    nodes.load(one)
    assert listed(one) == 404
    del one.specification["targets"]
    nodes.load(one)
    assert listed(one) == 200
    (one.directory / "data" / "config.json").unlink()
    assert listed(one) == 404
    nodes.proxy.rule = gone
    assert (
        f"{one.host}:{PORT}: has not all of it"
        in failed(filled_from(two, one, listing=True).load())["message"]
    )
    assert two.cached == {}
    one.environment["SOURCE0_SECRET_KEY"] = "another"
    assert listed(one) == 401


def test_a_loaders_own_list_keeps_checksums_that_were_asked_for(nodes: Nodes) -> None:
    """Uploads in parts tell theirs only one by one; a load that has nothing to do asks nobody."""
    node = nodes.all[0]
    node.knows(nodes.all)
    done(node.load())
    first = json.loads((node.directory / "listing.json").read_text())
    assert all(said["digest"] for said in first.values())
    done(node.load())
    assert json.loads((node.directory / "listing.json").read_text()) == first
