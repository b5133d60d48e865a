"""Fills a node's cache: `python -m runtimes.local.loader`, told what by the environment.

CACHE is JSON: directory, quota, owner (how messages call the runtime), ids (uid and gid of the files),
sources [{url, path, options}], targets, threads, pin, high and low (parts of the quota, see _room), peers,
from (host:port of those caches that are to give everything, in place of the sources and other peers), and
listing (whether they are believed about what there is when the sources cannot be listed).
SOURCE<n>_ACCESS_KEY, SOURCE<n>_SECRET_KEY and SOURCE<n>_TOKEN are the credentials of the n-th source. Exit
status 0: complete; 3: trying again will not help; 1: it may.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from runtimes.local.assembly import RANGE
from runtimes.local.awaiting import Waiter, below
from runtimes.local.compiled import fetch
from runtimes.local.eviction import evict
from runtimes.local.listing import items as listed_items
from runtimes.local.listing import write as write_listing
from runtimes.local.order import Item, version
from runtimes.local.peers import other_nodes
from runtimes.local.store import Store
from runtimes.local.transfer import THREADS, Transfer
from runtimes.reporting import Progress, Reporting, report
from runtimes.source import Credentials, SourceError, from_environment, open_source

PERMANENT = 3
_ATTEMPTS = 5  # at a source that changes while it is read
_PATIENCE = 10.0  # seconds a source may be absent or refuse us: it may be being made just now


def main() -> int:
    """One load."""
    specification = json.loads(os.environ["CACHE"])
    try:
        return run(specification, os.environ)
    except SourceError as error:
        report("failed", reason="SourceUnreadable", message=str(error), permanent=error.permanent)
        return PERMANENT if error.permanent else 1
    except OSError as error:
        report("failed", reason="DiskError", message=f"{specification['directory']}: {error}")
        return 1
    except Exception as error:
        report("failed", reason="LoaderFailed", message=f"{type(error).__name__}: {error}")
        raise


def run(specification: Mapping[str, Any], environment: Mapping[str, str]) -> int:
    """Copies what is missing and reports. Raises SourceError and OSError."""
    directory = Path(specification["directory"])
    store = Store(directory, ids=specification.get("ids"))
    report("start")
    if (backup := specification.get("restore")) is not None:
        from runtimes.local.restore import restore  # loads that begin with nothing start sooner without it

        restore(store, directory, backup, environment.get("NODE_NAME", ""))
    brought = _Brought(store, specification, environment)
    waiter = Waiter(directory, _targets(specification), brought.complete)
    try:
        with store.exclusive(waiter.look) as alone:
            waiter.end()
            return _alone(store, specification, environment) if alone else brought.report()
    finally:
        waiter.end()


class _Brought:
    """What another load that has the directory brings for this one."""

    def __init__(self, store: Store, said: Mapping[str, Any], environment: Mapping[str, str]) -> None:
        self._store, self._specification, self._environment = store, said, environment
        self._progress, self._items = Progress(), list[Item]()
        self._began = time.monotonic()

    def complete(self) -> bool:
        """Whether all of it is there. What is to be pinned still needs the directory."""
        if not self._items:
            self._items = patiently(lambda: wanted(self._specification, self._environment))
        self._store.open()
        there = [item for item in self._items if self._store.has(item.path, item.url, item.object)]
        progress, before = self._progress, self._progress.files
        progress.total, progress.total_files = sum(i.object.size for i in self._items), len(self._items)
        progress.bytes, progress.files = sum(i.object.size for i in there), len(there)
        if progress.files != before:
            report("progress", **progress.numbers(0))
        return len(there) == len(self._items) and not self._specification.get("pin")

    def report(self) -> int:
        """This load has moved nothing itself."""
        if peers := other_nodes(self._specification, self._environment):
            fetch(self._store.directory, peers)
        seconds = round(time.monotonic() - self._began, 3)
        numbers = self._progress.numbers(0)
        report("done", seconds=seconds, origin=0, peers=0, unverified=0, cache=self._store.id, **numbers)
        return 0


def _alone(store: Store, specification: Mapping[str, Any], environment: Mapping[str, str]) -> int:
    """With the directory to itself; anew when the source changes meanwhile."""
    store.give()
    for _ in range(_ATTEMPTS - 1):
        try:
            return _copy(store, specification, environment)
        except SourceError as error:
            if not error.stale:
                raise
    return _copy(store, specification, environment)


def _copy(store: Store, specification: Mapping[str, Any], environment: Mapping[str, str]) -> int:
    """The source as it is now, once."""
    progress = Progress()
    items = patiently(lambda: wanted(specification, environment))
    targets, there = _targets(specification), {item.path for item in items}
    store.forget(path for path in store.lost if path not in there and below(path, targets))
    if not any(targets):
        parts = {store.temporary(i.path, i.url, i.object).stem for i in items}
        store.keep_only(there, parts)
    progress.total, progress.total_files = sum(item.object.size for item in items), len(items)
    missing = [item for item in items if not store.has(item.path, item.url, item.object)]
    missing.sort(key=lambda item: item.is_weights)
    name = version(items)
    if not any(os.path.lexists(store.data / item.path) for item in missing):
        # Else what is there may be of another version, which its readers would mix with this one.
        progress.version = name
        progress.before = {item.path for item in missing if not item.is_weights}
    progress.bytes = progress.total - sum(item.object.size for item in missing)
    progress.files = len(items) - len(missing)
    report("progress", **progress.numbers(0))
    if (problem := _room(specification, store, items, missing)) is not None:
        report("failed", reason=problem[0], message=problem[1], permanent=True)
        return PERMANENT
    began = time.monotonic()
    with Reporting(progress, began):
        threads = int(specification.get("threads") or THREADS)
        peers = other_nodes(specification, environment)
        strictly = bool(specification.get("from"))
        if peers is not None and not strictly and progress.total - progress.bytes > RANGE:
            peers.together()
        transfer = Transfer(store, missing, progress, threads=threads, peers=peers, strictly=strictly)
        transfer.run()
    seconds = time.monotonic() - began
    numbers = progress.numbers(seconds) | {"version": name}
    store.check(there)
    if peers:  # engines begin when they hear of the end, and want it then
        fetch(Path(specification["directory"]), peers)
    report(
        "done",
        seconds=round(seconds, 3),
        origin=transfer.origin,
        peers=transfer.from_peers,
        unverified=transfer.unverified,
        cache=store.id,
        **numbers,
    )
    if peers and not any(targets):
        write_listing(store, items)
    if specification.get("pin"):
        store.pin(item.path for item in items)
    store.flush()
    from runtimes.local.speed import speeds  # after the load, which starts sooner without them
    from runtimes.speed import SMALLEST

    with contextlib.suppress(OSError):  # the load is done; only a measurement is not
        # What came from peers says nothing of the source, and asking that again is what they are to save.
        if (
            progress.moved >= SMALLEST  # else the load's rate says nothing of the source either
            and not transfer.from_peers
            and (found := speeds(store.data, items, numbers["rate"]))
        ):
            report("speed", **found)
    return 0


def wanted(specification: Mapping[str, Any], environment: Mapping[str, str]) -> list[Item]:
    """What the sources have, or what a cache has that is believed where they cannot be listed."""
    try:
        return plan(specification, environment)
    except SourceError as error:
        if not specification.get("from"):
            raise
        if not specification.get("listing"):
            hint = "options.listing: cache takes the list from the cache that it is copied from"
            raise SourceError(f"{error}; {hint}", permanent=error.permanent) from error
        peers = other_nodes(specification, environment)
        assert peers is not None
        try:
            peer, text = peers.listing()
        except SourceError as nobody:
            raise SourceError(f"{error}; {nobody}", permanent=error.permanent) from error
        report("trouble", message=f"{error}; what {peer} lists is copied")
        targets = _targets(specification)
        found = [item for item in listed_items(text, peer) if below(item.path, targets)]
        if not found:
            raise SourceError(f"{peer}: has nothing below {', '.join(targets)}", permanent=True) from error
        return found


def plan(specification: Mapping[str, Any], environment: Mapping[str, str]) -> list[Item]:
    """Every file of the targets, as the sources have them now."""
    targets = _targets(specification)
    items: dict[str, Item] = {}
    for number, source in enumerate(specification["sources"]):
        opened = open_source(source["url"], source.get("options") or {}, credentials(number, environment))
        for obj in opened.objects():
            path = f"{source['path'].strip('/')}/{obj.path}".lstrip("/")
            if path in items:
                raise SourceError(
                    f"{source['url']} and {items[path].url} both have {path}; give each mount its own path",
                    permanent=True,
                )
            if below(path, targets):
                items[path] = Item(path, source["url"], opened, obj)
    for path in items:
        if above := next((str(p) for p in PurePosixPath(path).parents if str(p) in items), None):
            raise SourceError(
                f"{items[path].url}: {above!r} is an object and has {path!r} below it; on a node it can be "
                "a file or a directory; remove or rename one",
                permanent=True,
            )
    if not items:
        where = ", ".join(source["url"] for source in specification["sources"])
        raise SourceError(f"{where}: there is nothing below {', '.join(targets) or '/'}", permanent=True)
    return list(items.values())


def _targets(specification: Mapping[str, Any]) -> list[str]:
    """Paths within the Dataset; "" is all of it."""
    return [target.strip("/") for target in specification.get("targets") or ["/"]]


def credentials(number: int, environment: Mapping[str, str]) -> Credentials | None:
    """Of the n-th source; None when it has none."""
    return from_environment(f"SOURCE{number}_", environment)


def patiently(
    attempt: Callable[[], list[Item]],
    *,
    patience: float = _PATIENCE,
    clock: Callable[[], float] = time.monotonic,
    wait: Callable[[float], object] = time.sleep,
) -> list[Item]:
    """Again with back-off while the source cannot be listed; what is refused for long is refused."""
    began, delay, told = clock(), 0.1, False
    while True:
        try:
            return attempt()
        except SourceError as error:
            limit = patience if error.permanent else 30 * patience
            if clock() - began + delay > limit:
                raise
            if not told:
                report("trouble", message=str(error))
                told = True
        wait(delay)
        delay = min(delay * 2, 5.0)


def _room(
    specification: Mapping[str, Any], store: Store, items: list[Item], missing: list[Item]
) -> tuple[str, str] | None:
    """Why the files do not fit, a reason and a message; None when they do, perhaps in the place of others.

    Beyond `high` of the quota others go until no more than `low` of it is taken.
    """
    owner, total = specification.get("owner") or "the runtime", sum(item.object.size for item in items)
    quota, wanted = specification.get("quota"), {item.path for item in items}

    def others() -> int:
        return max(store.cached - sum(i.object.size for i in items if store.has(i.path, i.url, i.object)), 0)

    if quota and total + others() > quota * specification.get("high", 1.0):
        down_to_low = total + others() - int(quota * specification.get("low", 1.0))
        needed = total + others() - quota
        _tell_evicted(evict(store, min(down_to_low, others()), wanted) or evict(store, needed, wanted))
    if quota and total + others() > quota:
        return "QuotaExceeded", (
            f"{owner}: the data needs {total + others()} bytes with what is pinned or in use, but "
            f"spec.tieredstore.levels[0].quota allows {quota}; raise the quota or load less "
            "(DataLoad spec.target)"
        )
    needed = sum(item.object.size for item in missing)
    started = sum(path.stat().st_blocks * 512 for path in store.partial.glob("*.part"))
    if needed - started > store.free():
        store.drop_unknown()
    if (excess := needed - started - store.free()) > 0:
        _tell_evicted(evict(store, excess, wanted))
    if needed - started > store.free():
        return "DiskFull", (
            f"{owner}: {needed} bytes are missing, but the disk of {specification['directory']} has only "
            f"{store.free()} left; make room or give spec.tieredstore.levels[0].path another disk"
        )
    return None


def _tell_evicted(paths: list[str]) -> None:
    if paths:
        report("evicted", files=len(paths), paths=paths[:10])


if __name__ == "__main__":
    sys.exit(main())
