"""Waiting for an object to be as wanted, by watching it: a restart of the API server is no failure."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from addon_framework.api.meta import Json, Resource
from addon_framework.kube.client import Client
from addon_framework.kube.errors import Unreachable
from addon_framework.kube.informer import Informer
from addon_framework.kube.key import Key

T = TypeVar("T")
_PAUSE = 0.1  # seconds


class WaitTimeoutError(TimeoutError):
    """The time is over; the message says what was waited for and `last` is the object as last seen."""

    def __init__(self, message: str, last: Json | None) -> None:
        super().__init__(message)
        self.last = last


async def wait_for(
    client: Client,
    resource: Resource,
    name: str,
    namespace: str | None = None,
    *,
    until: Callable[[Json | None], bool],
    timeout: float,
    what: str = "",
    on_change: Callable[[Json | None], None] | None = None,
) -> Json | None:
    """Returns the object as soon as `until(object or None)` holds. Raises WaitTimeoutError.

    `on_change` sees every state on the way, for progress.
    """
    informer: Informer[Json] = Informer(
        client, resource, namespace=namespace, field_selector=f"metadata.name={name}"
    )
    key = Key(namespace or "", name)
    changed = asyncio.Event()
    informer.on_event(lambda old, new: changed.set())
    task = asyncio.create_task(informer.run())
    try:
        async with asyncio.timeout(timeout):
            await informer.synced()
            while True:
                changed.clear()
                current = informer.get(key)
                if on_change is not None:
                    on_change(current)
                if until(current):
                    return current
                await changed.wait()
    except TimeoutError:
        subject = f"{resource.kind} {key}"
        raise WaitTimeoutError(
            f"{subject}: not {what or 'as wanted'} after {timeout:.0f} s", informer.get(key)
        ) from None
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until_reached(call: Callable[[], Awaitable[T]], *, timeout: float) -> T:
    """The answer of `call`, which is repeated while the API server is away: it must be safe to repeat.

    Raises Unreachable after `timeout` seconds.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    while True:
        try:
            return await call()
        except Unreachable:
            if loop.time() > deadline:
                raise
        await asyncio.sleep(_PAUSE)
