"""Checksums that are made while ranges come: in any order, some in an earlier life, some twice."""

from __future__ import annotations

import hashlib
import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.local import assembly as assembly_module
from runtimes.local.assembly import Assembly
from runtimes.source import Object, SourceError, checksums
from runtimes.source.checksums import crc, hasher

KINDS = ("md5", *checksums.KINDS)
# https://reveng.sourceforge.io/crc-catalogue: bits, the reflected polynomial, and the sum of "123456789"
CRCS = {
    "crc32": (32, 0xEDB88320, 0xCBF43926),
    "crc32c": (32, 0x82F63B78, 0xE3069283),
    "crc64nvme": (64, 0x9A6C9329AC4BC9B5, 0xAE8B14860A799888),
}


def digest(kind: str, data: bytes) -> bytes:
    """CRCs bit by bit, as they are defined."""
    if kind not in CRCS:
        return hashlib.new(kind, data).digest()
    bits, polynomial, _ = CRCS[kind]
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (polynomial if value & 1 else 0)
        table.append(value)
    value = ones = (1 << bits) - 1
    for byte in data:
        value = (value >> 8) ^ table[(value ^ byte) & 255]
    return (value ^ ones).to_bytes(bits // 8, "big")


@pytest.fixture(autouse=True)
def small_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assembly_module, "RANGE", 1000)


def with_checksum(obj: Object, kind: str, found: str) -> Object:
    return replace(obj, md5=found) if kind == "md5" else replace(obj, stored=(kind, found))


def described(content: bytes, kind: str, part_size: int) -> Object:
    """As S3 tells of it: a digest of the whole, or of the parts' digests and their number."""
    if not part_size:
        return with_checksum(Object("f", len(content)), kind, digest(kind, content).hex())
    parts = [content[at : at + part_size] for at in range(0, len(content), part_size)]
    whole = digest(kind, b"".join(digest(kind, part) for part in parts)).hex()
    return with_checksum(Object("f", len(content), part_size=part_size), kind, f"{whole}-{len(parts)}")


def bring(assembly: Assembly, content: bytes, numbers: list[int], piece: int) -> list[bool]:
    """Ranges, in pieces; whether each was the last."""
    said = []
    for number in numbers:
        start, end = assembly.bounds(number)
        for at in range(start, end, piece):
            assembly.write(memoryview(bytearray(content[at : min(at + piece, end)])), at)
        said.append(assembly.complete(number))
    return said


@pytest.mark.parametrize("kind", CRCS)
def test_sums_are_those_of_the_catalogue(kind: str) -> None:
    assert digest(kind, b"123456789") == CRCS[kind][2].to_bytes(CRCS[kind][0] // 8, "big")
    sums = hasher(kind)
    for piece in (b"", b"1234", memoryview(b"56789")):
        sums.update(piece)
    assert sums.digest() == digest(kind, b"123456789")


@given(kind=st.sampled_from(sorted(CRCS)), first=st.binary(max_size=300), second=st.binary(max_size=300))
def test_two_sums_are_joined(kind: str, first: bytes, second: bytes) -> None:
    found = crc(kind)
    assert found is not None
    assert found.joined(found.of(first), found.of(second), len(second)) == found.of(first + second)
    assert found.digest(found.of(second, found.of(first))) == digest(kind, first + second)


@given(
    kind=st.sampled_from(KINDS),
    size=st.integers(1, 6_500),
    part_size=st.sampled_from([0, 700, 1000, 1500, 4000]),
    piece=st.integers(100, 1200),
    order=st.randoms(use_true_random=False),
)
def test_in_any_order_and_over_two_lives(
    tmp_path_factory: pytest.TempPathFactory,
    kind: str,
    size: int,
    part_size: int,
    piece: int,
    order: random.Random,
) -> None:
    content, path = order.randbytes(size), tmp_path_factory.mktemp("assembly") / "f.part"
    obj = described(content, kind, part_size)
    numbers = list(range(assembly_module.ranges(size)))
    order.shuffle(numbers)
    earlier = order.randrange(len(numbers))
    first = Assembly(obj, path)
    assert not any(bring(first, content, numbers[:earlier], piece))
    first.close()
    second = Assembly(obj, path)
    if earlier < len(numbers):  # a range that broke off comes again from its beginning
        start, end = second.bounds(numbers[earlier])
        second.write(memoryview(bytearray(end - start))[: (end - start) // 2], start)
    said = bring(second, content, numbers[earlier:], piece)
    assert said == [False] * (len(said) - 1) + [True]
    assert second.matches()
    assert second.finish().read_bytes() == content
    whole = obj.hasher()
    assert whole is not None
    whole.update(content)
    assert (kind, whole.hexdigest()) == obj.checksum


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part_size", [0, 700, 4000])
def test_one_wrong_bit_is_found(tmp_path: Path, kind: str, part_size: int) -> None:
    content = random.Random(1).randbytes(5_300)
    wrong = bytearray(content)
    wrong[4_242] ^= 4
    assembly = Assembly(described(content, kind, part_size), tmp_path / "f.part")
    bring(assembly, bytes(wrong), [5, 0, 2, 1, 4, 3], 400)
    assert not assembly.matches()
    with pytest.raises(SourceError, match=f"the bytes that came are not the object's: {kind.upper()} is"):
        assembly.finish()
    assert not (tmp_path / "f.part").exists()
    again = Assembly(described(content, kind, part_size), tmp_path / "f.part")
    bring(again, bytes(wrong), [0, 1, 2, 3, 4, 5], 400)
    again.restart()  # as when peers gave wrong bytes
    bring(again, content, again.missing, 400)
    assert again.finish().read_bytes() == content


def test_an_empty_object_has_a_checksum_too(tmp_path: Path) -> None:
    for kind in KINDS:
        assembly = Assembly(with_checksum(Object("f", 0), kind, hasher(kind).hexdigest()), tmp_path / kind)
        assert assembly.complete(0)
        assert assembly.finish().read_bytes() == b""
