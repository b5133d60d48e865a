"""Which casts there are; runs without OCM's programs."""

from __future__ import annotations

import itertools

from tests.interop.parts import PARTS, Cast, chosen, every


def meetings(casts: list[Cast], size: int) -> set[tuple[tuple[str, bool], ...]]:
    return {
        meeting
        for cast in casts
        for meeting in itertools.combinations(((part, part in cast.ocm) for part in PARTS), size)
    }


def test_any_three_parts_meet_in_every_way() -> None:
    assert meetings(chosen(), 3) == meetings(every(), 3)


def test_every_cast_has_a_name_of_its_own() -> None:
    assert len({str(cast) for cast in every()}) == len(every()) == 2 ** len(PARTS)
