"""Kubernetes' two time formats: whole seconds (Time) and microseconds (MicroTime), both RFC 3339 in UTC."""

from __future__ import annotations

from datetime import UTC, datetime


def now_rfc3339(now: datetime | None = None) -> str:
    """As creationTimestamp is written: 2026-11-24T10:00:00Z."""
    at = (now or datetime.now(UTC)).astimezone(UTC)
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")


def micro_time(now: datetime | None = None) -> str:
    """As a Lease's renewTime is written: 2026-11-24T10:00:00.000000Z."""
    return (now or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_time(text: str) -> datetime:
    """Either format. Raises ValueError."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
