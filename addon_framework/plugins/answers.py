"""What each hook may return. Whatever else a plug-in gives is refused here, before it can do harm."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from addon_framework.api.meta import Json
from addon_framework.plugins.types import (
    AddonDescription,
    CurrentCluster,
    CustomSigner,
    KubeClient,
    Lease,
    NoProbe,
    SingleNamespace,
    Work,
    Workload,
)


class Nonsense(TypeError):
    """A hook has returned what it may not; the message says what."""


def checked(hook: str, answer: Any) -> Any:
    """The answer as the hub uses it; None, for "nothing to say", is always allowed. Raises Nonsense."""
    check = _CHECKS.get(hook)
    return answer if answer is None or check is None else check(answer)


def check_description(found: AddonDescription) -> None:
    """A dataclass takes anything; this does not. Raises Nonsense."""
    if not isinstance(found.prober, Lease | Workload | Work | NoProbe):
        raise Nonsense(f"health is {_kind(found.health)}, not Lease, Workload, Work or NoProbe")
    for field in ("name", "display_name", "description", "install_namespace"):
        if not isinstance(getattr(found, field), str):
            raise Nonsense(f"{field} is {_kind(getattr(found, field))}, not a text")
    for field in ("pre_delete_deadline", "hook_timeout"):
        value = getattr(found, field)
        if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
            raise Nonsense(f"{field} is {value!r}, not a number of seconds")
    for config in found.supported_configs:
        if not all(isinstance(getattr(config, field, None), str) for field in ("group", "resource")):
            raise Nonsense(f"supported_configs holds {_kind(config)}, not a ConfigKind")


def _manifests(answer: Any) -> list[Json]:
    """Copies of our own, of JSON and nothing else: works are made of them."""
    import orjson  # here: `fleetadm --help` reads plug-ins too, and should come at once

    try:
        objects: list[Json] = orjson.loads(orjson.dumps(_listed(answer, "objects")))
    except (TypeError, orjson.JSONDecodeError) as error:
        if isinstance(error, Nonsense):
            raise
        raise Nonsense(f"objects that are not JSON: {error}") from error
    return objects


def _registrations(answer: Any) -> list[Any]:
    found = _listed(answer, "KubeClient or CustomSigner")
    for each in found:
        if not isinstance(each, KubeClient | CustomSigner):
            raise Nonsense(f"a list with {_kind(each)} in it, not KubeClient or CustomSigner")
    return found


def _permissions(answer: Any) -> list[Any]:
    found = _listed(answer, "RBAC rules")
    for each in found:
        if not isinstance(each, Mapping | CurrentCluster | SingleNamespace):
            raise Nonsense(
                f"a list with {_kind(each)} in it, not an RBAC rule, CurrentCluster or SingleNamespace"
            )
    return found


def _verdict(answer: Any) -> bool:
    if not isinstance(answer, bool):
        raise Nonsense(f"{_kind(answer)}, not True, False or None")
    return answer


def _certificate(answer: Any) -> bytes:
    if not isinstance(answer, bytes) or b"-----BEGIN CERTIFICATE-----" not in answer:
        raise Nonsense(f"{_kind(answer)}, not the bytes of a PEM certificate")
    return answer


def _scores(answer: Any) -> dict[str, int]:
    if not isinstance(answer, Mapping):
        raise Nonsense(f"{_kind(answer)}, not scores by cluster name")
    for cluster, value in answer.items():
        whole = isinstance(value, int | float) and not isinstance(value, bool) and value == value
        if not isinstance(cluster, str) or not whole:
            raise Nonsense(f"the score {value!r} for {cluster!r}")
    return {cluster: int(max(-100, min(100, value))) for cluster, value in answer.items()}


def _listed(answer: Any, of: str) -> list[Any]:
    if isinstance(answer, str | bytes | Mapping) or not isinstance(answer, Iterable):
        raise Nonsense(f"{_kind(answer)}, not a list of {of}")
    return list(answer)


def _kind(value: Any) -> str:
    name = (value if isinstance(value, type) else type(value)).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


_CHECKS: dict[str, Callable[[Any], Any]] = {
    "addon_manifests": _manifests,
    "mutate_manifests": _manifests,
    "addon_hub_manifests": _manifests,
    "addon_registrations": _registrations,
    "addon_hub_permissions": _permissions,
    "addon_csr_approve": _verdict,
    "addon_csr_sign": _certificate,
    "placement_scores": _scores,
}
