"""Lists and watches: selection, pages of one snapshot, bookmarks, and the events that follow.

https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

from __future__ import annotations

import asyncio
import base64
import functools
import re
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass

import orjson

from addon_framework.api.meta import Json
from addon_framework.local.apiserver import status
from addon_framework.local.apiserver.call import is_true
from addon_framework.local.apiserver.hooks import answered
from addon_framework.local.apiserver.registry import Kind, Version
from addon_framework.local.apiserver.schemas import Cause, cause
from addon_framework.local.apiserver.selectors import Matches, field_selector, label_selector
from addon_framework.local.apiserver.store import Event, Store, TooOldError

BOOKMARK_SECONDS = 60.0
WATCH_SECONDS = 1800
_SNAPSHOT_SECONDS = 300.0
_INITIAL_END = "k8s.io/initial-events-end"
_MATCH = "resourceVersionMatch"

Present = Callable[[Json], Json]


@dataclass(frozen=True)
class Selection:
    """Which objects a list or watch is about."""

    kind: Kind
    version: Version
    namespace: str
    name: str
    labels: Matches | None
    fields: Matches | None

    @classmethod
    def of(
        cls, kind: Kind, version: Version, namespace: str, name: str, query: Mapping[str, str]
    ) -> Selection:
        """From a request's query."""
        return cls(
            kind,
            version,
            namespace,
            name,
            label_selector(query.get("labelSelector", "")),
            field_selector(query.get("fieldSelector", ""), kind, version),
        )

    def __call__(self, obj: Json) -> bool:
        metadata = obj["metadata"]
        return (
            (not self.namespace or metadata.get("namespace") == self.namespace)
            and (not self.name or metadata["name"] == self.name)
            and (self.labels is None or self.labels(obj))
            and (self.fields is None or self.fields(obj))
        )


@dataclass(frozen=True)
class _Snapshot:
    """What is left of a list of a resource, and when that was kept."""

    at: float
    version: int
    rest: list[Json]
    resource: str
    namespace: str


