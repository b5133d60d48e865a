"""What is wrong with a Dataset and its runtime, and what of them has no effect here, in sentences. Pure.

Admission and the controller say the same: the one when something is written, the other in conditions, where
there are no webhooks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from addon_framework.api.data import EncryptOption
from addon_framework.api.meta import Json, to_dict
from addon_framework.api.quantity import parse_quantity
from runtimes import metadata_list
from runtimes.backup_pods import restore_problems
from runtimes.interface import Backend, Cache
from runtimes.presence import policy_problems

_ENVELOPE = ("apiVersion", "kind", "metadata", "status")
_POLICIES = ("Always", "IfNotPresent", "Never")
_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
_NAME = re.compile(r"[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?")  # RFC 1035, as Fluid has it
_LABEL = 63  # characters that a label's value may have
_DATASET = {"Dataset.spec.runtimes": "the runtime of a Dataset is the one of its name"}
_ONLY_CLIENTS = {
    "Dataset.spec.placement": "there are only clients, which may share a node with any other cache",
}


def problems(backend: Backend, cache: Cache) -> list[str]:
    """Why they could never be set up as they are."""
    found = list(profile_problems(backend, cache.profile)) if cache.profile is not None else []
    found += [
        *_of_dataset(cache),
        *_of_pods(f"{cache.title}: spec", cache.spec),
        *metadata_list.problems(cache),
    ]
    found += [*backend.validate(cache), *restore_problems(backend, cache)]
    return list(dict.fromkeys(found)) or [*_length(backend, cache), *policy_problems(backend, cache)]


def profile_problems(backend: Backend, profile: Json) -> list[str]:
    """Why no runtime that names it could ever be set up."""
    kind = backend.profile.resource.kind if backend.profile is not None else ""
    title = f"{kind} {(profile.get('metadata') or {}).get('name', '')}"
    fields = {name: value for name, value in profile.items() if name not in _ENVELOPE}
    found = [problem for name, value in fields.items() for problem in _of_pods(f"{title}: {name}", value)]
    return [*found, *backend.profile_problems(profile)]


def notes(backend: Backend, cache: Cache) -> list[str]:
    """Fields that are given and have no effect, and why; of specs without problems."""
    reasons: dict[str, str] = {**_DATASET, **backend.without_effect(cache)}
    if all(component.role == "client" for component in backend.components(cache)):
        reasons |= _ONLY_CLIENTS
    mark = "Dataset."
    of_dataset = {k.removeprefix(mark): v for k, v in reasons.items() if k.startswith(mark)}
    of_runtime = {k: v for k, v in reasons.items() if not k.startswith(mark)}
    title = f"Dataset {cache.namespace}/{cache.name}"
    return [
        *remarks(cache.title, cache.runtime, of_runtime),
        *remarks(title, to_dict(cache.dataset), of_dataset),
        *metadata_list.notes(cache),
    ]


def remarks(title: str, obj: Json, reasons: Mapping[str, str]) -> list[str]:
    """Which of the fields are given, though they have no effect, for these reasons."""
    return [
        f"{title}: {where}: has no effect: {why}"
        for path, why in reasons.items()
        for where in _given(obj, path.split("."))
    ]


def _given(value: Any, steps: Sequence[str], at: str = "") -> Iterator[str]:
    """Where something is said at that path, in each element of the lists on it."""
    if not steps:
        if value not in (None, "", {}, [], False, 0):
            yield at
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from _given(each, steps, f"{at}[{number}]")
    elif isinstance(value, Mapping) and steps[0] in value:
        yield from _given(value[steps[0]], steps[1:], f"{at}.{steps[0]}".lstrip("."))


def _of_dataset(cache: Cache) -> Iterator[str]:
    """What no backend could make sense of."""
    spec, where = cache.dataset.spec, f"Dataset {cache.namespace}/{cache.name}: spec"
    if cache.name and not _NAME.fullmatch(cache.name):
        yield (
            f"Dataset {cache.namespace}/{cache.name}: metadata.name: must be at most 63 a-z, 0-9 and -, "
            "a letter first and no - last, since pods and Services are named after it"
        )
    for number, mode in enumerate(spec.access_modes):
        if mode not in _MODES:
            yield f"{where}.accessModes[{number}]: {mode!r} must be one of {', '.join(_MODES)}"
    if spec.node_affinity.required and not spec.node_affinity.required.get("nodeSelectorTerms"):
        yield f"{where}.nodeAffinity.required.nodeSelectorTerms: at least one is needed"
    if spec.owner is not None and (spec.owner.uid < 0 or spec.owner.gid < 0):
        yield f"{where}.owner: uid and gid must not be negative"
    yield from _secrets(f"{where}.sharedEncryptOptions", spec.shared_encrypt_options, spec.shared_options)
    for number, mount in enumerate(spec.mounts):
        if ".." in mount.path.split("/") or not (mount.path or mount.name).isprintable():
            yield f"{where}.mounts[{number}].path: {mount.path!r} must be /directory of the Dataset"
        yield from _secrets(f"{where}.mounts[{number}].encryptOptions", mount.encrypt_options, mount.options)


def _length(backend: Backend, cache: Cache) -> Iterator[str]:
    """Pods of a StatefulSet are labelled with its name and that of its revision."""
    numbered = [c for c in backend.components(cache) if c.replicas is not None]
    longest = max((len(c.name or f"{cache.name}-worker") for c in numbered), default=0)
    if (over := longest + len("-0123456789") - _LABEL) > 0:
        where = f"Dataset {cache.namespace}/{cache.name}: metadata.name"
        yield f"{where}: is {over} characters too long for the pods of {cache.title}"


def _of_pods(where: str, said: Any) -> Iterator[str]:
    """What no API server would take of a container, wherever in a runtime's spec it is."""
    if isinstance(said, list):
        for number, each in enumerate(said):
            yield from _of_pods(f"{where}[{number}]", each)
    elif isinstance(said, Mapping):
        for name, value in said.items():
            field = f"{where}.{name}"
            if name == "imagePullPolicy" and value not in ("", *_POLICIES):
                yield f"{field}: {value!r} must be one of {', '.join(_POLICIES)}"
            elif name == "resources" and isinstance(value, Mapping):
                yield from _resources(field, value)
            elif isinstance(value, Mapping | list):
                yield from _of_pods(field, value)


def _resources(where: str, said: Mapping[str, Any]) -> Iterator[str]:
    found: dict[tuple[str, str], Decimal] = {}
    for kind in ("limits", "requests"):
        for name, quantity in (said.get(kind) or {}).items():
            try:
                found[kind, name] = parse_quantity(str(quantity))
            except ValueError:
                yield f"{where}.{kind}.{name}: {quantity!r} is not a quantity"
    for (kind, name), quantity in found.items():
        if kind == "requests" and quantity > found.get(("limits", name), quantity):
            limit = said["limits"][name]
            yield f"{where}.requests.{name}: {said[kind][name]} is more than the limit, {limit}"


def _secrets(where: str, options: Sequence[EncryptOption], plain: Mapping[str, str]) -> Iterator[str]:
    for number, option in enumerate(options):
        reference = option.value_from.secret_key_ref
        if reference is None or not reference.name or not reference.key:
            yield f"{where}[{number}].valueFrom.secretKeyRef: name and key are needed"
        if option.name in plain:
            yield f"{where}[{number}].name: {option.name} is there as an option that is not secret, too"
