"""The pods of a cache: templates of its class, with what Fluid's contract adds to first containers. Pure."""

from __future__ import annotations

import copy
import json
from typing import Any

from addon_framework.api.data import DataLoad
from addon_framework.api.meta import Json
from addon_framework.api.quantity import parse_quantity
from runtimes.cacheclass.configuration import DIRECTORY, PATH, config_map, mounts
from runtimes.cacheclass.parts import Part, parts
from runtimes.cacheclass.tiers import tiers
from runtimes.fuse import PREPARE, client_pod, probe
from runtimes.interface import Cache
from runtimes.pods import literal, mount
from runtimes.workloads import image, secret_files


def pod(part: Part) -> Json:
    """The PodSpec of a component."""
    made = copy.deepcopy(_renamed(part.spec, _config_maps(part.cache)))
    first: Json = made["containers"][0]
    first |= _image(part)
    if any(part.section.get("resources", {}).get(kind) for kind in ("limits", "requests")):
        first["resources"] = copy.deepcopy(part.section["resources"])
    if part.section.get("args"):
        first["args"] = part.section["args"]
    first["env"] = [*_variables(part), *(first.get("env") or []), *(part.section.get("env") or [])]
    volumes, shared = _files(part)
    before: list[Json] = made.get("initContainers") or []
    if before:
        before[0]["env"] = [*_variables(part), *(before[0].get("env") or [])]
        before[0]["volumeMounts"] = [*(before[0].get("volumeMounts") or []), *shared]
    levels, (secrets, secret_mounts) = tiers(part), _secrets(part)
    first["volumeMounts"] = [
        *(first.get("volumeMounts") or []),
        *shared,
        *secret_mounts,
        *(each for tier in levels for each in tier.mounts),
        *(part.section.get("volumeMounts") or []),
    ]
    _more_memory(first, sum(tier.memory for tier in levels))
    tier_volumes = [volume for tier in levels for volume in tier.volumes]
    made["volumes"] = [*(made.get("volumes") or []), *volumes, *secrets, *tier_volumes, *_own_volumes(part)]
    made["nodeSelector"] = {**(made.get("nodeSelector") or {}), **(part.section.get("nodeSelector") or {})}
    made["tolerations"] = [*(made.get("tolerations") or []), *(part.section.get("tolerations") or [])]
    pulled = [*(made.get("imagePullSecrets") or []), *(part.cache.spec.get("imagePullSecrets") or [])]
    made["imagePullSecrets"] = pulled
    if part.role == "client":
        _share_mount(part.cache, made)
    return {name: value for name, value in made.items() if value not in ([], {}, None)}


def metadata(part: Part, name: str) -> dict[str, str]:
    """Labels or annotations of its pods: the template's, the runtime's, the component's over them."""
    template = (part.definition.get("template") or {}).get("metadata") or {}
    said = [template, *(each.get("podMetadata") or {} for each in (part.cache.spec, part.section))]
    return {key: value for each in said for key, value in (each.get(name) or {}).items()}


def config_maps(cache: Cache) -> dict[str, dict[str, str]]:
    """The class's, each under a name of this cache's own, since two caches may be in one namespace."""
    names = _config_maps(cache)
    return {names[each["name"]]: dict(each.get("data") or {}) for each in extra(cache)}


def extra(cache: Cache) -> list[Json]:
    """The ConfigMaps of the class."""
    return ((cache.profile or {}).get("extraResources") or {}).get("configMaps") or []


def load(cache: Cache, operation: Json, wanted: DataLoad) -> Json:
    """The pod of a DataLoad, by the class's operation."""
    targets = [(target.path, target.replicas or 1) for target in wanted.spec.target] or [("/", 1)]
    worker = parts(cache).get("worker") or Part(cache, "worker", _definition(cache, "worker"), {})
    (volumes, shared), (secrets, secret_mounts) = _files(worker), _secrets(worker)
    container: Json = {
        "name": "dataloader",
        "image": operation.get("image") or _image(worker).get("image") or worker.first.get("image"),
        "env": [
            literal("FLUID_DATALOAD_METADATA", str(wanted.spec.load_metadata).lower()),
            literal("FLUID_DATALOAD_DATA_PATH", ":".join(path for path, _ in targets)),
            literal("FLUID_DATALOAD_PATH_REPLICAS", ":".join(str(count) for _, count in targets)),
            *_identity(cache),
        ],
        "volumeMounts": [*shared, *secret_mounts],
        **{name: operation[name] for name in ("command", "args") if operation.get(name)},
    }
    made: Json = {"containers": [container], "volumes": [*volumes, *secrets], "enableServiceLinks": False}
    pulled = [*(worker.spec.get("imagePullSecrets") or []), *(cache.spec.get("imagePullSecrets") or [])]
    return {**made, "imagePullSecrets": pulled} if pulled else made