class Reader:
    """Lists and watches of one store."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._store, self._clock = store, clock
        self._snapshots: dict[str, _Snapshot] = {}

    def page(self, selection: Selection, query: Mapping[str, str]) -> tuple[list[Json], Json]:
        """The objects of one page and the list's metadata. Raises 410 when the snapshot is gone."""
        limit = _number(query, "limit")
        _number(query, "timeoutSeconds")
        if "sendInitialEvents" in query:
            why = "sendInitialEvents is forbidden for list"
            raise status.invalid_options("ListOptions", [cause.forbidden("sendInitialEvents", why)])
        if token := query.get("continue"):
            version, objects = self._resume(token, selection)
        else:
            self._check_match(query)
            version, listed = self._listed(selection, query)
            objects = [o for o in listed if selection(o)]
        metadata: Json = {"resourceVersion": str(version)}
        if limit and len(objects) > limit:
            metadata["continue"] = self._keep(version, objects[limit:], selection)
            if selection.labels is None and selection.fields is None:
                metadata["remainingItemCount"] = len(objects) - limit
            objects = objects[:limit]
        return objects, metadata

    def watch(
        self, selection: Selection, query: Mapping[str, str], present: Present
    ) -> AsyncGenerator[bytes]:
        """Lines of watch events until the time is over; an ERROR event where the history does not reach."""
        since, initial = self._start(query)
        deadline = self._clock() + (_number(query, "timeoutSeconds") or WATCH_SECONDS)
        return self._lines(_Encoder(selection, present), query, since, initial, deadline)

    async def _lines(
        self,
        encoder: _Encoder,
        query: Mapping[str, str],
        since: int | None,
        initial: bool,
        deadline: float,
    ) -> AsyncGenerator[bytes]:
        selection = encoder.selection
        try:
            watcher = self._store.watch(selection.kind.key, since)
        except TooOldError:
            yield _error(status.gone(f"too old resource version: {since} ({self._store.oldest})"))
            return
        bookmarks = is_true(query, "allowWatchBookmarks")
        sent = since if since is not None else self._store.version
        try:
            if initial:
                sent = self._store.version
                for obj in self._store.list(selection.kind.key, selection.namespace):
                    if selection(obj):
                        yield await answered(functools.partial(encoder.line, "ADDED", obj))
                if is_true(query, "sendInitialEvents"):
                    yield encoder.bookmark(sent, {_INITIAL_END: "true"})
            while True:
                watcher.wake.clear()  # before looking: what comes while we write must wake us again
                batch = b""
                while watcher.events:
                    event = watcher.events.popleft()
                    sent = event.version
                    if line := await answered(functools.partial(encoder.event, event)):
                        batch += line
                if batch:
                    yield batch
                if watcher.lagging:
                    yield _error(status.gone("the watch was too slow; list again"))
                    return
                left = deadline - self._clock()
                if left <= 0:
                    return
                try:
                    async with asyncio.timeout(min(left, BOOKMARK_SECONDS)):
                        await watcher.wake.wait()
                except TimeoutError:
                    if bookmarks:
                        # Nothing of ours is unsent, so the store's version is as good as the last event's.
                        yield encoder.bookmark(self._store.version if not watcher.events else sent, {})
        finally:
            self._store.unwatch(watcher)

    def _start(self, query: Mapping[str, str]) -> tuple[int | None, bool]:
        """Where a watch begins: after a version, or with the present state as ADDED events."""
        text = query.get("resourceVersion", "")
        asked, match = "sendInitialEvents" in query, query.get("resourceVersionMatch")
        if query.get("continue"):
            raise _forbidden_match("resourceVersionMatch is forbidden when continue is provided")
        if asked and match != "NotOlderThan":
            raise _forbidden_match("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")
        if match and not asked:
            raise _forbidden_match(
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is set"
            )
        if text not in ("", "0"):
            _version(text)
        if is_true(query, "sendInitialEvents") or (not asked and text in ("", "0")):
            return None, True
        if text in ("", "0"):
            return None, False
        return _version(text), False

    def _listed(self, selection: Selection, query: Mapping[str, str]) -> tuple[int, list[Json]]:
        """What a list is about: the present, or the past where that very version is asked for."""
        where = (selection.kind.key, selection.namespace)
        if query.get(_MATCH) != "Exact":
            return self._store.version, self._store.list(*where)
        version = _version(query["resourceVersion"])
        try:
            return version, self._store.list_at(*where, version)
        except TooOldError:
            raise status.gone(f"The resourceVersion for the provided list is too old: {version}") from None

    def _check_match(self, query: Mapping[str, str]) -> None:
        text, match = query.get("resourceVersion", ""), query.get("resourceVersionMatch", "")
        if match and not text:
            raise _forbidden_match("resourceVersionMatch is forbidden unless resourceVersion is provided")
        if match not in ("", "Exact", "NotOlderThan"):
            raise _match_error(cause.not_supported(_MATCH, match, ["Exact", "NotOlderThan"]))
        if match == "Exact" and text == "0":
            raise _forbidden_match('resourceVersionMatch "Exact" is forbidden for resourceVersion "0"')
        self.check_version(query)

    def check_version(self, query: Mapping[str, str]) -> None:
        """504 for a version of the future."""
        wanted = _version(query.get("resourceVersion") or "0")
        if wanted > self._store.version:
            raise status.StatusError(
                504,
                "Timeout",
                f"Too large resource version: {wanted}, current: {self._store.version}",
                {
                    "causes": [
                        {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
                    ],
                    "retryAfterSeconds": 1,
                },
            )

    def _keep(self, version: int, rest: list[Json], selection: Selection) -> str:
        now = self._clock()
        for old in [t for t, kept in self._snapshots.items() if now - kept.at > _SNAPSHOT_SECONDS]:
            del self._snapshots[old]
        metadata = rest[0]["metadata"]
        start = f"{metadata.get('namespace', '')}/{metadata['name']}"
        token = base64.urlsafe_b64encode(
            orjson.dumps({"v": "meta.k8s.io/v1", "rv": version, "start": start, "n": id(rest)})
        ).decode()
        self._snapshots[token] = _Snapshot(now, version, rest, selection.kind.key, selection.namespace)
        return token

    def _resume(self, token: str, selection: Selection) -> tuple[int, list[Json]]:
        """The rest of the list that the token is of, if that is the one that is asked for now."""
        kept = self._snapshots.get(token)
        if kept is None or (kept.resource, kept.namespace) != (selection.kind.key, selection.namespace):
            try:
                orjson.loads(base64.urlsafe_b64decode(token))
            except ValueError:
                raise status.bad_request("continue key is not valid: invalid continue token") from None
            raise status.gone(
                "The provided continue parameter is too old to display a consistent list result. You can "
                "start a new list without the continue parameter."
            )
        return kept.version, kept.rest


class _Encoder:
    """Events as one watcher sees them: what enters or leaves its selection is added or deleted."""

    def __init__(self, selection: Selection, present: Present) -> None:
        self.selection, self._present = selection, present

    def event(self, event: Event) -> bytes:
        """The line of an event; empty if it does not concern the selection."""
        now = event.type != "DELETED" and self.selection(event.obj)
        before = event.old is not None and self.selection(event.old)
        if now:
            return self.line("MODIFIED" if before else "ADDED", event.obj)
        if before:
            obj = event.obj
            if event.type != "DELETED":  # it left the selection: the last state that was in it
                assert event.old is not None
                metadata = {**event.old["metadata"], "resourceVersion": str(event.version)}
                obj = {**event.old, "metadata": metadata}
            return self.line("DELETED", obj)
        return b""

    def line(self, kind: str, obj: Json) -> bytes:
        """One event."""
        return orjson.dumps({"type": kind, "object": self._present(obj)}) + b"\n"

    def bookmark(self, version: int, annotations: Json) -> bytes:
        """A BOOKMARK carries only the version."""
        metadata: Json = {"resourceVersion": str(version), "creationTimestamp": None}
        if annotations:
            metadata["annotations"] = annotations
        kind, name = self.selection.kind, self.selection.version.name
        obj = {"kind": kind.kind, "apiVersion": kind.api_version(name), "metadata": metadata}
        return orjson.dumps({"type": "BOOKMARK", "object": obj}) + b"\n"


def _forbidden_match(why: str) -> status.StatusError:
    return _match_error(cause.forbidden(_MATCH, why))


def _match_error(wrong: Cause) -> status.StatusError:
    return status.invalid_options("ListOptions", [wrong])


def _error(error: status.StatusError) -> bytes:
    return orjson.dumps({"type": "ERROR", "object": error.body()}) + b"\n"


def _number(query: Mapping[str, str], name: str) -> int:
    text = query.get(name, "")
    if not text:
        return 0
    if not re.fullmatch(r"[+-]?[0-9]+", text):
        raise status.bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    if not -(2**63) <= int(text) < 2**63:
        raise status.bad_request(f'strconv.ParseInt: parsing "{text}": value out of range')
    return max(0, int(text))


def _version(text: str) -> int:
    if not text.isdigit():
        raise status.bad_request(
            f'resourceVersion: Invalid value: "{text}": the resource version must be a non-negative integer'
        )
    return int(text)
