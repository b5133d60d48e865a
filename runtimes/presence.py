"""Where FUSE clients run, and when they go: what a runtime's cleanPolicy means for its backend. Pure.

Without one a client runs on every node that fits, from the beginning. With one it starts where a pod that
uses the Dataset has been scheduled, and goes by the policy, whose words are Fluid's.
"""

from __future__ import annotations

from runtimes.interface import Backend, Cache, Component, Role

ON_RUNTIME_DELETED, ON_DEMAND, ON_FUSE_CHANGED = "OnRuntimeDeleted", "OnDemand", "OnFuseChanged"
POLICIES = (ON_RUNTIME_DELETED, ON_DEMAND, ON_FUSE_CHANGED)


def policy_of(backend: Backend, cache: Cache) -> str:
    """What the runtime says, else its profile; "" for nothing."""
    profile = ((cache.profile or {}).get("spec") or {}).get("fuse") or {}
    said = cache.spec.get(_section(backend)) or {}
    return str(said.get("cleanPolicy") or profile.get("cleanPolicy") or "")


def is_lazy(backend: Backend, cache: Cache) -> bool:
    """Whether clients run only where pods use the Dataset. The specs must be valid."""
    return bool(policy_of(backend, cache)) and not _why_not(backend, cache)


def holder(backend: Backend, cache: Cache) -> Role:
    """Whose pods have the cache on their nodes: workers, or the clients of a kind that ties them to these."""
    client = _client(backend, cache)
    return "worker" if client is None or client.portable else "client"


def policy_problems(backend: Backend, cache: Cache) -> list[str]:
    """A policy that there is not, or that these clients cannot follow. The rest must be valid."""
    policy, field = policy_of(backend, cache), f"{cache.title}: spec.{_section(backend)}.cleanPolicy"
    if policy and policy not in POLICIES:
        return [f"{field}: {policy!r} is none of {', '.join(POLICIES)}"]
    if policy in (ON_DEMAND, ON_FUSE_CHANGED) and (why := _why_not(backend, cache)):
        return [f"{field}: {policy} is not possible: {why}; leave it out, or say {ON_RUNTIME_DELETED}"]
    return []


def _why_not(backend: Backend, cache: Cache) -> str:
    """Why these clients have to be there from the beginning to the end."""
    client = _client(backend, cache)
    if client is None:
        return "there are no clients"
    if not backend.volume(cache).mounted:
        return "a pod could start before its node's client, and would not see that it is not there"
    if client.replicas is not None or not client.portable:
        return "its clients hold the cache on their nodes"
    if (command := backend.prepare(cache)) is not None and command.role == "client":
        return "a client mounts the sources for all"
    restores = backend.restores and cache.dataset.spec.data_restore_location is not None
    if restores and len(backend.components(cache)) == 1:
        return "its client begins from the backup that the Dataset's dataRestoreLocation names"
    return ""


def _client(backend: Backend, cache: Cache) -> Component | None:
    return next((each for each in backend.components(cache) if each.role == "client"), None)


def _section(backend: Backend) -> str:
    return "client" if backend.status_of_parts else "fuse"