def _definition(cache: Cache, role: str) -> Json:
    return ((cache.profile or {}).get("topology") or {}).get(role) or {}


def _image(part: Part) -> Json:
    """What the runtime says of it; a tag alone replaces the template's."""
    said = part.section.get("runtimeVersion") or {}
    return image(said, str(part.first.get("image", ""))) if any(said.values()) else {}


def _identity(cache: Cache) -> list[Json]:
    return [
        literal("FLUID_DATASET_NAME", cache.name),
        literal("FLUID_DATASET_NAMESPACE", cache.namespace),
        literal("FLUID_RUNTIME_CONFIG_PATH", PATH),
        literal("FLUID_RUNTIME_MOUNT_PATH", cache.mount_point),
    ]


def _variables(part: Part) -> list[Json]:
    return [
        *_identity(part.cache),
        literal("FLUID_RUNTIME_COMPONENT_TYPE", part.role),
        literal("FLUID_RUNTIME_COMPONENT_SVC_NAME", part.service),
    ]


def _files(part: Part) -> tuple[list[Json], list[Json]]:
    """The configuration, and what the class has for the component."""
    volumes = [{"name": "fluid-runtime-config", "configMap": {"name": config_map(part.cache)}}]
    mounted = [mount("fluid-runtime-config", DIRECTORY, read_only=True)]
    names = _config_maps(part.cache)
    for number, each in enumerate(dependencies(part)):
        volumes.append({"name": f"fluid-extra-{number}", "configMap": {"name": names[each["name"]]}})
        mounted.append(mount(f"fluid-extra-{number}", each["mountPath"], read_only=True))
    return volumes, mounted


def dependencies(part: Part) -> list[Json]:
    """The ConfigMaps of the class that the component mounts."""
    said = (part.definition.get("dependencies") or {}).get("extraResources") or {}
    return said.get("configMaps") or []


def _secrets(part: Part) -> tuple[list[Json], list[Json]]:
    """Masters and workers have them unless the class says no; clients, if it says yes."""
    said = (part.definition.get("dependencies") or {}).get("secretMount")
    wanted = part.role != "client" if said is None else bool(said.get("enabled"))
    return secret_files(part.cache.sources) if wanted else ([], [])


def _own_volumes(part: Part) -> list[Json]:
    """The runtime's that its component mounts and the template does not have."""
    used = {each.get("name") for each in part.section.get("volumeMounts") or []}
    there = {volume["name"] for volume in part.spec.get("volumes") or []}
    return [v for v in part.cache.spec.get("volumes") or [] if v.get("name") in used - there]


def _more_memory(container: Json, bytes_: int) -> None:
    """Files in memory count as the container's, where it asks for any."""
    resources = container.get("resources") or {}
    for kind in ("requests", "limits"):
        if bytes_ and (said := (resources.get(kind) or {}).get("memory")):
            resources[kind] = {**resources[kind], "memory": str(int(parse_quantity(str(said))) + bytes_)}


def _share_mount(cache: Cache, made: Json) -> None:
    """What every FUSE client has: the node's directory, a probe, and a helper that outlives it."""
    ours = client_pod(cache, name="client", image={}, command=())
    standard, first = ours["containers"][0], made["containers"][0]
    first["env"] = [*first["env"], literal("MOUNT_POINT", cache.mount_point)]
    first["volumeMounts"] = [*standard["volumeMounts"], *first["volumeMounts"]]
    first["securityContext"] = {**(first.get("securityContext") or {}), "privileged": True}
    first.setdefault("readinessProbe", probe())
    first.setdefault("lifecycle", standard["lifecycle"])
    prepare: Json = {
        "name": "prepare-mount",
        "image": cache.image,
        "command": ["sh", "-c", PREPARE],
        "env": standard["env"],
        "securityContext": {"privileged": True},
        "volumeMounts": standard["volumeMounts"],
    }
    made["initContainers"] = [*(made.get("initContainers") or []), prepare]
    made["containers"] += ours["containers"][1:]
    made["volumes"] = [*ours["volumes"], *made["volumes"]]


def _config_maps(cache: Cache) -> dict[str, str]:
    """Of the class's names ours."""
    return {each["name"]: f"{cache.name}-{each['name']}" for each in extra(cache) if each.get("name")}


def _renamed(spec: Any, names: dict[str, str]) -> Any:
    """A template whose references to the class's ConfigMaps are to this cache's."""
    if isinstance(spec, list):
        return [_renamed(each, names) for each in spec]
    if not isinstance(spec, dict):
        return spec
    made = {key: _renamed(value, names) for key, value in spec.items()}
    for key in ("configMap", "configMapRef", "configMapKeyRef"):
        if isinstance(made.get(key), dict) and made[key].get("name") in names:
            made[key]["name"] = names[made[key]["name"]]
    return made


def inputs(cache: Cache) -> str:
    """What mounting the sources depends on."""
    return json.dumps(mounts(cache), sort_keys=True)
