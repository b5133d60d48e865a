"""What was loaded and is gone: who says so, whose it is, and when it is loaded again."""

from __future__ import annotations

from datetime import UTC, datetime

from addon_framework.api.meta import Json
from addons.cache_runtime.agent.operations import losses
from addons.cache_runtime.agent.operations.status import PartState, waiting_status

AT = 1_000_000.0
NOW = datetime.fromtimestamp(AT, UTC)


def load(*targets: str, **infos: str) -> Json:
    known = {"nodes": "a,b", "caches": f"a=first@{AT},b=second@{AT}", "mounts": "x"}
    return {
        "metadata": {"name": "llama", "generation": 1},
        "spec": {"target": [{"path": target} for target in targets]},
        "status": {"phase": "Complete", "infos": {**known, **infos}},
    }


def state(cache: str, *paths: str, files: int = 0, at: float = AT + 1) -> Json:
    said: Json = {"report": "state", "time": at, "cache": cache}
    return said | ({"lost": {"files": files or len(paths), "paths": list(paths)}} if paths else {})


def test_another_directory_is_a_loss_and_the_same_is_none() -> None:
    states = {"a": state("other"), "b": state("second"), "c": state("third")}
    assert losses.found(load(), states) == {"a": "the cache was removed, or is on another disk"}
    assert losses.found(load(), {"a": state("")}), "it has none now"
    assert losses.found(load(), {}) == {}
    assert losses.found(load(), {"a": {"report": "state", "time": AT + 1}}) == {}, "of another backend"


def test_what_was_said_before_the_load_ended_is_not_about_it() -> None:
    assert losses.found(load(), {"a": state("other", at=AT)}) == {}


def test_files_are_of_the_load_that_has_them_among_its_targets() -> None:
    states = {"a": state("first", "x/1", "y/2")}
    assert losses.found(load("/x"), states) == {"a": "2 files are gone or cut (x/1, y/2)"}
    assert losses.found(load(), states)
    assert losses.found(load("/xx", "z"), states) == {}
    assert losses.found(load("z"), {"a": state("first", "x/1", files=99)}), "not all are told by name"


def test_a_load_keeps_what_other_nodes_have() -> None:
    said = losses.lost_status(load(), {"b": "the cache was removed"}, NOW)
    assert said["phase"] == "Pending"
    assert (said["infos"]["nodes"], said["infos"]["caches"]) == ("a", f"a=first@{AT}")
    assert said["infos"]["message"] == "on node b the cache was removed; it is loaded again"
    part = PartState("b", {"done": {"cache": "new", "time": AT + 9}})
    again = {**load(), "status": said}
    assert losses.of_parts(again, [PartState("a"), part]) == f"a=first@{AT},b=new@{AT + 9:.3f}"
    waits = waiting_status(again, "waiting for Secret keys")
    assert waits["infos"]["lost"] == "on node b the cache was removed"


def test_the_first_loss_is_mended_at_once_and_later_ones_later() -> None:
    lost, moment, waits = {"a": "it was removed"}, AT, []
    known = load()
    for _ in range(9):
        now = datetime.fromtimestamp(moment, UTC)
        known["status"] = losses.lost_status(known, lost, now)
        waits.append(losses.delay(known, now))
        moment += waits[-1] + 60
    assert waits == [0, 30, 60, 120, 240, 480, 960, 1800, 1800]
    assert "in 1800 seconds, since that has happened 9 times" in known["status"]["infos"]["message"]
    known["status"] = losses.lost_status(known, lost, datetime.fromtimestamp(moment + 3600, UTC))
    assert losses.delay(known, datetime.fromtimestamp(moment + 3600, UTC)) == 0


def test_a_dataset_says_what_happened_and_how_far_it_is() -> None:
    running = load(lost="on node a it was removed", percentage="40.0%", rate="1MiB/s", eta="3s")
    running["status"]["phase"] = "Executing"
    text = losses.message([running], {})
    assert text == "on node a it was removed; DataLoad llama loads it again: 40.0%, 1MiB/s, 3s left"
    failed = load(lost="on node a it was removed", message="the store is away")
    failed["status"]["phase"] = "Failed"
    assert losses.message([failed], {}).endswith("DataLoad llama loads it again: the store is away")
    states = {"a": state("first", "x")}
    assert losses.message([], states) == (
        "on node a 1 file is gone or cut (x); a DataLoad is made that loads them again"
    )
    assert losses.message([load()], {"a": state("first")}) == ""


def test_files_that_no_load_has_loaded_are_abandoned() -> None:
    states = {"a": state("first", "x/1", "y/2"), "c": state("third", "x/1", files=99), "d": state("fourth")}
    assert losses.abandoned([], states) == {"a": ["x/1", "y/2"], "c": ["/"]}
    assert losses.abandoned([load("x")], states) == {"a": ["y/2"], "c": ["/"]}, "it has loaded nothing on c"
    assert losses.abandoned([load()], states) == {"c": ["/"]}
    running = load("z")
    running["status"]["phase"] = "Executing"
    assert losses.abandoned([running], states) == {}


def test_a_load_that_brings_back_what_was_abandoned_says_so_until_it_has() -> None:
    ours = load("x/1")
    ours["metadata"]["annotations"] = {"data.boundaryless.io/lost": "x/1"}
    assert losses.message([ours], {}) == ""
    ours["status"] = {}
    assert losses.message([ours], {}) == "gone or cut: x/1; DataLoad llama loads it again"
    ours["status"] = {"phase": "Failed", "infos": {"message": "the store is away"}}
    assert losses.message([ours], {}).endswith("DataLoad llama loads it again: the store is away")
