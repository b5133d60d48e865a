"""The token driver: accounts on the hub whose tokens a spoke's agent may fetch for its add-ons.

Names, labels and the condition with the account's uid are those that OCM's agents and managers agree on.
"""

from __future__ import annotations

from collections.abc import Iterable

import structlog

from addon_framework.api.addon import ManagedClusterAddOn
from addon_framework.api.cluster import ManagedCluster
from addon_framework.api.conditions import get_condition, set_condition
from addon_framework.api.core import ROLEBINDINGS, ROLES, SERVICEACCOUNTS
from addon_framework.api.meta import Json, Resource, copy_json
from addon_framework.api.names import ADDON_GROUP, CONDITION_TOKENS
from addon_framework.hub.acceptance import acceptance_changed, is_accepted
from addon_framework.hub.addons.identity import RBAC, token_account, uses_tokens
from addon_framework.hub.addons.works import addon_reference
from addon_framework.hub.registration.rbac import cluster_group, rule
from addon_framework.kube import Controller, Key, Watch, key_of
from addon_framework.kube.ensure import ensure, remove, write_status
from addon_framework.plugins.types import KUBE_CLIENT_SIGNER

log = structlog.get_logger(__name__)

MANAGER = "boundaryless-addon-tokens"
_NAME, _TOKENS = f"{ADDON_GROUP}/name", f"{ADDON_GROUP}/token-infrastructure"
_SELECTOR = f"{_TOKENS}=true"
_RESOURCES = (SERVICEACCOUNTS, ROLES, ROLEBINDINGS)


def token_objects(addon: Json) -> list[tuple[Resource, Json]]:
    """The account, and the cluster's right to ask for tokens of exactly this one. Pure."""
    name, cluster = addon["metadata"]["name"], addon["metadata"]["namespace"]
    account, role = token_account(name), f"{name}-token-role"
    rules = [rule([""], ["serviceaccounts/token"], ["create"], [account])]
    subject = {"apiGroup": RBAC, "kind": "Group", "name": cluster_group(cluster)}

    def metadata(own_name: str) -> Json:
        return {
            "name": own_name,
            "namespace": cluster,
            "labels": {_NAME: name, _TOKENS: "true"},
            "ownerReferences": [addon_reference(addon)],
        }

    binding = {
        "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": role},
        "subjects": [subject],
    }
    return [
        (SERVICEACCOUNTS, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata(account)}),
        (ROLES, {"apiVersion": f"{RBAC}/v1", "kind": "Role", "metadata": metadata(role), "rules": rules}),
        (
            ROLEBINDINGS,
            {"apiVersion": f"{RBAC}/v1", "kind": "RoleBinding", "metadata": metadata(role), **binding},
        ),
    ]


class AddonTokenController(Controller):
    """ManagedClusterAddOn whose agent wants tokens -> ServiceAccount, Role, RoleBinding, condition."""

    name = "addon-token"
    workers = 4

    def watches(self) -> list[Watch]:
        """Add-ons, what we make for them, and whether their cluster is accepted."""
        made = [Watch(r, map=_addon_of, label_selector=_SELECTOR) for r in _RESOURCES]
        return [
            Watch(ManagedClusterAddOn.RESOURCE, predicate=_concerns_tokens),
            Watch(ManagedCluster.RESOURCE, map=self._on_cluster, predicate=acceptance_changed),
            *made,
        ]

    async def reconcile(self, key: Key) -> float | None:
        """One add-on on one cluster. While it goes its agent keeps what it has, to clean up with."""
        addon = self.cache(ManagedClusterAddOn.RESOURCE).get(key)
        if addon is None or not _wants_tokens(addon):
            await self._clean(key)
            if addon is not None and get_condition(addon, CONDITION_TOKENS) is not None:
                status = copy_json(addon["status"])
                status["conditions"] = [c for c in status["conditions"] if c["type"] != CONDITION_TOKENS]
                await write_status(self.client, ManagedClusterAddOn.RESOURCE, addon, status)
            return None
        if addon["metadata"].get("deletionTimestamp"):
            return None
        cluster = self.cache(ManagedCluster.RESOURCE).get(Key("", key.namespace))
        if not is_accepted(cluster):
            await self._clean(key)  # the tokens that are out end with their account
            text = f"the hub does not accept cluster {key.namespace}"
            await self._condition(addon, "False", "ClusterNotAccepted", text)
            return None
        for resource, desired in token_objects(addon):
            live = self._live(resource, key_of(desired))
            if live is not None and live["metadata"].get("deletionTimestamp"):
                return None  # its end calls us again
            await ensure(self.client, live, desired, field_manager=MANAGER, resource=resource)
        account = self._live(SERVICEACCOUNTS, Key(key.namespace, token_account(key.name)))
        if account is None:
            return None  # its coming calls us again
        # OCM's agent reads the uid out of the message: tokens of an account before this one are of no use.
        uid = account["metadata"]["uid"]
        text = f"ServiceAccount {key.namespace}/{account['metadata']['name']} (UID: {uid}) is ready"
        await self._condition(addon, "True", CONDITION_TOKENS, text)
        return None

    async def _clean(self, key: Key) -> None:
        for resource in reversed(_RESOURCES):
            for live in self.cache(resource, label_selector=_SELECTOR).in_namespace(key.namespace):
                if _addon_of(live) == [key]:
                    await remove(self.client, resource, live)

    async def _condition(self, addon: Json, status: str, reason: str, message: str) -> None:
        wanted = copy_json(addon.get("status") or {})
        set_condition(wanted.setdefault("conditions", []), CONDITION_TOKENS, status, reason, message)
        if await write_status(self.client, ManagedClusterAddOn.RESOURCE, addon, wanted):
            log.info("tokens", addon=str(key_of(addon)), status=status, reason=reason)

    def _live(self, resource: Resource, key: Key) -> Json | None:
        found: Json | None = self.cache(resource, label_selector=_SELECTOR).get(key)
        return found

    def _on_cluster(self, cluster: Json) -> Iterable[Key]:
        addons = self.cache(ManagedClusterAddOn.RESOURCE).in_namespace(cluster["metadata"]["name"])
        return [key_of(addon) for addon in addons if _wants_tokens(addon)]


def _wants_tokens(addon: Json) -> bool:
    registrations = (addon.get("status") or {}).get("registrations") or []
    return uses_tokens(addon) and any(r.get("signerName") == KUBE_CLIENT_SIGNER for r in registrations)


def _concerns_tokens(old: Json | None, new: Json | None) -> bool:
    """Most add-ons have none, and none of their news is news here."""
    return any(
        each is not None and (_wants_tokens(each) or get_condition(each, CONDITION_TOKENS) is not None)
        for each in (old, new)
    )


def _addon_of(obj: Json) -> list[Key]:
    metadata = obj["metadata"]
    name = metadata["labels"].get(_NAME)
    return [Key(metadata["namespace"], name)] if name else []
