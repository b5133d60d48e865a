"""What a deletion leaves to be done before the object is gone.

https://kubernetes.io/docs/concepts/overview/working-with-objects/finalizers/
"""

from __future__ import annotations

from addon_framework.api.meta import Json
from addon_framework.local.apiserver import status
from addon_framework.local.apiserver.registry import Kind
from addon_framework.local.apiserver.schemas import cause, copy_json

FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"
_POLICIES = ("Foreground", "Background", "Orphan")


def check_options(options: Json) -> None:
    """422 for DeleteOptions that make no sense."""
    policy, dry_run = options.get("propagationPolicy"), options.get("dryRun") or []
    causes = [cause.not_supported("dryRun", dry_run, ["All"])] if set(dry_run) - {"All"} else []
    if policy is not None and options.get("orphanDependents") is not None:
        why = "orphanDependents and deletionPropagation cannot be both set"
        causes.append(cause.invalid("propagationPolicy", policy, why))
    elif policy is not None and policy not in _POLICIES:
        causes.append(cause.not_supported("propagationPolicy", policy, (*_POLICIES, "nil")))
    if causes:
        raise status.invalid_options("DeleteOptions", causes)


def finalizers_after(options: Json, finalizers: list[str]) -> list[str]:
    """The finalizers, with those that the propagation policy asks for."""
    policy = options.get("propagationPolicy")
    if policy is None and options.get("orphanDependents") is not None:
        policy = "Orphan" if options["orphanDependents"] else "Background"
    if policy is None:
        return list(finalizers)
    kept = [each for each in finalizers if each not in (FOREGROUND, ORPHAN)]
    added = {"Foreground": [FOREGROUND], "Orphan": [ORPHAN]}.get(policy, [])
    return kept + added


def grace_seconds(kind: Kind, current: Json, options: Json) -> int:
    """Seconds a kubelet has; only pods that run somewhere have one."""
    if kind.key != "pods" or not (current.get("spec") or {}).get("nodeName"):
        return 0
    if (current.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
        return 0
    asked = options.get("gracePeriodSeconds")
    if asked is None:
        asked = current["spec"].get("terminationGracePeriodSeconds", 30)
    return max(0, int(asked))


def marked(kind: Kind, current: Json, finalizers: list[str], grace: int, now: str) -> Json:
    """The object as it waits for its end."""
    obj: Json = copy_json(current)
    metadata = obj["metadata"]
    metadata["finalizers"] = finalizers
    if not finalizers:
        del metadata["finalizers"]
    if not metadata.get("deletionTimestamp"):
        metadata["deletionTimestamp"] = now
        if "generation" in metadata:
            metadata["generation"] += 1
    metadata["deletionGracePeriodSeconds"] = grace
    if kind.key == "namespaces":
        obj["status"] = {**(obj.get("status") or {}), "phase": "Terminating"}
    return obj


def holds_itself(kind: Kind, obj: Json) -> bool:
    """Namespaces have finalizers of their own, in spec."""
    return kind.key == "namespaces" and bool((obj.get("spec") or {}).get("finalizers"))


def is_finished(kind: Kind, obj: Json) -> bool:
    """Marked for deletion, and nothing holds it any more."""
    metadata = obj["metadata"]
    return (
        bool(metadata.get("deletionTimestamp"))
        and not metadata.get("finalizers")
        and not metadata.get("deletionGracePeriodSeconds")
        and not holds_itself(kind, obj)
    )
