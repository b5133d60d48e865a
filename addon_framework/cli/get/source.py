"""Where rows come from: the hub, or every spoke; once, or as they change."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from addon_framework.api.meta import Json
from addon_framework.cli.connect import HUB_CONTEXT, Failure, NotThere, Where, explained, is_kind_missing
from addon_framework.cli.get.view import Row, View
from addon_framework.kube import ApiError, Client, Informer


@dataclass(frozen=True)
class Question:
    """What is asked for."""

    view: View
    namespace: str | None
    name: str | None
    clusters: Sequence[str] = ()  # contexts of spokes; none named: all

    @property
    def selection(self) -> dict[str, Any]:
        """As the client's list and watch take it."""
        return {"field_selector": f"metadata.name={self.name}" if self.name else None}


class Source:
    """The clusters that hold the rows. What one of several cannot tell is a problem, not the end."""

    def __init__(self, question: Question, clients: dict[str, Client]) -> None:
        self.question, self.clients = question, clients
        self.problems: list[str] = []

    async def rows(self) -> list[Row]:
        """As they are now, in order. Raises ApiError when the hub does not answer."""
        answers = await asyncio.gather(*(self._of(name) for name in self.clients))
        return sorted((row for rows in answers for row in rows), key=lambda row: row.key)

    async def changes(self, seen: Sequence[Row]) -> AsyncIterator[tuple[Row, bool]]:
        """Rows that are not as `seen`, with whether they are gone; for ever."""
        view, before = self.question.view, {row.key: row for row in seen}
        changed = asyncio.Event()
        main = {name: self._informer(client, changed.set) for name, client in self.clients.items()}
        related = {
            name: self._informer(client, changed.set, related=True)
            for name, client in self.clients.items()
            if view.related is not None
        }
        running = [asyncio.create_task(i.run()) for i in (*main.values(), *related.values())]
        try:
            await asyncio.gather(*(i.synced() for i in (*main.values(), *related.values())))
            while True:
                changed.clear()
                now = {
                    row.key: row
                    for name, informer in main.items()
                    for row in self._join(name, informer.items(), related[name].items() if related else [])
                }
                for key in sorted(before.keys() - now.keys()):
                    yield before[key], True
                for key in sorted(now):
                    if key not in before or _differs(before[key], now[key]):
                        yield now[key], False
                before = now
                await changed.wait()
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    def _informer(self, client: Client, wake: Callable[[], None], *, related: bool = False) -> Informer[Json]:
        question = self.question
        informer: Informer[Json] = Informer(
            client,
            question.view.related if related and question.view.related else question.view.resource,
            namespace=question.namespace,
            **({} if related else question.selection),
        )
        informer.on_event(lambda old, new: wake())
        return informer

    async def _of(self, cluster: str) -> list[Row]:
        view, client, question = self.question.view, self.clients[cluster], self.question
        try:
            listed = await client.list(view.resource, question.namespace, **question.selection)
        except ApiError as error:
            if not view.spokes:
                raise
            if not is_kind_missing(error):
                self.problems.append(f"{cluster}: {explained(error).message}")
            return []  # a spoke without the kind has none
        related = await client.list(view.related, question.namespace) if view.related else {"items": []}
        return self._join(cluster, listed["items"], related["items"])

    def _join(self, cluster: str, objects: Sequence[Json], related: Sequence[Json]) -> list[Row]:
        belongs, place = self.question.view.belongs, cluster if self.question.view.spokes else ""
        return [Row(obj, place, [r for r in related if belongs(obj, r)]) for obj in objects]


@asynccontextmanager
async def opened(where: Where, question: Question) -> AsyncIterator[Source]:
    """The source of a question's rows, connected."""
    async with AsyncExitStack() as stack:
        names = _spokes(where, question.clusters) if question.view.spokes else [""]
        clients = {name: await stack.enter_async_context(where.client(name or None)) for name in names}
        yield Source(question, clients)


def _spokes(where: Where, wanted: Sequence[str]) -> list[str]:
    if where.context is not None and not wanted:
        return [where.context]
    known = [name for name in where.contexts() if name != HUB_CONTEXT]
    if unknown := [name for name in wanted if name not in known]:
        there = ", ".join(known) or "none"
        raise NotThere(f"no context for cluster {', '.join(unknown)} in {where.kubeconfig} (there: {there})")
    if not known:
        raise Failure(f"{where.kubeconfig} has no contexts of spokes, where datasets are")
    return [*wanted] or known


def _differs(before: Row, now: Row) -> bool:
    def version(obj: Json) -> str:
        return str(obj["metadata"].get("resourceVersion"))

    return version(before.obj) != version(now.obj) or [*map(version, before.related)] != [
        *map(version, now.related)
    ]
