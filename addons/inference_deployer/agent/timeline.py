"""When each replica reached each step: by the launcher's marks, the Pod's conditions, the DataLoad. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence

from addon_framework.api.conditions import get_condition, is_true
from addon_framework.api.meta import Json
from addon_framework.api.time import parse_time
from addons.inference_deployer.kinds import TIMELINE_ANNOTATION

MAX_REPLICAS = 32  # the newest ones: feedback is not a database
_MARKS = {
    "process_start": "processStart",
    "imported": "imported",
    "data_ready": "dataReady",
    "weights_start": "weightsStart",
    "weights_loaded": "weightsLoaded",
    "weights_seconds": "weightsSeconds",
    "serving": "serving",
}


def timeline(pods: Sequence[Json], load: Json | None) -> str:
    """The timelines of all replicas as JSON text, oldest first."""
    entries = [_entry(pod, load) for pod in pods if not pod["metadata"].get("deletionTimestamp")]
    entries.sort(key=lambda entry: (entry["scheduled"], entry["replica"]))
    return json.dumps(entries[-MAX_REPLICAS:], separators=(",", ":")) if entries else ""


def _entry(pod: Json, load: Json | None) -> Json:
    """One replica.

    Conditions of Pods have whole seconds, cut off; launchers are more exact. So a pod is never ready before
    its launcher saw it answer, and may have been up to a second later than this says.
    """
    marks = _marks(pod)
    entry: Json = {"replica": pod["metadata"]["name"], "scheduled": _when(pod, "PodScheduled")}
    entry |= {name: marks[name] for name in ("mode", "compiled") if isinstance(marks.get(name), str)}
    for mark, name in _MARKS.items():
        if isinstance(marks.get(mark), int | float):
            entry[name] = marks[mark]
    if "weightsSeconds" in entry and isinstance(waited := marks.get("weights_waited"), int | float):
        # Those that are read as they come are waited for meanwhile.
        entry["weightsSeconds"] = round(entry["weightsSeconds"] - waited, 3)
    infos = ((load or {}).get("status") or {}).get("infos") or {}
    for info, name in (("startTime", "dataLoadStart"), ("finishTime", "dataLoaded")):
        if (seconds := _number(infos.get(info))) is not None:
            entry[name] = seconds
    if is_true(pod, "Ready") and ("serving" in entry or not marks):  # else the launcher's word is on its way
        entry["ready"] = max(_when(pod, "Ready"), float(entry.get("serving", 0)))
    return entry


def _marks(pod: Json) -> Json:
    text = (pod["metadata"].get("annotations") or {}).get(TIMELINE_ANNOTATION)
    try:
        marks = json.loads(text) if text else {}
    except ValueError:
        return {}
    return marks if isinstance(marks, dict) else {}


def _when(pod: Json, condition: str) -> float:
    """When a condition became what it is; the pod's creation where it is not there yet."""
    found = get_condition(pod, condition) or {}
    text = found.get("lastTransitionTime") if found.get("status") == "True" else None
    return parse_time(text or pod["metadata"]["creationTimestamp"]).timestamp()


def _number(text: object) -> float | None:
    try:
        return float(str(text))
    except ValueError:
        return None
