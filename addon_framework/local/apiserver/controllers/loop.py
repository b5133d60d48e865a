"""The loop that every controller runs: one key after the other, whatever happens to one of them."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import TypeVar

import structlog

from addon_framework.local.apiserver.hooks import answered
from addon_framework.local.apiserver.status import StatusError

log = structlog.get_logger(__name__)
Key = TypeVar("Key")
_BREATH = 64


async def work(name: str, queue: asyncio.Queue[Key], sync: Callable[[Key], None]) -> None:
    """Syncs keys until cancelled. A refused write or a bug costs one key, not the server."""
    done = 0
    while True:
        key = await queue.get()
        try:
            await answered(functools.partial(sync, key))
        except StatusError as error:
            log.info("controller was refused", controller=name, key=key, reason=error.message)
        except Exception:
            log.exception("controller failed", controller=name, key=key)
        done += 1
        if done % _BREATH == 0:
            await asyncio.sleep(0)  # a long queue must not hold up requests
