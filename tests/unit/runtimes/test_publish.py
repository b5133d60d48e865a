"""Where pods find a client's mount: at no moment an empty directory.

Any file system mounts as a client does.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtimes.node import clean
from runtimes.node.mountinfo import device_at
from runtimes.node.publish import live_at, publish, published_at, withdraw

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


@pytest.fixture
def point(tmp_path: Path) -> Iterator[Path]:
    """An unmounted mount point."""
    made = tmp_path / "demo" / "model"
    made.mkdir(parents=True)
    yield made
    withdraw(made)
    while device_at(made):
        umount(made)


def mount(point: Path, file: str) -> str:
    """A client's mount with one file; its device number."""
    subprocess.run(["mount", "-t", "tmpfs", "client", str(point)], check=True)
    (point / file).touch()
    return device_at(point)


def umount(point: Path) -> None:
    subprocess.run(["umount", "--lazy", str(point)], check=True)


def test_pods_find_the_mount_and_no_directory_before_it(point: Path) -> None:
    found = published_at(point)
    assert not found.exists()
    publish(point, mount(point, "one"))
    assert os.listdir(found) == ["one"]
    publish(point, device_at(point))  # as often as one likes
    assert os.listdir(found) == ["one"]


def test_an_unmounted_mount_point_is_never_shown(point: Path) -> None:
    publish(point, mount(point, "one"))
    umount(point)  # what pods find is a mount of its own
    assert os.listdir(published_at(point)) == ["one"]
    withdraw(point)
    assert not published_at(point).exists()


def test_a_mount_that_went_meanwhile_is_not_shown(point: Path) -> None:
    number = mount(point, "one")
    umount(point)
    publish(point, number)
    assert not published_at(point).exists()
    assert os.listdir(live_at(point)) == [number.replace(":", "-")]  # not mounted, and named by no link
    publish(point, mount(point, "two"))
    assert os.listdir(published_at(point)) == ["two"]


def test_the_next_clients_mount_takes_the_place_of_the_one_before(point: Path) -> None:
    publish(point, mount(point, "one"))
    with os.scandir(published_at(point)) as before:
        umount(point)
        number = mount(point, "two")
        publish(point, number)
        assert os.listdir(published_at(point)) == ["two"]
        assert [entry.name for entry in before] == ["one"]  # who has it keeps it
    assert sorted(os.listdir(live_at(point))) == sorted(["data", number.replace(":", "-")])


def test_nobody_makes_a_directory_where_there_is_no_mount(point: Path) -> None:
    publish(point, mount(point, "one"))
    umount(point)
    withdraw(point)
    with pytest.raises(FileExistsError):  # as container engines do for what is not there
        os.makedirs(published_at(point), exist_ok=True)


def test_cleaning_leaves_nothing(point: Path) -> None:
    publish(point, mount(point, "one"))
    clean.unmount(point)
    assert not point.parent.exists()
    clean.unmount(point)
