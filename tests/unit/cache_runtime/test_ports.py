"""Ports in nodes' networks."""

from __future__ import annotations

import json

import pytest

from addon_framework.api.meta import Json
from addons.cache_runtime.agent.ports import FIRST, LAST, NoPortLeftError, allocate
from runtimes.interface import PORTS_ANNOTATION, allocated


def runtime(uid: str, **ports: int) -> Json:
    """With what it was given before."""
    annotations = {PORTS_ANNOTATION: json.dumps(ports)} if ports else {}
    return {"metadata": {"name": uid, "uid": uid, "annotations": annotations}}


def test_no_two_caches_share_one() -> None:
    other = runtime("other", rpc=FIRST)
    given = allocate(runtime("mine"), ["rpc", "web"], [other])
    assert given == {PORTS_ANNOTATION: json.dumps({"rpc": FIRST + 1, "web": FIRST + 2})}


def test_what_was_given_stays() -> None:
    mine = runtime("mine", rpc=FIRST + 7)
    assert allocate(mine, ["rpc"], [mine]) is None
    given = allocate(mine, ["rpc", "web"], [mine])
    assert given is not None
    assert allocated({"metadata": {"annotations": given}}) == {"rpc": FIRST + 7, "web": FIRST}


def test_it_says_when_none_is_left() -> None:
    full = runtime("other", **{str(port): port for port in range(FIRST, LAST + 1)})
    with pytest.raises(NoPortLeftError, match="ContainerNetwork"):
        allocate(runtime("mine"), ["rpc"], [full])


def test_nothing_is_written_where_nothing_is_wanted() -> None:
    assert allocate(runtime("mine"), [], []) is None
