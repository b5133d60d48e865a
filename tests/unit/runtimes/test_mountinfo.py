"""In which mount a path is found, and whether a node still shows what a container has."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runtimes.local.place import Place
from runtimes.node.mountinfo import Mount, mount_at

ROOT = "1 0 8:1 / / rw - ext4 /dev/sda1 rw"
DISK = "2 1 8:2 / /disk rw - ext4 /dev/sdb1 rw"
COVERED = "3 2 8:3 / /disk/cache/a rw - ext4 /dev/sdc1 rw"


def table(*lines: str) -> list[Mount]:
    return [Mount.parse(line) for line in lines]


@pytest.mark.parametrize(
    ("path", "number"),
    [
        ("/", "8:1"),
        ("/diskette", "8:1"),
        ("/disk", "8:2"),
        ("/disk/cache/ab", "8:2"),
        ("/disk/cache/a", "8:3"),
        ("/disk/cache/a/b", "8:3"),
    ],
)
def test_a_path_is_in_the_deepest_mount_above_it(path: str, number: str) -> None:
    found = mount_at(path, table(COVERED, DISK, ROOT))
    assert found is not None
    assert found.device.number == number


def test_what_is_mounted_over_others_hides_them() -> None:
    over = "4 1 8:4 / /disk rw - ext4 /dev/sdd1 rw"
    tucked = "4 2 8:4 / /disk rw - ext4 /dev/sdd1 rw"
    for lines in ((ROOT, DISK.replace("2 1", "2 4"), over), (ROOT, DISK, tucked)):
        expected = "8:2" if lines[2] == over else "8:4"
        found = mount_at("/disk/x", table(*lines))
        assert found is not None
        assert found.device.number == expected
    assert mount_at("/disk/cache/a", table(ROOT, DISK, COVERED, tucked)) == Mount.parse(tucked)
    assert mount_at("/", []) is None


class Container:
    """With a bind mount of /disk/cache/a of the node."""

    def __init__(self, directory: Path) -> None:
        (directory / "cache").mkdir()
        self.own, self.node, self.point = directory / "own", directory / "node", directory / "cache"
        self.bound("/cache/a")
        self.node.write_text("\n".join([ROOT, DISK, ""]))

    def bound(self, root: str) -> None:
        point = str(self.point).replace(" ", "\\040")
        self.own.write_text(f"7 0 0:9 / / rw - overlay o rw\n9 7 8:2 {root} {point} rw - ext4 /dev/sdb1 rw\n")

    def place(self) -> Place:
        return Place(self.point, self.own, self.node)


@pytest.fixture
def container(tmp_path: Path) -> Container:
    return Container(tmp_path)


def test_a_directory_that_stays_where_it_was_is_well(container: Container) -> None:
    place = container.place()
    place.check()
    container.node.rename(container.node.with_name("gone"))
    place.check()
    container.node.with_name("gone").rename(container.node)
    beside = "3 2 8:3 / /disk/cache/ab rw - ext4 /dev/sdc1 rw"
    container.node.write_text("\n".join([ROOT, DISK, beside, ""]))
    place.check()
    place.close()


def test_what_was_moved_or_covered_or_removed_is_told(container: Container) -> None:
    place = container.place()
    container.node.write_text("\n".join([ROOT, DISK, COVERED, ""]))
    with pytest.raises(FileNotFoundError, match="something was mounted over the cache: /disk/cache/a"):
        place.check()
    container.node.write_text("\n".join([ROOT, DISK, ""]))
    container.bound("/cache/b")
    with pytest.raises(FileNotFoundError, match="moved the cache: it is at /cache/b of its disk now"):
        place.check()
    container.bound("/cache/a")
    container.point.rename(container.point.with_name("aside"))
    container.point.mkdir()
    with pytest.raises(FileNotFoundError, match="another directory is where the cache was"):
        place.check()
    os.rmdir(container.point.with_name("aside"))
    with pytest.raises(FileNotFoundError, match="somebody removed the cache"):
        place.check()
    place.close()


def test_a_node_that_does_not_tell_its_mounts_has_lost_nothing(container: Container) -> None:
    container.node.unlink()
    place = container.place()
    place.check()
    container.node.write_text("\n".join([ROOT, DISK, COVERED, ""]))
    place.check()
    place.close()
