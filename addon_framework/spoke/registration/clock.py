"""The hub's time. Certificates and tokens are good by the hub's clock, whatever that of this cluster says."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import structlog

log = structlog.get_logger(__name__)
TOLERANCE = timedelta(seconds=30)  # answers travel, and say whole seconds


class HubClock:
    """Our own clock, put right by the Date that the hub's answers carry."""

    def __init__(self, local: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.local = local
        self.ahead = timedelta()  # of the hub's

    def __call__(self) -> datetime:
        """What time it is on the hub."""
        return self.local() - self.ahead

    def hear(self, date: str) -> None:
        """What an answer of the hub says, as HTTP writes it."""
        try:
            ahead = self.local() - parsedate_to_datetime(date)
        except (ValueError, TypeError):
            return  # no date, or one without a zone
        if abs(ahead - self.ahead) <= TOLERANCE:
            return
        self.ahead = ahead if abs(ahead) > TOLERANCE else timedelta()
        seconds = round(self.ahead.total_seconds())
        log.warning("the clocks of this cluster and the hub differ", seconds_ahead_of_the_hub=seconds)
