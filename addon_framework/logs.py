"""Where our processes' logs go: to stderr, always; lines for people on a terminal, JSON for machines.

Every process calls `configure` first. Tracebacks are plain: structlog's own show local variables, and those
may be secrets.
"""

from __future__ import annotations

import logging
import sys
from typing import Any


def configure(verbosity: str = "info") -> None:
    """`verbosity` is a level's name: debug, info, warning, error."""
    import structlog

    def to_json(event: Any, **_: Any) -> str:
        import orjson

        return orjson.dumps(event, default=str).decode()

    terminal = sys.stderr.isatty()
    processors: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=not terminal),
    ]
    if terminal:
        processors.append(structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback))
    else:
        processors += [
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=to_json),
        ]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[verbosity.upper()]
        ),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
