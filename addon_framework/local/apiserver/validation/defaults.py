"""Defaults of built-in kinds: what defaults.yaml says of their types, and what takes more than a value."""

from __future__ import annotations

import base64
from collections.abc import Callable
from functools import cache
from typing import Any

from addon_framework.api.meta import Json
from addon_framework.local.apiserver.data import described
from addon_framework.local.apiserver.schemas import SchemaNode, builtin_schema, copy_json


def default_builtin(obj: Json) -> None:
    """Fill in, in place, what the server fills in for this kind; anything unknown stays as it is."""
    group, _, version = str(obj.get("apiVersion", "")).rpartition("/")
    schema = builtin_schema(group, version, str(obj.get("kind", "")))
    if schema is not None:
        _default(obj, schema)


@cache
def _described() -> tuple[dict[str, Json], dict[str, Json]]:
    found = described(__package__, "defaults.yaml")
    return found["empty"], found["absent"]


def _default(value: Any, node: SchemaNode) -> None:
    if node.atomic_children or node.name.startswith("meta.v1."):  # metadata and selectors have none
        return
    if isinstance(value, dict):
        name, (empty, absent) = node.name, _described()
        if name in empty:
            _fill(value, empty[name], ("", 0, None))
        if name in absent:
            _fill(value, absent[name], (None,))
        if name in _COMPUTED:
            _COMPUTED[name](value)
        for key, below in value.items():
            if isinstance(below, (dict, list)):
                child = node.child(key)
                if child is not None:
                    _default(below, child)
    elif isinstance(value, list) and node.items is not None:
        for below in value:
            _default(below, node.items)


def _fill(target: Json, defaults: Json, nothing: tuple[Any, ...]) -> None:
    for key, wanted in defaults.items():
        field, condition, said = key.partition("=")
        if condition:
            if target.get(field) == said:
                _fill(target, wanted, nothing)
        elif target.get(key) in nothing:
            target[key] = copy_json(wanted)
        elif isinstance(wanted, dict) and isinstance(target[key], dict):
            _fill(target[key], wanted, nothing)


def _pod(pod: Json) -> None:
    """What is limited is requested."""
    spec = pod["spec"]
    for container in [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]:
        resources = container.get("resources") or {}
        for name, amount in (resources.get("limits") or {}).items():
            resources.setdefault("requests", {}).setdefault(name, amount)


def _pod_spec(spec: Json) -> None:
    # The old name of the field is kept equal for old clients.
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        spec["serviceAccountName"] = spec["serviceAccount"] = account
    if spec.get("hostNetwork"):
        for kind in ("initContainers", "containers", "ephemeralContainers"):
            for port in (port for each in spec.get(kind) or () for port in each.get("ports") or ()):
                port["hostPort"] = port.get("hostPort") or port.get("containerPort", 0)


def _pull_policy(container: Json) -> None:
    name = str(container.get("image", "")).rpartition("/")[2]
    fixed = "@" in name or name.partition(":")[2] not in ("", "latest")
    container["imagePullPolicy"] = container.get("imagePullPolicy") or ("IfNotPresent" if fixed else "Always")


def _volume(volume: Json) -> None:
    if not any(key != "name" and value is not None for key, value in volume.items()):
        volume["emptyDir"] = {}


def _service_port(port: Json) -> None:
    port["targetPort"] = port.get("targetPort") or port.get("port", 0)


def _secret(secret: Json) -> None:
    plain = secret.pop("stringData", None)
    if isinstance(plain, dict):
        encoded = {key: base64.b64encode(str(value).encode()).decode() for key, value in plain.items()}
        secret["data"] = {**(secret.get("data") or {}), **encoded}


def _namespace(namespace: Json) -> None:
    metadata = namespace.setdefault("metadata", {})
    if metadata.get("name"):
        labels = metadata["labels"] = metadata.get("labels") or {}
        labels["kubernetes.io/metadata.name"] = metadata["name"]
    if not metadata.get("deletionTimestamp"):
        defaults = {"spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}
        _fill(namespace, defaults, (None, []))


def _labels_from_template(obj: Json) -> None:
    metadata = obj.setdefault("metadata", {})
    labels = ((obj["spec"].get("template") or {}).get("metadata") or {}).get("labels")
    if labels and not metadata.get("labels"):
        metadata["labels"] = dict(labels)


def _controller(obj: Json) -> None:
    _labels_from_template(obj)
    template = obj["spec"].get("template") or {}
    obj["spec"]["selector"] = obj["spec"].get("selector") or (template.get("metadata") or {}).get("labels")


def _job(job: Json) -> None:
    """A Job finds its pods by its own uid, so that no two Jobs ever share pods."""
    spec = job["spec"]
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = 1
    failed = spec.get("podFailurePolicy") is not None
    replaced = "Failed" if failed else "TerminatingOrFailed"
    _fill(spec, {"parallelism": 1, "podReplacementPolicy": replaced}, (None,))
    metadata = job.get("metadata", {})
    uid, name, template = metadata.get("uid"), metadata.get("name", ""), spec.get("template")
    if (
        "resourceVersion" not in metadata
        and uid
        and name
        and template is not None
        and not spec["manualSelector"]
        and not spec.get("selector")
    ):
        labels = template.setdefault("metadata", {}).setdefault("labels", {})
        for prefix in ("batch.kubernetes.io/", ""):
            labels |= {f"{prefix}controller-uid": uid, f"{prefix}job-name": name}
        spec["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
    _labels_from_template(job)


def _limit_item(item: Json) -> None:
    """What is not said of containers follows from the rest."""
    if item.get("type") == "Container":
        limits = {**(item.get("max") or {}), **(item.get("default") or {})}
        requests = {**(item.get("min") or {}), **limits, **(item.get("defaultRequest") or {})}
        item.update({key: said for key, said in (("default", limits), ("defaultRequest", requests)) if said})


def _definition(spec: Json) -> None:
    spec.setdefault("conversion", {"strategy": "None"})
    names = spec.get("names") or {}
    kind = str(names.get("kind", ""))
    names["singular"] = names.get("singular") or kind.lower()
    if kind and not names.get("listKind"):
        names["listKind"] = f"{kind}List"


_COMPUTED: dict[str, Callable[[Json], None]] = {
    "core.v1.Pod": _pod,
    "core.v1.PodSpec": _pod_spec,
    "core.v1.Container": _pull_policy,
    "core.v1.EphemeralContainer": _pull_policy,
    "core.v1.Volume": _volume,
    "core.v1.ServicePort": _service_port,
    "core.v1.Secret": _secret,
    "core.v1.Namespace": _namespace,
    "core.v1.ReplicationController": _controller,
    "core.v1.LimitRangeItem": _limit_item,
    "batch.v1.Job": _job,
    "apiextensions.v1.CustomResourceDefinitionSpec": _definition,
}
