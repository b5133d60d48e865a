"""Signs the certificate requests of custom signers, once they are approved."""

from __future__ import annotations

import base64
import binascii
import copy
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import get_args

import structlog
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID

from addon_framework.api import subjects
from addon_framework.api.addon import AddOnTemplate, ManagedClusterAddOn
from addon_framework.api.cluster import ManagedCluster
from addon_framework.api.conditions import is_true
from addon_framework.api.core import CSRS, SECRETS
from addon_framework.api.meta import Json
from addon_framework.api.names import ADDON_NAME_LABEL, CLUSTER_NAME_LABEL
from addon_framework.hub.addons.sources import BUSY, source_of
from addon_framework.hub.registration.csr import CsrError
from addon_framework.kube import Controller, Key, NotFound, Watch
from addon_framework.plugins import CustomSigner, Plugin, PluginBusy, PluginError, Plugins, SigningCA
from addon_framework.plugins.types import KUBE_CLIENT_SIGNER

log = structlog.get_logger(__name__)
LIFETIME = timedelta(hours=24)  # OCM's, for certificates of a template's signer
RETRY = 30.0  # seconds: the authority's Secret is not watched, so that we need not read all Secrets
_LABELS = f"{CLUSTER_NAME_LABEL},{ADDON_NAME_LABEL}"


class AddonSignController(Controller):
    """Approved CertificateSigningRequest of a custom signer -> status.certificate."""

    name = "addon-sign"

    def __init__(
        self,
        plugins: Plugins,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        *,
        templates: bool = True,
    ) -> None:
        self._plugins, self._now, self._templates = plugins, now, templates

    def watches(self) -> list[Watch]:
        """Requests; the rest is read when one is approved."""
        return [
            Watch(CSRS, label_selector=_LABELS),
            *(Watch(r, map=lambda _: ()) for r in (ManagedClusterAddOn.RESOURCE, ManagedCluster.RESOURCE)),
            Watch(AddOnTemplate.RESOURCE, map=lambda _: ()),
        ]

    async def reconcile(self, key: Key) -> float | None:
        """Sign one request."""
        csr = self.cache(CSRS, label_selector=_LABELS).get(key)
        if csr is None or csr["spec"]["signerName"] == KUBE_CLIENT_SIGNER or not is_true(csr, "Approved"):
            return None
        if (csr.get("status") or {}).get("certificate"):
            return None
        labels = csr["metadata"]["labels"]
        cluster = self.cache(ManagedCluster.RESOURCE).get(Key("", labels[CLUSTER_NAME_LABEL]))
        addon = self.cache(ManagedClusterAddOn.RESOURCE).get(
            Key(labels[CLUSTER_NAME_LABEL], labels[ADDON_NAME_LABEL])
        )
        plugin = (
            source_of(self, self._plugins, addon, templates=self._templates) if addon is not None else None
        )
        if plugin is None or addon is None or cluster is None:
            return None
        try:
            certificate = await self._sign(plugin, cluster, addon, csr)
        except PluginBusy:
            return BUSY
        except (CsrError, PluginError) as error:
            log.warning("certificate request not signed", csr=key.name, reason=str(error))
            return RETRY
        if certificate is None:
            return None
        signed = copy.deepcopy(csr)
        signed.setdefault("status", {})["certificate"] = base64.b64encode(certificate).decode()
        await self.client.update(CSRS, signed, subresource="status")
        log.info("certificate signed", csr=key.name, signer=csr["spec"]["signerName"])
        return None

    async def _sign(self, plugin: Plugin, cluster: Json, addon: Json, csr: Json) -> bytes | None:
        name = cluster["metadata"]["name"]
        for registration in await plugin.ask("addon_registrations", cluster_name=name) or []:
            if not isinstance(registration, CustomSigner):
                continue
            if registration.signer_name == csr["spec"]["signerName"] and registration.signing_ca is not None:
                secret = await self._secret(registration.signing_ca)
                return sign(csr, secret, registration.signing_ca, self._now())
        signed: bytes | None = await plugin.ask("addon_csr_sign", cluster=cluster, addon=addon, csr=csr)
        return signed

    async def _secret(self, authority: SigningCA) -> Json:
        try:
            return await self.client.get(SECRETS, authority.name, authority.namespace)
        except NotFound:
            text = f"the signing CA, Secret {authority.namespace}/{authority.name}, does not exist"
            raise CsrError(text) from None


def sign(csr: Json, secret: Json, authority: SigningCA, now: datetime) -> bytes:
    """PEM of a client certificate with the subject that was asked for. Raises CsrError."""
    where = f"the signing CA, Secret {authority.namespace}/{authority.name}"
    data = secret.get("data") or {}
    try:
        issuer = x509.load_pem_x509_certificate(base64.b64decode(data["tls.crt"]))
        key = serialization.load_pem_private_key(base64.b64decode(data["tls.key"]), None)
    except KeyError as error:
        raise CsrError(f"{where}, has no {error.args[0]}") from error
    except (ValueError, TypeError, binascii.Error) as error:
        raise CsrError(f"{where}, is not a certificate and its key: {error}") from error
    if not isinstance(key, get_args(CertificateIssuerPrivateKeyTypes)):
        raise CsrError(f"{where}, has a key that cannot sign certificates")
    request = x509.load_pem_x509_csr(base64.b64decode(csr["spec"]["request"]))
    seconds = csr["spec"].get("expirationSeconds")
    lifetime = min(LIFETIME, timedelta(seconds=seconds)) if seconds else LIFETIME
    usage = x509.KeyUsage(True, False, True, False, False, False, False, False, False)
    signed = (
        x509.CertificateBuilder()
        .subject_name(subjects.subject(request))
        .issuer_name(issuer.subject)
        .public_key(request.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(min(now + lifetime, issuer.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return signed.public_bytes(serialization.Encoding.PEM)
