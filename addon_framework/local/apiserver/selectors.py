"""Label and field selectors.

https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from addon_framework.api.meta import Json, at
from addon_framework.local.apiserver.registry import Kind, Version
from addon_framework.local.apiserver.schemas import names
from addon_framework.local.apiserver.status import bad_request

Matches = Callable[[Json], bool]

_KEY, _VALUE = r"[^\s!=<>,()]+", r"[^\s!=<>,()]*"
_SET = re.compile(rf"(?P<key>{_KEY})\s+(?P<op>in|notin)\s*\((?P<values>[^()]*)\)")
_EQUAL = re.compile(rf"(?P<key>{_KEY})\s*(?P<op>==|=|!=)\s*(?P<value>{_VALUE})")
_ORDER = re.compile(rf"(?P<key>{_KEY})\s*(?P<op>[<>])\s*(?P<value>-?\d+)")
_EXISTS = re.compile(rf"(?P<not>!?)\s*(?P<key>{_KEY})")


def label_selector(text: str) -> Matches | None:
    """The test that a selector's text means; None when it selects everything. Raises a 400 Status."""
    requirements = [_requirement(part.strip(), text) for part in _split(text) if text.strip()]
    if not requirements:
        return None

    def matches(obj: Json) -> bool:
        labels = obj["metadata"].get("labels") or {}
        return all(requirement(labels) for requirement in requirements)

    return matches


def _split(text: str) -> list[str]:
    """At commas outside parentheses."""
    return re.split(r",(?![^()]*\))", text)


def _requirement(part: str, whole: str) -> Callable[[Mapping[str, str]], bool]:
    if match := _SET.fullmatch(part):
        values = {value.strip() for value in match["values"].split(",")}
        key = _checked(match["key"], *values)
        if match["op"] == "in":
            return lambda labels: labels.get(key) in values
        return lambda labels: labels.get(key) not in values
    if match := _EQUAL.fullmatch(part):
        key, value = _checked(match["key"], match["value"]), match["value"]
        if match["op"] == "!=":
            return lambda labels: labels.get(key) != value
        return lambda labels: labels.get(key) == value
    if match := _ORDER.fullmatch(part):
        key, bound, more = _checked(match["key"]), int(match["value"]), match["op"] == ">"

        def compare(labels: Mapping[str, str]) -> bool:
            try:
                number = int(labels[key])
            except (KeyError, ValueError):
                return False
            return number > bound if more else number < bound

        return compare
    if match := _EXISTS.fullmatch(part):
        key, negated = _checked(match["key"]), bool(match["not"])
        return lambda labels: (key in labels) != negated
    raise bad_request(f"unable to parse requirement: {part!r} in label selector {whole!r}")


def _checked(key: str, *values: str) -> str:
    """A label's key; 400 where it or a value can be none."""
    for where, text, check in (
        ("<nil>", key, names.qualified),
        *((f"values[0][{key}]", value, names.label_value) for value in values),
    ):
        if wrong := check(text):
            raise bad_request(f'unable to parse requirement: {where}: Invalid value: "{text}": {wrong[0]}')
    return key


# https://kubernetes.io/docs/concepts/overview/working-with-objects/field-selectors/#list-of-supported-fields
_FIELDS: dict[str, tuple[str, ...]] = {
    "pods": (
        "spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName",
        "spec.hostNetwork", "status.phase", "status.podIP", "status.nominatedNodeName",
    ),
    "events": (
        "involvedObject.kind", "involvedObject.namespace", "involvedObject.name", "involvedObject.uid",
        "involvedObject.apiVersion", "involvedObject.resourceVersion", "involvedObject.fieldPath", "reason",
        "reportingComponent", "source", "type",
    ),
    "secrets": ("type",),
    "namespaces": ("status.phase",),
    "events.k8s.io": (
        "reason", "regarding.apiVersion", "regarding.fieldPath", "regarding.kind", "regarding.name",
        "regarding.namespace", "regarding.resourceVersion", "regarding.uid", "reportingController", "type",
    ),
    "replicationcontrollers": ("status.replicas",),
    "jobs.batch": ("status.successful",),
    "nodes": ("spec.unschedulable",),
    "services": ("spec.clusterIP", "spec.type"),
    "certificatesigningrequests.certificates.k8s.io": ("spec.signerName",),
}  # fmt: skip


def field_selector(text: str, kind: Kind, version: Version) -> Matches | None:
    """The test that a field selector means for `kind`; a 400 Status for fields it does not offer."""
    tests: list[tuple[str, bool, str]] = []
    for part in filter(None, (part.strip() for part in re.split(r"(?<!\\),", text))):
        match = re.fullmatch(r"([^=!]+)(==|=|!=)((?:[^\\,=]|\\[\\,=])*)", part)
        if match is None:
            raise bad_request(f"invalid field selector {text!r}: {part!r} is not path=value or path!=value")
        value = re.sub(r"\\([\\,=])", r"\1", match[3].strip())
        tests.append((match[1].strip(), match[2] != "!=", value))
    if not tests:
        return None
    core = kind.group if kind.group == "events.k8s.io" else kind.key
    offered = {"metadata.name", *_FIELDS.get(core, ()), *version.selectable}
    if kind.namespaced:
        offered.add("metadata.namespace")
    for path, _, _ in tests:
        if path not in offered:
            known = ", ".join(f'"{each}"' for each in sorted(offered))
            raise bad_request(
                f"field label not supported: {path}"
                if kind.custom or core in _FIELDS
                else f'"{path}" is not a known field selector: only {known}'
            )

    def matches(obj: Json) -> bool:
        return all((_lookup(obj, path) == value) == equal for path, equal, value in tests)

    return matches


def exact_name(text: str) -> str:
    """The one name that a field selector asks for: rights on that name are enough to list and watch it."""
    match = re.fullmatch(r"metadata\.name==?([^=!,]+)", text.strip())
    return match[1].strip() if match else ""


def _lookup(obj: Json, path: str) -> str:
    if obj.get("kind") == "Event":  # stored as the core group has them
        path = path.replace("regarding", "involvedObject").replace("Controller", "Component")
    value = at(obj, path)
    if isinstance(value, bool):
        return str(value).lower()
    if path == "spec.unschedulable" and value is None:
        return "false"
    return "" if value is None else str(value)
