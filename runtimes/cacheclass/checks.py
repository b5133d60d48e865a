"""What is wrong with a CacheRuntime, its Dataset or its class, in sentences with object and field. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from addon_framework.api.meta import Json
from addon_framework.api.quantity import parse_quantity
from runtimes.cacheclass import pods
from runtimes.cacheclass.parts import ROLES, Part, class_title, parts
from runtimes.cacheclass.tiers import tier_problems
from runtimes.interface import Cache, Missing

_CLIENT = "without a client pods could not mount the Dataset"


def problems(cache: Cache) -> list[str]:
    """None: it can be made."""
    name = cache.spec.get("runtimeClassName")
    if not name:
        return [f"{cache.title}: spec.runtimeClassName: is needed"]
    if cache.profile is None:
        text = f"CacheRuntimeClass {name} does not exist in this cluster; create it"
        return [Missing(f"{cache.title}: spec.runtimeClassName: {text}")]
    known = parts(cache)
    found = [*_sources(cache), *of_class(cache.profile)]
    for part in known.values():
        found += [*tier_problems(part), *_section(part)]
    topology = cache.profile.get("topology") or {}
    found += [
        f"{cache.title}: spec.{role}.{field}: {class_title(cache)} has no topology.{role}"
        for role in ROLES
        for field, value in (cache.spec.get(role) or {}).items()
        if role not in topology and field not in ("disabled", "replicas", "cleanPolicy") and value
    ]
    if "client" in topology and "client" not in known:
        found.append(f"{cache.title}: spec.client.disabled: {_CLIENT}")
    return found


def of_class(profile: Json) -> list[str]:
    """What is wrong with a class, whoever uses it."""
    name = (profile.get("metadata") or {}).get("name", "")
    bare = Cache.of({}, {"spec": {"runtimeClassName": name}}, image="", profile=profile)
    known = parts(bare)
    found = list(_class(bare))
    for part in known.values():
        found += _template(part)
    if "client" not in known:
        found.append(f"{class_title(bare)}: topology.client: is needed: {_CLIENT}")
    return found


def _sources(cache: Cache) -> Iterator[str]:
    paths = [source.path for source in cache.sources]
    for path in sorted({path for path in paths if paths.count(path) > 1}):
        yield f"Dataset {cache.namespace}/{cache.name}: spec.mounts: two have the path {path}"


def _class(cache: Cache) -> Iterator[str]:
    listed = (cache.profile or {}).get("dataOperationSpecs") or []
    names = [each.get("name") for each in listed]
    for number, each in enumerate(listed):
        where = f"{class_title(cache)}: dataOperationSpecs[{number}]"
        if names.index(each.get("name")) != number:
            yield f"{where}.name: {each['name']} is there twice"
        if each.get("name") == "DataLoad" and not (each.get("command") or each.get("args")):
            yield f"{where}: neither command nor args is given"
    for number, each in enumerate(
        ((cache.profile or {}).get("extraResources") or {}).get("configMaps") or []
    ):
        if not each.get("name"):
            yield f"{class_title(cache)}: extraResources.configMaps[{number}].name: is needed"


def _template(part: Part) -> Iterator[str]:
    containers = part.spec.get("containers") or []
    if not containers:
        yield f"{part.defined}.template.spec.containers: at least one is needed"
    for number, each in enumerate(containers):
        where = f"{part.defined}.template.spec.containers[{number}]"
        if not each.get("name"):
            yield f"{where}.name: is needed"
        if number and not each.get("image"):
            yield f"{where}.image: is needed; only the first one's may be the runtime's to say"
    names = {each.get("name") for each in pods.extra(part.cache)}
    for number, each in enumerate(pods.dependencies(part)):
        where = f"{part.defined}.dependencies.extraResources.configMaps[{number}]"
        if each.get("name") not in names:
            yield f"{where}.name: extraResources.configMaps has no {each.get('name')!r}"
        if not str(each.get("mountPath") or "").startswith("/"):
            yield f"{where}.mountPath: {each.get('mountPath')!r} is not an absolute path"


def _section(part: Part) -> Iterator[str]:
    volumes = [*(part.cache.spec.get("volumes") or []), *(part.spec.get("volumes") or [])]
    known = {volume.get("name") for volume in volumes}
    for number, each in enumerate(part.section.get("volumeMounts") or []):
        if each.get("name") not in known:
            yield f"{part.field}.volumeMounts[{number}].name: spec.volumes has no {each.get('name')!r}"
    for kind in ("requests", "limits"):
        said = ((part.section.get("resources") or {}).get(kind) or {}).get("memory")
        try:
            if said is not None:
                parse_quantity(str(said))
        except ValueError:
            yield f"{part.field}.resources.{kind}.memory: {said!r} is not a quantity"
