"""When a client's mount is measured, and when it is not; here the mount is a plain directory."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from runtimes.node import speed

MIB = 1 << 20


class Rates:
    """What reading gives, by the calls so far: (where it began, bytes a second)."""

    def __init__(self, *cache: int, source: int = 100) -> None:
        self.cache, self.source, self.starts = list(cache), source, list[int]()

    def of_file(self, path: Path, start: int) -> int:
        self.starts.append(start)
        return self.cache.pop(0)

    def of_source(self, source: object, obj: object, start: int) -> int:
        return self.source


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    """The source and the mount, which has the one large file of it."""
    source, mounted = tmp_path / "source", tmp_path / "mounts" / "llama"
    source.mkdir()
    mounted.mkdir(parents=True)
    for directory in (source, mounted):
        with (directory / "weights").open("wb") as file:
            os.truncate(file.fileno(), 200 * MIB)
    (source / "small").write_bytes(b"small")
    return source, mounted


def measured(
    places: tuple[Path, Path],
    rates: Rates,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    pod: str = "u1",
) -> tuple[list[dict[str, Any]], list[float]]:
    """The reports, and how long it waited each time."""
    source, mounted = places
    monkeypatch.setattr(speed, "of_file", rates.of_file)
    monkeypatch.setattr(speed, "of_source", rates.of_source)
    slept: list[float] = []
    said = [{"url": f"file://{source}", "path": "/llama", "options": {}}]
    speed.measure(mounted, said, {}, identity=[pod], sleep=slept.append)
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()], slept


def test_a_fast_mount_is_measured_once_in_its_pods_life(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (first,), _ = measured(places, Rates(200), monkeypatch, capsys)
    assert (first["report"], first["cache"], first["source"]) == ("speed", 200, 100)
    assert first["file"] == "weights"
    assert measured(places, Rates(), monkeypatch, capsys) == ([first], [])  # said again, not measured
    (anew,), _ = measured(places, Rates(300), monkeypatch, capsys, pod="u2")
    assert anew["cache"] == 300


def test_a_little_slower_may_be_chance(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said, _ = measured(places, Rates(81), monkeypatch, capsys)
    assert [report["cache"] for report in said] == [81]


def test_a_slow_one_is_looked_at_again_ever_more_rarely_and_elsewhere_in_the_file(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rates = Rates(1, 2, 200)
    said, slept = measured(places, rates, monkeypatch, capsys)
    assert [report["cache"] for report in said] == [1, 2, 200]
    assert rates.starts == [0, 64 * MIB, 128 * MIB]
    assert [seconds for seconds in slept if seconds > 60] == [600, 1200]


def test_no_part_of_the_file_is_read_twice(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rates = Rates(1, 1, 1, 1)
    said, _ = measured(places, rates, monkeypatch, capsys)
    assert len(said) == len(rates.starts) == 4  # 200 MiB have four parts
    assert rates.starts[-1] == 192 * MIB


def test_a_client_that_went_away_is_waited_for(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Dying(Rates):
        def of_file(self, path: Path, start: int) -> int:
            if self.cache[0] == 0:
                self.cache.pop(0)
                raise OSError("Transport endpoint is not connected")
            return super().of_file(path, start)

    said, slept = measured(places, Dying(0, 200), monkeypatch, capsys)
    assert [report["cache"] for report in said] == [200]
    assert 10 in slept
