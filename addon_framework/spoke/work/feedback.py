"""Which values of an applied object go back to the hub. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from addon_framework.api.jsonpath import PathError
from addon_framework.api.meta import Json
from addon_framework.spoke.work.paths import find_json_path

MAX_RAW = 1024  # bytes of a JsonRaw value

_REPLICAS = {
    "ReadyReplicas": ".status.readyReplicas",
    "Replicas": ".status.replicas",
    "AvailableReplicas": ".status.availableReplicas",
}
WELL_KNOWN: dict[tuple[str, str], dict[str, str]] = {
    ("apps", "Deployment"): _REPLICAS,
    ("apps", "StatefulSet"): _REPLICAS,
    ("apps", "DaemonSet"): {
        "NumberReady": ".status.numberReady",
        "DesiredNumberScheduled": ".status.desiredNumberScheduled",
        "NumberAvailable": ".status.numberAvailable",
    },
    ("batch", "Job"): {
        "JobComplete": '.status.conditions[?(@.type=="Complete")].status',
        "JobSucceeded": ".status.succeeded",
    },
    ("", "Pod"): {
        "PodReady": '.status.conditions[?(@.type=="Ready")].status',
        "PodPhase": ".status.phase",
    },
}


def collect(obj: Json, rules: Sequence[Json]) -> tuple[list[Json], list[str]]:
    """The values in the order of the rules, and what went wrong. A path that leads nowhere is no error."""
    values: dict[str, Json] = {}
    problems: list[str] = []
    for rule in rules:
        paths, problem = _paths(obj, rule)
        if problem:
            problems.append(problem)
        for name, path in paths.items():
            try:
                matches = find_json_path(path, obj)
            except PathError as error:
                problems.append(f"{name}: {error}")
                continue
            if not matches or matches[0].value is None:
                continue
            value, problem = _field_value(matches[0].value)
            if problem:
                problems.append(f"{name}: {problem}")
            else:
                values[name] = {"name": name, "fieldValue": value}
    return list(values.values()), problems


def _paths(obj: Json, rule: Json) -> tuple[dict[str, str], str]:
    group, _, version = obj["apiVersion"].rpartition("/")
    if rule.get("type") == "WellKnownStatus":
        known = WELL_KNOWN.get((group, obj["kind"]))
        return (
            (known, "") if known else ({}, f"there is no well-known status of {obj['kind']}; use JSONPaths")
        )
    paths, other = {}, []
    for entry in rule.get("jsonPaths") or []:
        if entry.get("version") and entry["version"] != version:
            other.append(f"{entry['name']}: is for version {entry['version']}, the object is {version}")
        else:
            paths[entry["name"]] = entry["path"]
    return paths, "; ".join(other)


def _field_value(value: Any) -> tuple[Json, str]:
    match value:
        case bool():
            return {"type": "Boolean", "boolean": value}, ""
        case int():
            return {"type": "Integer", "integer": value}, ""
        case float():
            whole = value.is_integer()
            return (
                {"type": "Integer", "integer": int(value)}
                if whole
                else {"type": "String", "string": repr(value)}
            ), ""
        case str():
            return {"type": "String", "string": value}, ""
    raw = orjson.dumps(value).decode()
    if len(raw.encode()) > MAX_RAW:
        return {}, f"the value has {len(raw.encode())} bytes as JSON; {MAX_RAW} are the most that go back"
    return {"type": "JsonRaw", "jsonRaw": raw}, ""
