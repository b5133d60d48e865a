"""What the administration programs of caches print: lines of a label and a size. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

_SIZE = re.compile(r"([\d,]+(?:\.\d+)?)\s*([KMGTP]?)i?B?\b", re.IGNORECASE)
_POWERS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40, "P": 50}


def sizes(output: str, labels: Iterable[str]) -> dict[str, int]:
    """Bytes by label, of lines like `Used Capacity: 1.50GB`; units are powers of 1024, by any name."""
    found: dict[str, int] = {}
    wanted = set(labels)
    for line in output.splitlines():
        label, colon, value = line.strip().partition(":")
        if colon and label in wanted and (said := _SIZE.match(value.strip())):
            number = float(said.group(1).replace(",", ""))
            found.setdefault(label, round(number * (1 << _POWERS[said.group(2).upper()])))
    return found
