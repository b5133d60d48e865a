"""Numbers as Fluid writes them for people."""

from __future__ import annotations

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
CALCULATING = "[Calculating]"


def human_size(size: int | float) -> str:
    """443.89MiB."""
    number = float(size)
    for unit in _UNITS[:-1]:
        if number < 1024:
            return f"{number:.2f}{unit}"
        number /= 1024
    return f"{number:.2f}{_UNITS[-1]}"


def short_size(size: int | float) -> str:
    """4 digits, as in labels: 2GiB, 1.5TiB."""
    number, unit = float(size), 0
    while number >= 1024 and unit < len(_UNITS) - 1:
        number, unit = number / 1024, unit + 1
    return f"{number:.4g}{_UNITS[unit]}"


def percentage(part: int | float, whole: int | float) -> str:
    """12.3%; of nothing, everything is there."""
    return f"{100 * part / whole:.1f}%" if whole else "100.0%"


def human_duration(seconds: float) -> str:
    """As Go prints it, in whole seconds: 1h2m3s."""
    total = max(0, round(seconds))
    hours, rest = divmod(total, 3600)
    minutes, left = divmod(rest, 60)
    if hours:
        return f"{hours}h{minutes}m{left}s"
    return f"{minutes}m{left}s" if minutes else f"{left}s"
