"""LimitRanges: what the containers of a namespace get where they say nothing, and how much they may ask for.

https://kubernetes.io/docs/concepts/policy/limit-range/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from addon_framework.api.meta import Json
from addon_framework.local.amounts import Amount, Amounts, of_pod, read

_ANNOTATION = "kubernetes.io/limit-ranger"
_CONTAINERS = {"containers": "container", "initContainers": "init container"}
LIMITED = ("pods", "persistentvolumeclaims")


def fill(pod: Json, ranges: Iterable[Json]) -> None:
    """Requests and limits that its containers do not name, in place, and a note of what was set."""
    for each in ranges:
        defaults: dict[str, Json] = {"requests": {}, "limits": {}}
        for item in _items(each, "Container"):
            defaults["requests"] |= item.get("defaultRequest") or {}
            defaults["limits"] |= item.get("default") or {}
        if said := list(_fill(pod["spec"], defaults)):
            metadata = pod["metadata"]
            note = {_ANNOTATION: f"LimitRanger plugin set: {'; '.join(said)}"}
            metadata["annotations"] = {**(metadata.get("annotations") or {}), **note}


def _fill(spec: Json, defaults: dict[str, Json]) -> Iterator[str]:
    for kind, called in _CONTAINERS.items():
        for container in spec.get(kind) or ():
            resources = container["resources"] = container.get("resources") or {}
            for field, wanted in defaults.items():
                given = resources.get(field) or {}
                if missing := sorted(wanted.keys() - given.keys()):
                    resources[field] = {**given, **{name: wanted[name] for name in missing}}
                    yield f"{', '.join(missing)} {field[:-1]} for {called} {container.get('name', '')}"


def excess(resource: str, obj: Json, ranges: Iterable[Json]) -> str:
    """Why the first of the ranges that is broken refuses the object; empty when none is."""
    for each in ranges:
        found = _of_pod(obj["spec"], each) if resource == "pods" else _of_claim(obj["spec"], each)
        if said := list(dict.fromkeys(found)):
            return said[0] if len(said) == 1 else f"[{', '.join(said)}]"
    return ""


def _items(each: Json, *types: str) -> Iterator[Json]:
    return (item for item in (each.get("spec") or {}).get("limits") or () if item.get("type") in types)


def _of_pod(spec: Json, each: Json) -> Iterator[str]:
    for item in _items(each, "Container", "Pod"):
        if item["type"] == "Pod":
            yield from _broken(item, of_pod(spec, "requests"), of_pod(spec, "limits"))
            continue
        for container in (one for kind in _CONTAINERS for one in spec.get(kind) or ()):
            resources = container.get("resources") or {}
            yield from _broken(item, read(resources.get("requests")), read(resources.get("limits")))


def _of_claim(spec: Json, each: Json) -> Iterator[str]:
    requests = read((spec.get("resources") or {}).get("requests"))
    for item in _items(each, "PersistentVolumeClaim"):
        for name, least in sorted(read(item.get("min")).items()):
            yield from _too_little(
                f"minimum {name} usage per {item['type']} is {least}", name, least, requests
            )
        for name, most in sorted(read(item.get("max")).items()):
            what, asked = f"maximum {name} usage per {item['type']} is {most}", requests.get(name)
            if asked is None:
                yield f"{what}.  No request is specified"
            elif asked.value > most.value:
                yield f"{what}, but request is {asked}"


def _broken(item: Json, requests: Amounts, limits: Amounts) -> Iterator[str]:
    kind = item["type"]
    for name, least in sorted(read(item.get("min")).items()):
        yield from _too_little(f"minimum {name} usage per {kind} is {least}", name, least, requests, limits)
    for name, most in sorted(read(item.get("max")).items()):
        what, limit, asked = (
            f"maximum {name} usage per {kind} is {most}",
            limits.get(name),
            requests.get(name),
        )
        if limit is None:
            yield f"{what}.  No limit is specified"
        elif limit.value > most.value:
            yield f"{what}, but limit is {limit}"
        elif asked is not None and asked.value > most.value:
            yield f"{what}, but request is {asked}"
    for name, ratio in sorted(read(item.get("maxLimitRequestRatio")).items()):
        what = f"{name} max limit to request ratio per {kind} is {ratio}, but"
        asked, limit = requests.get(name, Amount()), limits.get(name, Amount())
        if not asked.value:
            yield f"{what} no request is specified or request is 0"
        elif not limit.value:
            yield f"{what} no limit is specified or limit is 0"
        elif limit.value > ratio.value * asked.value:
            yield f"{what} provided ratio is {float(limit.value / asked.value):f}"


def _too_little(
    what: str, name: str, least: Amount, requests: Amounts, limits: Amounts | None = None
) -> Iterator[str]:
    asked, limit = requests.get(name), (limits or {}).get(name)
    if asked is None:
        yield f"{what}.  No request is specified"
    elif asked.value < least.value:
        yield f"{what}, but request is {asked}"
    elif limit is not None and limit.value < least.value:
        yield f"{what}, but limit is {limit}"
