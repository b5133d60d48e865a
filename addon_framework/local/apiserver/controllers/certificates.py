"""Signs approved certificate requests of the signers that belong to Kubernetes itself, and forgets old ones.

https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/#kubernetes-signers
"""

from __future__ import annotations

import asyncio
import base64
from datetime import UTC, datetime, timedelta

from cryptography import x509

from addon_framework.api.conditions import is_true, set_condition
from addon_framework.api.meta import Json
from addon_framework.api.time import parse_time
from addon_framework.local.apiserver.controllers.loop import work
from addon_framework.local.apiserver.objects import Objects
from addon_framework.local.apiserver.registry import Registry
from addon_framework.local.apiserver.schemas import copy_json
from addon_framework.local.apiserver.store import Event, Store
from addon_framework.local.apiserver.system import own_write
from addon_framework.local.pki import YEAR, Authority

RESOURCE = "certificatesigningrequests.certificates.k8s.io"
_CLIENT = {"client auth", "digital signature", "key encipherment"}
_SERVING = {"server auth", "digital signature", "key encipherment"}
_SIGNERS = {
    "kubernetes.io/kube-apiserver-client": _CLIENT,
    "kubernetes.io/kube-apiserver-client-kubelet": _CLIENT,
    "kubernetes.io/kubelet-serving": _SERVING,
}
_KEEP = timedelta(hours=1)


class CertificateSigner:
    """Acts when a request becomes approved."""

    def __init__(self, store: Store, registry: Registry, objects: Objects, authority: Authority) -> None:
        self._store, self._objects, self._authority = store, objects, authority
        self._kind = registry.kinds[("certificates.k8s.io", "certificatesigningrequests")]
        self._queue: asyncio.Queue[str] = asyncio.Queue()
        store.listen(self._changed)

    async def run(self) -> None:
        """Signs what is approved, now and later; sweeps every ten minutes."""
        for csr in self._store.list(RESOURCE):
            self._queue.put_nowait(csr["metadata"]["name"])
        async with asyncio.TaskGroup() as group:
            group.create_task(self._sweep())
            await work("certificates", self._queue, self.sync)

    def sync(self, name: str) -> None:
        """Signs one request if it is approved and ours to sign."""
        csr = self._store.get(RESOURCE, ("", name))
        if csr is None or not is_true(csr, "Approved") or is_true(csr, "Failed"):
            return
        spec = csr["spec"]
        allowed = _SIGNERS.get(spec["signerName"])
        if allowed is None or csr["status"].get("certificate"):
            return
        changed = copy_json(csr)
        try:
            if extra := set(spec.get("usages") or ()) - allowed:
                raise ValueError(f"usages {sorted(extra)} are not allowed for {spec['signerName']}")
            request = x509.load_pem_x509_csr(base64.b64decode(spec["request"]))
            if not request.is_signature_valid:
                raise ValueError("the request's signature is not valid")
            seconds = spec.get("expirationSeconds")
            lifetime = min(timedelta(seconds=seconds), YEAR) if seconds else YEAR
            certificate = self._authority.sign(request, spec.get("usages") or (), lifetime)
            changed["status"]["certificate"] = base64.b64encode(certificate).decode()
        except ValueError as error:
            set_condition(changed["status"]["conditions"], "Failed", True, "SigningError", str(error))
        self._objects.update(own_write(self._kind, ("", name), "status"), changed)

    def _changed(self, event: Event) -> None:
        if event.resource == RESOURCE and event.type != "DELETED":
            self._queue.put_nowait(event.key[1])

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(600)
            for csr in self._store.list(RESOURCE):
                if _over(csr, datetime.now(UTC)):
                    self._store.remove(RESOURCE, ("", csr["metadata"]["name"]))


def _over(csr: Json, now: datetime) -> bool:
    """Decided more than an hour ago, or left undecided for a day, as kube-controller-manager cleans up."""
    decided = [
        parse_time(c["lastUpdateTime"])
        for c in (csr.get("status") or {}).get("conditions") or ()
        if c.get("lastUpdateTime")
    ]
    if decided:
        return now - max(decided) > _KEEP
    return now - parse_time(csr["metadata"]["creationTimestamp"]) > timedelta(days=1)
