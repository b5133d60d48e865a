"""What was loaded and is there no more: on which nodes, what happened, when it is loaded again. Pure.

`infos.caches` of a DataLoad says into which directories it has loaded and when, by the clocks of their nodes;
workers say what they have now. What was evicted is no loss: it made room for what somebody asked for later.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from addon_framework.api.meta import Json
from addons.cache_runtime.agent.names import LOST_ANNOTATION
from addons.cache_runtime.agent.operations.status import LOST, PENDING, PartState, is_loading

_AGAIN, _AGAIN_MAX = 30.0, 1800.0  # seconds between the second loss and the load, and at most
_FORGOTTEN = 2 * _AGAIN_MAX  # seconds after which a loss is no reason to wait with the next


def of_parts(load: Json, parts: Sequence[PartState]) -> str:
    """`infos.caches`: node=directory@time of each node that said so; of the others what was known before."""
    nodes = {part.node for part in parts}
    known = {node: text for node, text in _read(_caches(load)).items() if node in nodes}
    for part in parts:
        done = part.said.get("done") or {}
        if done.get("cache"):
            known[part.node] = f"{done['cache']}@{float(done.get('time') or 0):.3f}"
    return ",".join(f"{node}={text}" for node, text in sorted(known.items()))


def found(load: Json, states: Mapping[str, Json]) -> dict[str, str]:
    """Nodes that have lost what was loaded, and what, by the last state of each node's worker."""
    lost: dict[str, str] = {}
    for node, text in _read(_caches(load)).items():
        directory, _, moment = text.partition("@")
        said = states.get(node) or {}
        if "cache" not in said or float(said.get("time") or 0) <= float(moment or 0):
            continue
        if said["cache"] != directory:
            lost[node] = "the cache was removed, or is on another disk"
        elif files := _files(load, said.get("lost") or {}):
            lost[node] = files
    return lost


def told(lost: Mapping[str, str]) -> str:
    """For people."""
    return "; ".join(f"on node {node} {what}" for node, what in sorted(lost.items()))


def lost_status(load: Json, lost: Mapping[str, str], now: datetime) -> Json:
    """The status of what is to be loaded again."""
    status = load["status"]
    infos = without(status["infos"], lost)
    for name in ("eta", "etaSeconds", "finishTime", "rate"):
        infos.pop(name, None)
    recent = now.timestamp() - float(infos.get("lostTime") or 0) < _FORGOTTEN
    count = int(infos.get("losses") or 0) + 1 if recent else 1
    infos |= {LOST: told(lost), "losses": str(count), "lostTime": f"{now.timestamp():.3f}"}
    wait = delay({"status": {"infos": infos}}, now)
    when = f" in {wait:.0f} seconds, since that has happened {count} times" if wait else ""
    infos["message"] = f"{infos[LOST]}; it is loaded again{when}"
    return {**status, "phase": PENDING, "duration": "Unfinished", "conditions": [], "infos": infos}


def without(infos: Mapping[str, str], nodes: Collection[str]) -> dict[str, str]:
    """The same where these nodes are not loaded."""
    found = dict(infos)
    for field in ("nodes", "caches"):
        said = str(infos.get(field) or "").split(",")
        found[field] = ",".join(each for each in said if each.partition("=")[0] not in nodes)
    return found


def delay(load: Json, now: datetime) -> float:
    """Seconds to wait with the load: what is lost again and again is loaded later each time."""
    infos = (load.get("status") or {}).get("infos") or {}
    if not infos.get(LOST) or (count := int(infos.get("losses") or 0)) < 2:
        return 0.0
    wait = min(_AGAIN * 2.0 ** min(count - 2, 10), _AGAIN_MAX)
    return max(0.0, float(infos["lostTime"]) + wait - now.timestamp())


def message(loads: Sequence[Json], states: Mapping[str, Json]) -> str:
    """What a Dataset has lost, and what becomes of it; "" for nothing."""
    texts = []
    for load in loads:
        status, name = load.get("status") or {}, load["metadata"]["name"]
        infos = status.get("infos") or {}
        if lost := infos.get(LOST) or _brings_back(load):
            how = ", ".join(infos[each] for each in ("percentage", "rate") if infos.get(each))
            left = f", {infos['eta']} left" if infos.get("eta") else ""
            more = infos.get("message", "") if status.get("phase") in (PENDING, "Failed") else f"{how}{left}"
            said = f"{lost}; DataLoad {name} loads it again"
            texts.append(f"{said}: {more.removeprefix(f'{lost}; ')}" if more else said)
        elif missing := found(load, states):
            texts.append(f"{told(missing)}; DataLoad {name} loads it again")
    if texts:
        return "; ".join(texts)
    others = {node: _count(states[node]["lost"]) for node in abandoned(loads, states)}
    return f"{told(others)}; a DataLoad is made that loads them again" if others else ""


def _brings_back(load: Json) -> str:
    """What one of ours has been made for (see reloading) and has not loaded yet."""
    phase = (load.get("status") or {}).get("phase")
    paths = (load["metadata"].get("annotations") or {}).get(LOST_ANNOTATION)
    return f"gone or cut: {paths}" if paths and phase != "Complete" else ""


def abandoned(loads: Sequence[Json], states: Mapping[str, Json]) -> dict[str, list[str]]:
    """By node, files that are lost and are of no load that has loaded there; "/" where not all are named.

    What workers say while a load goes on is not the last word.
    """
    if is_loading(loads):
        return {}
    lost: dict[str, list[str]] = {}
    for node, said in states.items():
        told_of = said.get("lost") or {}
        here = [load for load in loads if node in _read(_caches(load))]
        paths = [str(path) for path in told_of.get("paths") or []]
        if left := [path for path in paths if not any(_is_of(load, path) for load in here)]:
            lost[node] = ["/"] if int(told_of.get("files") or 0) > len(paths) else left
    return lost


def _files(load: Json, said: Json) -> str:
    """Those of a load, as far as they are told by name."""
    paths = [str(path) for path in said.get("paths") or []]
    unnamed = int(said.get("files") or 0) > len(paths)
    return _count(said) if unnamed or any(_is_of(load, path) for path in paths) else ""


def _is_of(load: Json, path: str) -> bool:
    targets = [str(t.get("path") or "").strip("/") for t in (load.get("spec") or {}).get("target") or []]
    return not targets or any(_below(path, target) for target in targets)


def _below(path: str, target: str) -> bool:
    return not target or path == target or path.startswith(f"{target}/")


def _count(said: Json) -> str:
    paths, files = said.get("paths") or [], int(said.get("files") or 0)
    named = ", ".join(str(path) for path in paths[:3]) + (", ..." if files > 3 else "")
    return f"{files} {'file is' if files == 1 else 'files are'} gone or cut ({named})"


def _caches(load: Json) -> str:
    return str(((load.get("status") or {}).get("infos") or {}).get("caches") or "")


def _read(caches: str) -> dict[str, str]:
    return {node: text for node, _, text in (each.partition("=") for each in caches.split(",")) if node}
