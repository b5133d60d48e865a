"""What the remounter reads and keeps; the mounting is in tests/integration/cache_runtime/test_remount.py."""

from __future__ import annotations

from pathlib import Path

from runtimes.node import remount
from runtimes.node.mountinfo import Device, Mount

LINE = "1245 1170 0:412 /deep\\040er /models\\040a ro,nosuid,nodev master:77 - fuse.s3fs s3fs rw\n"


def test_a_line_of_mountinfo_with_blanks_and_optional_fields() -> None:
    found = Mount.parse(LINE)

    assert found.device == Device("0:412", "fuse.s3fs", "s3fs")
    assert (found.root, found.point) == ("/deep er", "/models a")
    assert found.options == ("ro", "nosuid", "nodev")


def test_what_was_mounted_is_kept_until_the_machine_starts_again(tmp_path: Path) -> None:
    record = remount.record_of(tmp_path / "model")
    devices = {Device("0:412", "fuse.s3fs", "s3fs"), Device("0:413", "fuse.s3fs", "s3fs")}

    remount._save(record, devices)
    assert remount._load(record) == devices

    record.write_text(record.read_text().replace('"boot": "', '"boot": "another-'))
    assert remount._load(record) == set()


def test_a_record_that_is_no_record_is_begun_anew(tmp_path: Path) -> None:
    record = remount.record_of(tmp_path / "model")
    assert remount._load(record) == set()
    record.write_text('{"devices": [')
    assert remount._load(record) == set()
