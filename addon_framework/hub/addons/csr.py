"""Approves the certificate requests of add-on agents that pass the add-on's policy."""

from __future__ import annotations

import structlog

from addon_framework.api.addon import AddOnTemplate, ManagedClusterAddOn
from addon_framework.api.cluster import ManagedCluster
from addon_framework.api.core import CSRS
from addon_framework.api.meta import Json
from addon_framework.api.names import ADDON_NAME_LABEL, CLUSTER_NAME_LABEL
from addon_framework.hub.acceptance import is_accepted
from addon_framework.hub.addons.identity import check_addon_csr
from addon_framework.hub.addons.sources import BUSY, RETRY_PLUGIN, source_of
from addon_framework.hub.registration.csr import CsrError, approve, is_settled, subject_of
from addon_framework.kube import Controller, Key, Watch, key_of
from addon_framework.plugins import KubeClient, PluginBusy, PluginError, Plugins

log = structlog.get_logger(__name__)
_LABELS = f"{CLUSTER_NAME_LABEL},{ADDON_NAME_LABEL}"


class AddonCsrController(Controller):
    """CertificateSigningRequest of an add-on -> approved, or left to a person."""

    name = "addon-csr"

    def __init__(self, plugins: Plugins, *, templates: bool = True) -> None:
        self._plugins, self._templates = plugins, templates

    def watches(self) -> list[Watch]:
        """Requests with both labels, and add-ons whose registration may arrive after the request."""
        return [
            Watch(CSRS, label_selector=_LABELS),
            Watch(ManagedClusterAddOn.RESOURCE, map=self._pending, predicate=_registrations_changed),
            Watch(AddOnTemplate.RESOURCE, map=lambda _: ()),
        ]

    async def reconcile(self, key: Key) -> float | None:
        """Check and approve one request."""
        csr = self.cache(CSRS, label_selector=_LABELS).get(key)
        if csr is None or is_settled(csr):
            return None
        cluster_name, addon_name = _addon_of(csr)
        addon = self.cache(ManagedClusterAddOn.RESOURCE).get(Key(cluster_name, addon_name))
        cluster = self.cache(ManagedCluster.RESOURCE).get(Key("", cluster_name))
        plugin = (
            source_of(self, self._plugins, addon, templates=self._templates) if addon is not None else None
        )
        if plugin is None or addon is None or cluster is None:
            return None
        if not is_accepted(cluster):
            return None
        try:
            registrations = await plugin.ask("addon_registrations", cluster_name=cluster_name)
            check_addon_csr(
                csr, addon, subject_of(csr), [KubeClient()] if registrations is None else registrations
            )
            verdict = await plugin.ask("addon_csr_approve", cluster=cluster, addon=addon, csr=csr)
            if verdict is False:
                raise CsrError("the add-on declines it")
        except PluginError as error:
            log.warning("certificate request not judged", csr=key.name, reason=str(error))
            return BUSY if isinstance(error, PluginBusy) else RETRY_PLUGIN
        except CsrError as error:
            log.info("certificate request left alone", csr=key.name, reason=str(error))
            return None
        message = f"The request of add-on {addon_name} on cluster {cluster_name} passed its policy."
        await approve(self.client, csr, "AutoApprovedByHubCSRApprovingController", message)
        return None

    def _pending(self, addon: Json) -> list[Key]:
        requests = self.cache(CSRS, label_selector=_LABELS)
        requests.add_index("addon", lambda csr: [str(_addon_of(csr))])
        found = requests.by_index("addon", str(key_of(addon)))
        return [key_of(csr) for csr in found if not is_settled(csr)]


def _addon_of(csr: Json) -> Key:
    labels = csr["metadata"]["labels"]
    return Key(labels[CLUSTER_NAME_LABEL], labels[ADDON_NAME_LABEL])


def _registrations_changed(old: Json | None, new: Json | None) -> bool:
    def registrations(addon: Json | None) -> object:
        return ((addon or {}).get("status") or {}).get("registrations")

    return bool(registrations(old) != registrations(new))
