"""ResourceQuotas: what objects use of them, and whether one more fits.

The charge is written in the same step as the object, so that no two writes ever share what is left.
https://kubernetes.io/docs/concepts/policy/resource-quotas/
"""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal
from functools import lru_cache
from typing import Any

from addon_framework.api.meta import Json
from addon_framework.api.selectors import holds
from addon_framework.local.amounts import ONE, Amount, Amounts, of_pod, read, total, written
from addon_framework.local.apiserver import status
from addon_framework.local.apiserver.admission import qos
from addon_framework.local.apiserver.store import Store
from addon_framework.local.apiserver.write import Write

QUOTAS = "resourcequotas"
_PODS, _CLAIMS, _SERVICES = "pods", "persistentvolumeclaims", "services"
CHANGING = (_PODS, _CLAIMS, _SERVICES)
"""Of these an update, too, may change what is used."""
_COUNTED = ("configmaps", "secrets", "replicationcontrollers", QUOTAS, _CLAIMS, _PODS, _SERVICES)
_COMPUTE = ("cpu", "memory", "ephemeral-storage")
_MUST_BE_SAID = {f"{group}{name}" for group in ("", "requests.", "limits.") for name in ("cpu", "memory")}
_BY_CLASS = ".storageclass.storage.k8s.io/"


@lru_cache(maxsize=4096)
def counted(name: str) -> str:
    """The resource whose objects use what a quota calls so; empty when nothing does."""
    if name.startswith("count/"):
        found = name.removeprefix("count/")
        return "" if found in ("events", "events.events.k8s.io") else found
    if name in _COUNTED:
        return name
    if name in ("services.loadbalancers", "services.nodeports"):
        return _SERVICES
    if name.rpartition(_BY_CLASS)[2] in (_CLAIMS, "requests.storage"):
        return _CLAIMS
    group, _, rest = name.partition(".")
    plain = rest if group in ("requests", "limits") else name
    if plain in _COMPUTE or (plain.startswith("hugepages-") and group != "limits"):
        return _PODS
    extended = group == "requests" and "/" in rest
    return _PODS if extended and ("kubernetes.io/" not in rest or rest.startswith("deviceclass.")) else ""


def usage(resource: str, obj: Json) -> Amounts:
    """What one object uses."""
    used = {f"count/{resource}": ONE}
    spec = obj.get("spec") or {}
    if resource == _PODS:
        return used if has_ended(obj) else used | _of_pod(spec)
    if resource in _COUNTED:
        used[resource] = ONE
    if resource == _CLAIMS:
        used |= _of_claim(obj, spec)
    elif resource == _SERVICES:
        used |= _of_service(spec)
    return used


def _of_pod(spec: Json) -> Amounts:
    requests, limits = of_pod(spec, "requests"), of_pod(spec, "limits")
    overhead = read(spec.get("overhead"))
    requests = total([requests, overhead])
    limits = total([limits, {name: more for name, more in overhead.items() if name in limits}])
    used = {"pods": ONE} | {f"limits.{name}": limits[name] for name in _COMPUTE if name in limits}
    for name, amount in requests.items():
        used[f"requests.{name}"] = amount
        if name in _COMPUTE or name.startswith("hugepages-"):
            used[name] = amount
    return used


def _of_claim(claim: Json, spec: Json) -> Amounts:
    annotations = claim["metadata"].get("annotations") or {}
    name = annotations.get("volume.beta.kubernetes.io/storage-class", spec.get("storageClassName"))
    used = {_CLAIMS: ONE}
    asked = read((spec.get("resources") or {}).get("requests")).get("storage")
    if asked is not None:
        allocated = read((claim.get("status") or {}).get("allocatedResources")).get("storage", asked)
        asked = max(asked, allocated, key=lambda amount: amount.value)
        whole = asked.value.to_integral_value(ROUND_CEILING)
        used["requests.storage"] = Amount(whole, asked.binary)
    return used | ({f"{name}{_BY_CLASS}{what}": amount for what, amount in used.items()} if name else {})


def _of_service(spec: Json) -> Amounts:
    kind, ports = spec.get("type"), spec.get("ports") or []
    if kind == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is False:
        ports = [port for port in ports if port.get("nodePort")]
    taken = len(ports) if kind in ("NodePort", "LoadBalancer") else 0
    balancers = 1 if kind == "LoadBalancer" else 0
    return {
        "services.nodeports": Amount(Decimal(taken)),
        "services.loadbalancers": Amount(Decimal(balancers)),
    }


def in_scope(quota: Json, resource: str, obj: Json) -> bool:
    """Whether a quota is about the object; one without scopes is about all."""
    spec = quota.get("spec") or {}
    wanted = [{"scopeName": name, "operator": "Exists"} for name in spec.get("scopes") or ()]
    wanted += (spec.get("scopeSelector") or {}).get("matchExpressions") or ()
    return all(_matches(each, resource, obj) for each in wanted)


def _matches(scope: Json, resource: str, obj: Json) -> bool:
    name, spec = scope["scopeName"], obj.get("spec") or {}
    names: list[Any] = []
    if (name, resource) == ("VolumeAttributesClass", _CLAIMS):
        state = obj.get("status") or {}
        target = (state.get("modifyVolumeStatus") or {}).get("targetVolumeAttributesClassName")
        names = [spec.get("volumeAttributesClassName"), state.get("currentVolumeAttributesClassName"), target]
    elif (name, resource) == ("PriorityClass", _PODS):
        names = [spec.get("priorityClassName")]
    elif resource != _PODS:
        return False
    elif name in ("Terminating", "NotTerminating"):
        return is_terminating(obj) is (name == "Terminating")
    elif name in ("BestEffort", "NotBestEffort"):
        return (qos(obj) == "BestEffort") is (name == "BestEffort")
    else:
        return name == "CrossNamespacePodAffinity" and _reaches_out(spec)
    expression = {"key": name, "operator": scope["operator"], "values": scope.get("values") or []}
    labels = [{name: each} for each in names if each]
    return any(holds(expression, each) for each in labels or [{}])


