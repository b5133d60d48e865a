"""Where logs go: to stderr, always; lines for people on a terminal, JSON for machines."""

from __future__ import annotations

import logging
import sys
from typing import Any


def configure(verbosity: str) -> None:
    """`verbosity` is a level's name: debug, info, warning, error."""
    import structlog

    def to_json(event: Any, **_: Any) -> str:
        import orjson

        return orjson.dumps(event, default=str).decode()

    terminal = sys.stderr.isatty()
    renderer: Any = (
        structlog.dev.ConsoleRenderer() if terminal else structlog.processors.JSONRenderer(serializer=to_json)
    )
    processors: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=not terminal),
    ]
    if not terminal:
        processors.append(structlog.processors.format_exc_info)
    structlog.configure(
        processors=[*processors, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[verbosity.upper()]
        ),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
