"""Which labels a node has for a Dataset, as Fluid has them. Pure.

Of the cache: `fluid.io/s-<ns>-<name>`, `s-<type>-...`, `s-h-<type>-{m,d,t}-...` with how much its memory, its
disks and both may hold, and `fluid_exclusive` for a cache that wants a node of its own. Of its client:
`fluid.io/f-...`, "true" or "idle".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from addon_framework.api.quantity import parse_quantity
from addon_framework.kube import Key
from addons.cache_runtime.agent.backends import Binding
from addons.cache_runtime.agent.components import placement
from addons.cache_runtime.agent.names import (
    EXCLUSIVE_LABEL,
    LEAVING,
    cache_node_label,
    capacity_node_label,
    client_node_label,
    exclusive_value,
    typed_node_label,
)
from addons.cache_runtime.agent.sizes import short_size

_MEMORY, _DISK, _TOTAL = "m", "d", "t"


def wanted(binding: Binding, *, cache: bool, client: str, leaving: bool = False) -> dict[str, str]:
    """Of a node that holds a part of the cache, that mounts the Dataset, or both; or whose part goes.

    `client` is the value of the client's label, "" for none (see agent.clients).
    """
    key, uid, kind = _identity(binding)
    found = {client_node_label(key, uid): client} if client else {}
    if leaving:
        found[cache_node_label(key, uid)] = LEAVING
    elif cache:
        found |= {cache_node_label(key, uid): "true", typed_node_label(kind, key, uid): "true"}
        for tier, size in _capacities(binding).items():
            found[capacity_node_label(kind, tier, key, uid)] = short_size(size)
        if placement(binding) == "Exclusive":
            found[EXCLUSIVE_LABEL] = exclusive_value(key, uid)
    return found


def changes(
    binding: Binding, there: Mapping[str, str], *, cache: bool, client: str, leaving: bool = False
) -> dict[str, str | None]:
    """What to write into a node's labels; None removes one. Labels of others are left alone."""
    after = wanted(binding, cache=cache, client=client, leaving=leaving)
    gone = {label: None for label in _ours(binding, there) if label not in after}
    return {**gone, **{label: value for label, value in after.items() if there.get(label) != value}}


def _ours(binding: Binding, there: Mapping[str, str]) -> Iterator[str]:
    """Those that a node has for this Dataset."""
    key, uid, kind = _identity(binding)
    plain = (cache_node_label(key, uid), client_node_label(key, uid), typed_node_label(kind, key, uid))
    sizes = (capacity_node_label(kind, tier, key, uid) for tier in (_MEMORY, _DISK, _TOTAL))
    yield from (label for label in (*plain, *sizes) if label in there)
    if there.get(EXCLUSIVE_LABEL) == exclusive_value(key, uid):
        yield EXCLUSIVE_LABEL


def _capacities(binding: Binding) -> dict[str, int]:
    """Bytes that the cache may hold on one node, by Fluid's letters; what is not limited is not there."""
    spec = binding.cache.spec
    nested = ((spec.get("worker") or {}).get("tieredStore") or {}).get("levels") or []
    sizes = {_MEMORY: 0, _DISK: 0}
    try:
        for level in (spec.get("tieredstore") or {}).get("levels") or []:
            where = _MEMORY if level.get("mediumtype") == "MEM" else _DISK
            sizes[where] += _sum(str(level.get("quotaList") or level.get("quota") or "0").split(","))
        for level in nested:
            for name, tier in level.items():
                if isinstance(tier, dict):
                    memory = name == "processMemory" or tier.get("medium") == "Memory"
                    sizes[_MEMORY if memory else _DISK] += _sum(
                        tier.get("quotas") or [tier.get("quota") or "0"]
                    )
    except ValueError:  # the backend names the field
        return {}
    sizes[_TOTAL] = sum(sizes.values())
    return {letter: size for letter, size in sizes.items() if size}


def _sum(quantities: list[str]) -> int:
    return sum(int(parse_quantity(each.strip())) for each in quantities)


def _identity(binding: Binding) -> tuple[Key, str, str]:
    key = Key(binding.cache.namespace, binding.cache.name)
    return key, str(binding.dataset["metadata"].get("uid", "")), binding.backend.type
