"""The migrating program at a real S3 server that goes away, and with names that no object can have."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from addon_framework.api.meta import Json
from runtimes.migrate import program
from runtimes.source import SourceError
from tests.integration.cache_runtime.faultyproxy import Asked, Fault, FaultyProxy, faulty
from tests.integration.cache_runtime.objectstore import ACCESS_KEY, BUCKET, SECRET_KEY, ObjectStore

KEYS = {
    f"{end}_{name}": value
    for end in ("SOURCE0", "TARGET")
    for name, value in (("ACCESS_KEY", ACCESS_KEY), ("SECRET_KEY", SECRET_KEY))
}
MANY = 100


@pytest.fixture
def proxy(store: ObjectStore) -> Iterator[FaultyProxy]:
    with faulty(store.endpoint) as proxy:
        yield proxy


def specification(source: str, target: str, endpoint: str) -> Json:
    options = {"endpoint": endpoint}
    return {
        "sources": [{"url": source, "path": "/", "options": options if source.startswith("s3") else {}}],
        "to": {"url": target, "options": options if target.startswith("s3") else {}},
        "threads": 4,
    }


def said(capsys: pytest.CaptureFixture[str], kind: str) -> list[Json]:
    reports = map(json.loads, capsys.readouterr().out.splitlines())
    return [each for each in reports if each["report"] == kind]


def test_a_source_that_is_gone_is_told_and_ends_it_for_all_files(
    store: ObjectStore,
    proxy: FaultyProxy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    prefix = f"moved/{tmp_path.name}"
    client = store.client()
    for number in range(MANY):
        client.put_object(Bucket=BUCKET, Key=f"{prefix}/{number:03}", Body=b"x")

    def gone(asked: Asked) -> Fault | None:
        return None if "list-type" in asked.path else Fault(status=500, code="InternalError")

    proxy.rule = gone
    monkeypatch.setattr(program, "_PATIENCE", 1.0)
    wanted = specification(f"s3://{BUCKET}/{prefix}", f"file://{tmp_path}/to", proxy.endpoint)
    with pytest.raises(SourceError, match="InternalError"):
        program.run(wanted, KEYS)
    assert "InternalError" in said(capsys, "trouble")[0]["message"]
    assert len({asked.path for asked in proxy.asked}) < MANY // 2, "the others were not asked for in vain"
    assert not list((tmp_path / "to").rglob("*.part"))
    proxy.rule = lambda asked: None
    program.run(wanted, KEYS)
    assert len(list((tmp_path / "to").iterdir())) == MANY


def test_a_bucket_that_refuses_us_fails_by_its_name(
    store: ObjectStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "a").write_bytes(b"x")
    wanted = specification(f"file://{tmp_path}", "s3://archive/at/all", store.endpoint)
    for name, value in {**KEYS, "TARGET_ACCESS_KEY": "nobody", "MIGRATION": json.dumps(wanted)}.items():
        monkeypatch.setenv(name, value)
    assert program.main() == 1
    (failed,) = said(capsys, "failed")
    assert failed["reason"] == "TargetError"
    assert "s3://archive/at/all" in failed["message"]
    assert "Forbidden" in failed["message"]


def test_names_that_are_not_utf8_move_to_directories_and_are_named_where_they_cannot(
    proxy: FaultyProxy, tmp_path: Path
) -> None:
    source = tmp_path / "from"
    source.mkdir()
    (source / os.fsdecode(b"caf\xe9")).write_bytes(b"latin")
    program.run(specification(f"file://{source}", f"file://{tmp_path}/to", ""), KEYS)
    assert (tmp_path / "to" / os.fsdecode(b"caf\xe9")).read_bytes() == b"latin"
    with pytest.raises(OSError, match=r"caf\\udce9.* is not UTF-8"):
        program.run(specification(f"file://{source}", f"s3://{BUCKET}/to", proxy.endpoint), KEYS)
