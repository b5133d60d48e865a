"""Keeps a node's cache: `python -m runtimes.local.worker`, told what by CACHE (see loader).

Says what the cache holds, in which directory: when it starts, which after a reboot may be less than before,
and whenever the loader has completed a file or somebody removed some. What was complete and is not there is
`lost`: the agent has it loaded again.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runtimes.local.compiled import Fetching
from runtimes.local.peers import PORT, other_nodes, token_of
from runtimes.local.place import Place, born
from runtimes.local.restore import restore
from runtimes.local.serving import PeerServer
from runtimes.local.store import Store
from runtimes.reporting import report

_CHANGES = fcntl.DN_RENAME | fcntl.DN_CREATE | fcntl.DN_DELETE | fcntl.DN_MULTISHOT
_NAMED = 20  # lost files that are told by name
_LOOK = 30.0  # seconds after which files are looked for unasked: somebody may have removed some


def main() -> int:
    """Until SIGTERM."""
    ends = {signal.SIGTERM, signal.SIGINT}
    signals = {*ends, signal.SIGIO}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    specification = json.loads(os.environ["CACHE"])
    directory = Path(specification["directory"])
    store = Store(directory, ids=specification.get("ids"))
    try:
        store.data.mkdir(parents=True, exist_ok=True)
        store.settle()
        restore(store, directory, specification.get("restore"), os.environ.get("NODE_NAME", ""))
        fetching = serve(directory, specification, os.environ)
        place = Place(directory)
        _watch(place)
        said = tell(store, specification, {})
        while (got := signal.sigtimedwait(signals, _LOOK)) is None or got.si_signo not in ends:
            said = tell(store, specification, said)
            place.check()  # if it fails, this container's next life has the directory that is there then
            if not store.id:
                raise FileNotFoundError("somebody removed the cache")
            if got is None:  # not in the middle of a removal
                store.data.mkdir(exist_ok=True)
            if fetching:
                fetching.look()
        place.close()
    except OSError as error:
        report("failed", reason="DiskError", message=f"{directory}: {error}")
        return 1
    return 0


def serve(
    directory: Path, specification: Mapping[str, Any], environment: Mapping[str, str]
) -> Fetching | None:
    """Gives peers what is here, and takes engines' compiled code from them. Ends with the process."""
    if specification.get("peers"):
        try:
            PeerServer((environment["POD_IP"], PORT), directory, token_of(environment))
        except OSError as error:  # in the node's network another Dataset may have the port
            print(f"nothing is given to other nodes: {error}", file=sys.stderr, flush=True)
    peers = other_nodes(specification, environment)
    return Fetching(directory, peers) if peers else None


def tell(store: Store, specification: Mapping[str, Any], said: Mapping[str, object]) -> dict[str, object]:
    """Reports the state unless it was the last thing said."""
    store.look()
    state: dict[str, object] = {"cached": store.cached, "files": store.files, "cache": store.id}
    if (made := born(store.data)) is not None:
        state["made"] = made  # pods that had started by then have another directory
    if lost := store.lost:
        state["lost"] = {"files": len(lost), "paths": lost[:_NAMED]}
    if state != said:
        report("state", **state, capacity=int(specification.get("quota") or store.cached + store.free()))
    return state


def _watch(place: Place) -> None:
    """SIGIO whenever the index is replaced, or something comes into the directory or is removed from it.

    https://docs.kernel.org/filesystems/dnotify.html
    """
    try:
        fcntl.fcntl(place.descriptor, fcntl.F_NOTIFY, _CHANGES)
    except OSError as error:  # a file system without it: then the state is that of the start
        print(f"changes are not noticed: {error}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