def has_ended(pod: Json) -> bool:
    """It uses nothing any more but its name."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def is_terminating(pod: Json) -> bool:
    """It ends by itself."""
    seconds = (pod.get("spec") or {}).get("activeDeadlineSeconds")
    return seconds is not None and seconds >= 0


def _reaches_out(spec: Json) -> bool:
    """Its affinity is to pods of other namespaces."""
    affinity = spec.get("affinity") or {}
    kinds = [affinity.get(kind) or {} for kind in ("podAffinity", "podAntiAffinity")]
    terms = [term for kind in kinds for term in kind.get(f"required{_LATER}") or ()]
    terms += [one["podAffinityTerm"] for kind in kinds for one in kind.get(f"preferred{_LATER}") or ()]
    return any(term.get("namespaces") or term.get("namespaceSelector") is not None for term in terms)


_LATER = "DuringSchedulingIgnoredDuringExecution"


class Quotas:
    """Of one server."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def check(self, write: Write, obj: Json, current: Json | None) -> list[Json]:
        """The quotas as they are once the write is done. 403 when it does not fit."""
        kind = write.kind
        if write.subresource or not kind.namespaced or (current is not None and kind.key not in CHANGING):
            return []
        quotas = self._store.list(QUOTAS, write.namespace)
        if not quotas:
            return []
        if kind.key == _PODS and current is not None and is_terminating(current) == is_terminating(obj):
            return []
        concerned = []
        for quota in quotas:
            hard = (quota.get("status") or {}).get("hard") or {}
            names = sorted(name for name in hard if counted(name) == kind.key)
            if names and in_scope(quota, kind.key, obj):
                self._demand(write, quota, names, obj)
                concerned.append((quota, names))
        used = usage(kind.key, obj) if concerned else {}
        before = usage(kind.key, current) if concerned and current is not None else {}
        changed = []
        for quota, names in concerned:
            known = before if current is not None and in_scope(quota, kind.key, current) else {}
            more = {name: _less(used[name], known.get(name)) for name in names if name in used}
            more = {name: amount for name, amount in more.items() if amount.value > 0}
            if more:
                changed.append(self._charged(write, quota, more))
        return changed

    def put(self, write: Write, obj: Json, charged: list[Json]) -> Json:
        """Stores the object, and what `check` said of its quotas."""
        for quota in charged:
            self._store.put(QUOTAS, (write.namespace, quota["metadata"]["name"]), quota)
        return self._store.put(write.kind.key, write.key, obj)

    def _demand(self, write: Write, quota: Json, names: list[str], obj: Json) -> None:
        """What is limited in cpu or memory must say how much it wants."""
        called = quota["metadata"]["name"]
        if write.kind.key == _PODS and not _is_sized(obj["spec"]):
            missing = _unsaid(obj["spec"], sorted(_MUST_BE_SAID.intersection(names)))
            if missing:
                said = "; ".join(f"{name} for: {','.join(who)}" for name, who in missing.items())
                raise _refused(write, f"failed quota: {called}: must specify {said}")
        if not set(names) <= (quota["status"].get("used") or {}).keys():
            why = f"status unknown for quota: {called}, resources: {','.join(names)}"
            raise _refused(write, why)

    def _charged(self, write: Write, quota: Json, more: Amounts) -> Json:
        state = quota["status"]
        hard, used = read(state["hard"]), read(state["used"])
        after = {name: used[name] + amount for name, amount in more.items()}
        if over := [name for name in sorted(more) if after[name].value > hard[name].value]:
            said = [",".join(f"{name}={amounts[name]}" for name in over) for amounts in (more, used, hard)]
            words = f"requested: {said[0]}, used: {said[1]}, limited: {said[2]}"
            raise _refused(write, f"exceeded quota: {quota['metadata']['name']}, {words}")
        return {**quota, "status": {**state, "used": {**state["used"], **written(after)}}}


def _less(amount: Amount, known: Amount | None) -> Amount:
    return amount if known is None else Amount(amount.value - known.value, amount.binary)


def _is_sized(spec: Json) -> bool:
    """As a whole, so that its containers need not be."""
    said: dict[str, Any] = spec.get("resources") or {}
    names = [name for group in ("requests", "limits") for name in said.get(group) or ()]
    return any(name in ("cpu", "memory") or name.startswith("hugepages-") for name in names)


def _unsaid(spec: Json, names: list[str]) -> dict[str, list[str]]:
    """Which containers do not name what a quota limits, by its name there."""
    found: dict[str, set[str]] = {}
    for container in [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]:
        resources = container.get("resources") or {}
        for name in names:
            group, _, rest = name.rpartition(".")
            if rest not in (resources.get(group or "requests") or {}):
                found.setdefault(name, set()).add(container["name"])
    return {name: sorted(who) for name, who in found.items()}


def _refused(write: Write, why: str) -> status.StatusError:
    name, kind = write.name or "Unknown", write.kind
    return status.forbidden(f'{kind.key} "{name}" is forbidden: {why}', kind, name)
