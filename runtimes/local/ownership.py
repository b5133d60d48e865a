"""Who reads a range from the origin when several caches lack it: rendezvous hashing. Pure.

Everybody who knows the same members agrees without asking; when one goes, only its ranges move.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable


def owner(members: Iterable[str], file: str, number: int) -> str:
    """The member that reads range `number` of `file`. Raises ValueError when there are none."""
    return max(members, key=lambda member: (_weight(member, file, number), member))


def _weight(member: str, file: str, number: int) -> bytes:
    return hashlib.blake2b(f"{file}/{number}/{member}".encode(), digest_size=8).digest()
