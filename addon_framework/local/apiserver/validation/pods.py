"""Pods: what a PodSpec may say, and what of it may change."""

from __future__ import annotations

from typing import Any

from addon_framework.api.meta import Json
from addon_framework.api.quantity import parse_quantity
from addon_framework.local.apiserver.schemas import Cause, cause, names
from addon_framework.local.apiserver.validation.containers import validate_containers
from addon_framework.local.apiserver.validation.metadata import validate_labels

_RESTART = ("Always", "Never", "OnFailure")
_DNS = ("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None")
_EFFECTS = ("NoExecute", "NoSchedule", "PreferNoSchedule")
_UPDATE = (
    "pod updates may not change fields other than `spec.containers[*].image`,"
    "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to "
    "existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was "
    "previously negative)"
)


def validate_pod(obj: Json, old: Json | None) -> list[Cause]:
    """A pod; on update only images, the deadline and new tolerations may differ."""
    causes: list[Cause] = []
    spec = obj.get("spec") or {}
    if old is None:
        validate_pod_spec(spec, "spec", causes)
        return causes
    before = old.get("spec") or {}
    if spec != before:
        validate_pod_spec(spec, "spec", causes)
        _unchanged(spec, before, causes)
    return causes


def _unchanged(spec: Json, before: Json, causes: list[Cause]) -> None:
    for key in ("containers", "initContainers"):
        if len(spec.get(key) or ()) != len(before.get(key) or ()):
            causes.append(cause.forbidden(f"spec.{key}", "pod updates may not add or remove containers"))
            return
    kept = before.get("tolerations") or []
    if any(each not in (spec.get("tolerations") or []) for each in kept):
        causes.append(
            cause.forbidden(
                "spec.tolerations", "existing toleration can not be modified except its tolerationSeconds"
            )
        )
        return
    if _frozen(spec) != _frozen(before):
        causes.append(cause.forbidden("spec", _UPDATE))


def _frozen(spec: Json) -> Json:
    loose = {"activeDeadlineSeconds", "tolerations", "containers", "initContainers", "ephemeralContainers"}
    out = {key: value for key, value in spec.items() if key not in loose and value is not None}
    if out.get("schedulingGates") == []:
        del out["schedulingGates"]
    for key in ("containers", "initContainers"):
        out[key] = [
            {name: value for name, value in each.items() if name != "image"} for each in spec.get(key) or ()
        ]
    return out


def validate_template(template: Any, path: str, causes: list[Cause]) -> None:
    """A PodTemplateSpec."""
    template = template or {}
    validate_labels((template.get("metadata") or {}).get("labels"), f"{path}.labels", causes)
    if template.get("spec") is None:
        causes.append(cause.required(f"{path}.spec.containers"))
        return
    validate_pod_spec(template["spec"], f"{path}.spec", causes)


def validate_pod_spec(spec: Json, path: str, causes: list[Cause]) -> None:
    """A PodSpec."""
    volumes = validate_volumes(spec.get("volumes"), f"{path}.volumes", causes)
    validate_containers(spec, path, volumes, causes)
    for key, allowed in (("restartPolicy", _RESTART), ("dnsPolicy", _DNS)):
        if spec.get(key) and spec[key] not in allowed:
            causes.append(cause.not_supported(f"{path}.{key}", spec[key], allowed))
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None and not 1 <= deadline <= 2**31 - 1:
        causes.append(
            cause.invalid(
                f"{path}.activeDeadlineSeconds", deadline, f"must be between 1 and {2**31 - 1}, inclusive"
            )
        )
    validate_labels(spec.get("nodeSelector"), f"{path}.nodeSelector", causes)
    for key in ("serviceAccountName", "nodeName"):
        if spec.get(key):
            causes += [cause.invalid(f"{path}.{key}", spec[key], why) for why in names.subdomain(spec[key])]
    for key in ("hostname", "subdomain"):
        if spec.get(key):
            causes += [cause.invalid(f"{path}.{key}", spec[key], why) for why in names.label(spec[key])]
    _tolerations(spec.get("tolerations"), f"{path}.tolerations", causes)


