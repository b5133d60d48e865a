"""The controller: level-triggered reconciliation of keys, and how events become keys."""

from __future__ import annotations

import asyncio
import contextlib
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from addon_framework.api.meta import Resource
from addon_framework.kube.client import Client
from addon_framework.kube.errors import ApiError, Conflict, Unreachable
from addon_framework.kube.informer import AnyInformer
from addon_framework.kube.key import Key, key_of
from addon_framework.kube.queue import WorkQueue

if TYPE_CHECKING:
    from addon_framework.kube.manager import Manager

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Watch:
    """What a controller watches, and which keys an event on it concerns.

    `map` gives the keys of the old and of the new object (default: the object's own); `predicate(old, new)`
    false drops the event.
    """

    resource: Resource
    map: Callable[[Any], Iterable[Key]] | None = None
    namespace: str | None = None
    label_selector: str | None = None
    field_selector: str | None = None
    predicate: Callable[[Any, Any], bool] | None = None
    client: Client | None = None  # another cluster than the controller's own
    model: type[Any] | None = None  # cache structs of this type instead of dicts: many objects, few fields


def came_or_went(old: object, new: object) -> bool:
    """A predicate: an event is about whether an object is there at all."""
    return old is None or new is None


class Controller(ABC):
    """Subclass it: say what you watch, and make one key true in `reconcile`.

    `reconcile` is called with a key, never with an event: read what is now, from `cache`, and bring the world
    there. It must be safe to repeat and to be killed anywhere. Return seconds to be called again after a
    while; raise to be called again with back-off.
    """

    name: str = ""
    workers: int = 1

    manager: Manager
    client: Client
    queue: WorkQueue[Key]

    @abstractmethod
    def watches(self) -> list[Watch]:
        """What to watch; asked once, when the controller is added to its manager."""

    async def start(self) -> None:  # noqa: B027 - most have nothing to do
        """Called once the caches are filled, before the first key."""

    @abstractmethod
    async def reconcile(self, key: Key) -> float | None:
        """Makes the object `key` what it should be."""

    def cache(
        self,
        resource: Resource,
        *,
        namespace: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
        client: Client | None = None,
        model: type[Any] | None = None,
    ) -> AnyInformer:
        """The shared informer of what was named in `watches`, or of anything else (then ask before start)."""
        return self.manager.informer(
            resource,
            client=client or self.client,
            namespace=namespace,
            label_selector=label_selector,
            field_selector=field_selector,
            model=model,
        )

    # Wiring, called by the manager

    def attach(self, manager: Manager, client: Client) -> list[AnyInformer]:
        """Connects the watches to the queue; the informers that must be synced before the first key."""
        self.manager, self.client = manager, client
        self.name = self.name or type(self).__name__
        self.queue = WorkQueue()
        self._servers = {client}
        informers = []
        for watch in self.watches():
            informer = self.cache(
                watch.resource,
                namespace=watch.namespace,
                label_selector=watch.label_selector,
                field_selector=watch.field_selector,
                client=watch.client,
                model=watch.model,
            )
            informer.on_event(self._enqueuer(watch))
            self._servers.add(informer.client)
            informers.append(informer)
        return informers

    async def work(self) -> None:
        """Runs the workers until cancelled."""
        await self.start()
        with contextlib.ExitStack() as stack:
            stack.callback(self.queue.close)
            for client in self._servers:
                stack.enter_context(client.reach.again(self.queue.hurry))
            async with asyncio.TaskGroup() as group:
                for _ in range(self.workers):
                    group.create_task(self._worker())

    def _enqueuer(self, watch: Watch) -> Callable[[Any, Any], None]:
        mapper = watch.map or (lambda obj: (key_of(obj),))

        def enqueue(old: Any, new: Any) -> None:
            if watch.predicate is not None and not watch.predicate(old, new):
                return
            # Both: an event can move an object from one key to another.
            keys = {key for obj in (old, new) if obj is not None for key in mapper(obj)}
            for key in keys:
                self.queue.add(key)

        return enqueue

    async def _worker(self) -> None:
        while True:
            key = await self.queue.get()
            began = time.perf_counter()
            outcome = "success"
            try:
                delay = await self.reconcile(key)
            except (Conflict, Unreachable) as error:
                # Ordinary: our copy was behind, or the server is restarting.
                outcome = "retry"
                log.debug("reconcile again", controller=self.name, key=str(key), reason=error.message)
                self.queue.retry(key)
            except ApiError as error:
                outcome = "error"
                log.warning("reconcile failed", controller=self.name, key=str(key), reason=error.message)
                self.queue.retry(key)
            except Exception:
                outcome = "error"
                log.exception("reconcile failed", controller=self.name, key=str(key))
                self.queue.retry(key)
            else:
                self.queue.forget(key)
                if delay is not None:
                    self.queue.add_after(key, delay)
            finally:
                self.queue.done(key)
                self.manager.metrics.observe(self.name, outcome, time.perf_counter() - began, len(self.queue))
