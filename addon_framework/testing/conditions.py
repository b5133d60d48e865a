"""Waiting for what a test expects, instead of sleeping."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any


async def eventually(
    check: Callable[[], Any],
    *,
    timeout: float = 90,
    interval: float = 0.02,
    swallow: type[Exception] | tuple[type[Exception], ...] = AssertionError,
) -> Any:
    """Calls `check` (plain or async) until its result is truthy, and returns that.

    Exceptions of `swallow` mean not yet; when the time is over the last one is raised, or an AssertionError
    with the last result.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    swallow = (*swallow, AssertionError) if isinstance(swallow, tuple) else (swallow, AssertionError)
    while True:
        failure: Exception | None = None
        result: Any = None
        try:
            result = check()
            if inspect.isawaitable(result):
                result = await result
            if result:
                return result
        except swallow as error:
            failure = error
        if loop.time() > deadline:
            if failure is not None:
                raise failure
            raise AssertionError(f"not true within {timeout} s; the last result was {result!r}")
        await asyncio.sleep(interval)