def _tolerations(tolerations: Any, path: str, causes: list[Cause]) -> None:
    for index, each in enumerate(tolerations or ()):
        where = f"{path}[{index}]"
        operator, key, effect = each.get("operator") or "Equal", each.get("key"), each.get("effect")
        if key:
            causes += [cause.invalid(f"{where}.key", key, why) for why in names.qualified(key)]
        elif operator != "Exists":
            causes.append(
                cause.invalid(
                    f"{where}.operator",
                    operator,
                    'operator must be Exists when `key` is empty, which means "match all values '
                    'and all keys"',
                )
            )
        if operator not in ("Equal", "Exists", "Lt", "Gt"):
            causes.append(cause.not_supported(f"{where}.operator", operator, ["Equal", "Exists"]))
        elif operator == "Exists" and each.get("value"):
            causes.append(
                cause.invalid(
                    f"{where}.operator", each["value"], "value must be empty when `operator` is 'Exists'"
                )
            )
        if each.get("tolerationSeconds") is not None and effect != "NoExecute":
            causes.append(
                cause.invalid(
                    f"{where}.effect",
                    effect or "",
                    "effect must be 'NoExecute' when `tolerationSeconds` is set",
                )
            )
        if effect and effect not in _EFFECTS:
            causes.append(cause.not_supported(f"{where}.effect", effect, _EFFECTS))


_SOURCES_WITH_NAME = {"configMap": "name", "secret": "secretName", "persistentVolumeClaim": "claimName"}


def validate_volumes(volumes: Any, path: str, causes: list[Cause]) -> frozenset[str]:
    """Volumes of a pod. Returns their names, for the mounts."""
    seen: set[str] = set()
    for index, volume in enumerate(volumes or ()):
        where, before = f"{path}[{index}]", len(causes)
        name = volume.get("name") or ""
        if name:
            causes += [cause.invalid(f"{where}.name", name, why) for why in names.label(name)]
        if name in seen:
            causes.append(cause.duplicate(f"{where}.name", name))
        sources = [key for key, value in volume.items() if key != "name" and value is not None]
        if not sources:
            causes.append(cause.required(where, "must specify a volume type"))
        for extra in sources[1:]:
            causes.append(cause.forbidden(f"{where}.{extra}", "may not specify more than 1 volume type"))
        if sources:
            _source(sources[0], volume[sources[0]], where, causes)
        if name and len(causes) == before:  # a mount does not find what is no volume
            seen.add(name)
    return frozenset(seen)


def _source(kind: str, source: Json, where: str, causes: list[Cause]) -> None:
    named = _SOURCES_WITH_NAME.get(kind)
    if named and not source.get(named):
        causes.append(cause.required(f"{where}.{kind}.{named}"))
    if kind == "hostPath":
        validate_host_path(source, f"{where}.hostPath", causes)
    limit = source.get("sizeLimit") if kind == "emptyDir" else None
    if limit is not None and parse_quantity(limit) < 0:
        causes.append(
            cause.forbidden(
                f"{where}.emptyDir.sizeLimit", "SizeLimit field must be a valid resource quantity"
            )
        )
    mode = source.get("defaultMode")
    if mode is not None and not 0 <= mode <= 0o777:
        causes.append(
            cause.invalid(
                f"{where}.{kind}.defaultMode",
                mode,
                "must be a number between 0 and 0777 (octal), both inclusive",
            )
        )
    for index, item in enumerate(source.get("items") or ()):
        _relative(item.get("path") or "", f"{where}.{kind}.items[{index}].path", causes)


def validate_host_path(source: Json, path: str, causes: list[Cause]) -> None:
    """A hostPath, of a pod or a PersistentVolume."""
    allowed = (
        "",
        "BlockDevice",
        "CharDevice",
        "Directory",
        "DirectoryOrCreate",
        "File",
        "FileOrCreate",
        "Socket",
    )
    if ".." in str(source.get("path") or "").split("/"):
        causes.append(cause.invalid(f"{path}.path", source["path"], "must not contain '..'"))
    if (source.get("type") or "") not in allowed:
        causes.append(cause.not_supported(f"{path}.type", source["type"], allowed))


def _relative(text: str, path: str, causes: list[Cause]) -> None:
    if text.startswith("/"):
        causes.append(cause.invalid(path, text, "must be a relative path"))
    if ".." in text.split("/"):
        causes.append(cause.invalid(path, text, "must not contain '..'"))
