"""Pods: what a PodSpec may say, and what of it may change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from addon_framework.api.meta import Json
from addon_framework.local.apiserver.schemas import Cause, cause, names
from addon_framework.local.apiserver.validation.limits import errors
from addon_framework.local.apiserver.validation.words import labels

_CONTAINERS = ("initContainers", "containers", "ephemeralContainers")
_UPDATE = (
    "pod updates may not change fields other than `spec.containers[*].image`,"
    "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to "
    "existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was "
    "previously negative)"
)


def containers_of(spec: Json) -> Iterator[tuple[str, Json]]:
    """All containers and where they are."""
    for kind in _CONTAINERS:
        for index, container in enumerate(spec.get(kind) or ()):
            yield f"{kind}[{index}]", container


def _spec(spec: Json, path: str) -> Iterator[Cause]:
    """What is unique in a pod: names of containers and volumes, host ports, spread constraints."""
    named = [(f"{path}{where}.name", each.get("name") or "") for where, each in containers_of(spec)]
    yield from _repeated(named)
    volumes = enumerate(spec.get("volumes") or ())
    yield from _repeated(
        [(f"{path}volumes[{index}].name", each.get("name") or "") for index, each in volumes]
    )
    yield from _repeated(list(_host_ports(spec, path)))
    for index, each in enumerate(spec.get("initContainers") or ()):
        for field in ("livenessProbe", "readinessProbe", "startupProbe", "lifecycle"):
            if each.get("restartPolicy") != "Always" and each.get(field) is not None:
                why = "may not be set for init containers without restartPolicy=Always"
                yield cause.forbidden(f"{path}initContainers[{index}].{field}", why)
    seen: list[tuple[Any, Any]] = []
    for each in spec.get("topologySpreadConstraints") or ():
        mark = each.get("topologyKey"), each.get("whenUnsatisfiable")
        if mark in seen:
            where = f"{path}topologySpreadConstraints[{seen.index(mark)}].{{topologyKey, whenUnsatisfiable}}"
            yield cause.duplicate(where, f"{{{mark[0]}, {mark[1]}}}")
        seen.append(mark)


def _repeated(marks: list[tuple[str, str]]) -> Iterator[Cause]:
    """Of what is at several places and not empty, all but the first."""
    seen: Counter[str] = Counter()
    for where, mark in marks:
        if mark and seen[mark]:
            yield cause.duplicate(where, mark)
        seen[mark] += 1


def _host_ports(spec: Json, path: str) -> Iterator[tuple[str, str]]:
    for index, container in enumerate(spec.get("containers") or ()):
        for at, port in enumerate(container.get("ports") or ()):
            if port.get("hostPort"):
                mark = f"{port.get('protocol')}/{port.get('hostIP') or ''}/{port['hostPort']}"
                yield f"{path}containers[{index}].ports[{at}].hostPort", mark


def mounts(spec: Json, path: str, also: Iterable[Any] = ()) -> Iterator[Cause]:
    """Mounts name volumes of the pod, or those `also` there. One that is wrong is none."""
    mounted = [
        (f"{path}{where}.volumeMounts[{index}].name", mount.get("name") or "")
        for where, container in containers_of(spec)
        for index, mount in enumerate(container.get("volumeMounts") or ())
    ]
    wanted = {name for _, name in mounted}
    volumes = [each for each in spec.get("volumes") or () if each.get("name") in wanted]
    known = {each["name"] for each in volumes if not errors(each, "core.v1.Volume")} | set(also)
    for where, name in mounted:
        if name not in known:
            yield cause.not_found(where, name)


def _template(template: Json, path: str) -> Iterator[Cause]:
    yield from labels((template.get("metadata") or {}).get("labels"), f"{path}labels")
    if (template.get("spec") or {}).get("ephemeralContainers"):
        why = "ephemeral containers not allowed in pod template"
        yield cause.forbidden(f"{path}spec.ephemeralContainers", why)


def _volume(volume: Json, path: str) -> Iterator[Cause]:
    sources = [key for key, value in volume.items() if key != "name" and value is not None]
    if not sources:
        yield cause.required(path[:-1], "must specify a volume type")
    for extra in sources[1:]:
        yield cause.forbidden(f"{path}{extra}", "may not specify more than 1 volume type")
    limit = (volume.get("emptyDir") or {}).get("sizeLimit")
    if limit is not None and str(limit).startswith("-"):
        yield cause.forbidden(f"{path}emptyDir.sizeLimit", "must not be negative")


def _file(value: Json, path: str) -> Iterator[Cause]:
    if value.get("fieldRef") is None and value.get("resourceFieldRef") is None:
        yield cause.required(path[:-1], "one of fieldRef and resourceFieldRef must be specified")
    divisor = str((value.get("resourceFieldRef") or {}).get("divisor", "1"))
    units = ("", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
    if divisor not in ("0", "1m", *(f"1{unit}" for unit in units)):
        yield cause.invalid(f"{path}resourceFieldRef.divisor", divisor, "is no divisor of the resource")


def _projected(value: Json, path: str) -> Iterator[Cause]:
    seen: set[str] = set()
    for index, source in enumerate(value.get("sources") or ()):
        files = [
            each
            for kind in ("secret", "configMap", "downwardAPI")
            for each in (source.get(kind) or {}).get("items") or ()
        ]
        token = source.get("serviceAccountToken")
        if token is not None:
            seconds = token.get("expirationSeconds", 3600)
            if not 600 <= seconds < 2**32:
                where = f"{path}sources[{index}].serviceAccountToken.expirationSeconds"
                yield cause.invalid(where, seconds, "may not specify a duration less than 10 minutes")
            if not token.get("path"):
                yield cause.required(f"{path}path")
            files.append(token)
        for each in files:
            if each.get("path") in seen:
                yield cause.invalid(path[:-1], each["path"], "conflicting duplicate paths")
            seen.add(each.get("path") or "")


def _toleration(each: Json, path: str) -> Iterator[Cause]:
    operator, value = each.get("operator") or "Equal", each.get("value") or ""
    if not each.get("key") and operator != "Exists":
        why = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
        yield cause.invalid(f"{path}operator", operator, why)
    if operator not in ("Equal", "Exists", "Lt", "Gt"):
        yield cause.not_supported(f"{path}operator", operator, ["Equal", "Exists"])
    elif operator == "Exists" and value:
        yield cause.invalid(f"{path}operator", value, "value must be empty when `operator` is 'Exists'")
    elif operator == "Equal":
        yield from cause.broken(f"{path}operator", value, names.label_value(value))
    if each.get("tolerationSeconds") is not None and each.get("effect") != "NoExecute":
        why = "effect must be 'NoExecute' when `tolerationSeconds` is set"
        yield cause.invalid(f"{path}effect", each.get("effect") or "", why)


def _dns_options(value: Json, path: str) -> Iterator[Cause]:
    for index, option in enumerate(value.get("options") or ()):
        if not option.get("name"):
            yield cause.required(f"{path}options[{index}]", "must not be empty")


def _pod(pod: Json, path: str) -> Iterator[Cause]:
    return mounts(pod.get("spec") or {}, f"{path}spec.")


def _new_pod(pod: Json, path: str) -> Iterator[Cause]:
    if (pod.get("spec") or {}).get("ephemeralContainers"):
        yield cause.forbidden("spec.ephemeralContainers", "cannot be set on create")


def _resource_claim(value: Json, path: str) -> Iterator[Cause]:
    fields = ("resourceClaimName", "resourceClaimTemplateName")
    if sum(value.get(each) is not None for each in fields) != 1:
        why = "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"
        yield cause.invalid(path[:-1], value, why)


def _pod_changed(pod: Json, old: Json) -> Iterator[Cause]:
    """Only images, the deadline and new tolerations may differ, and gates may go."""
    spec, before = pod.get("spec") or {}, old.get("spec") or {}
    for kind in ("containers", "initContainers"):
        if len(spec.get(kind) or ()) != len(before.get(kind) or ()):
            yield cause.forbidden(f"spec.{kind}", "pod updates may not add or remove containers")
            return
    gates = before.get("schedulingGates") or ()
    if new := [each["name"] for each in spec.get("schedulingGates") or () if each not in gates]:
        why = f"only deletion is allowed, but found new scheduling gate '{new[0]}'"
        yield cause.forbidden("spec.schedulingGates", why)
    if any(each not in (spec.get("tolerations") or ()) for each in before.get("tolerations") or ()):
        why = "existing toleration can not be modified except its tolerationSeconds"
        yield cause.forbidden("spec.tolerations", why)
    elif _frozen(spec) != _frozen(before):
        yield cause.forbidden("spec", _UPDATE)


def _frozen(spec: Json) -> Json:
    loose = {"activeDeadlineSeconds", "tolerations", "schedulingGates", *_CONTAINERS}
    out = {key: value for key, value in spec.items() if key not in loose and value is not None}
    for kind in ("containers", "initContainers"):
        out[kind] = [{**container, "image": ""} for container in spec.get(kind) or ()]
    return out


CHECKS: dict[str, Any] = {
    "core.v1.Pod": _pod,
    "core.v1.PodSpec": _spec,
    "core.v1.PodResourceClaim": _resource_claim,
    "core.v1.PodTemplateSpec": _template,
    "core.v1.PodDNSConfig": _dns_options,
    "core.v1.Volume": _volume,
    "core.v1.DownwardAPIVolumeFile": _file,
    "core.v1.ProjectedVolumeSource": _projected,
    "core.v1.Toleration": _toleration,
}
CREATIONS: dict[str, Any] = {"core.v1.Pod": _new_pod}
CHANGES: dict[str, Any] = {"core.v1.Pod": _pod_changed}
