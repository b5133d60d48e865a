"""All checks of built-in types: of their values, of new objects, and of objects that change."""

from __future__ import annotations

from addon_framework.local.apiserver.validation import (
    cluster,
    config,
    containers,
    definitions,
    pods,
    policies,
    quotas,
    rbac,
    selectors,
    services,
    storage,
    webhooks,
    workloads,
)
from addon_framework.local.apiserver.validation.limits import Change, Check

CHECKS: dict[str, Check] = {
    **cluster.CHECKS,
    **config.CHECKS,
    **containers.CHECKS,
    **definitions.CHECKS,
    **pods.CHECKS,
    **policies.CHECKS,
    **quotas.CHECKS,
    **rbac.CHECKS,
    **selectors.CHECKS,
    **services.CHECKS,
    **storage.CHECKS,
    **webhooks.CHECKS,
    **workloads.CHECKS,
}
CREATIONS: dict[str, Check] = {
    **pods.CREATIONS,
    **services.CREATIONS,
    **storage.CREATIONS,
    **workloads.CREATIONS,
}
CHANGES: dict[str, Change] = {
    **cluster.CHANGES,
    **config.CHANGES,
    **definitions.CHANGES,
    **pods.CHANGES,
    **rbac.CHANGES,
    **services.CHANGES,
    **storage.CHANGES,
    **workloads.CHANGES,
}
