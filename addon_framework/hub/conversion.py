"""The webhook that converts add-ons between v1alpha1 and v1beta1, where neither OCM nor the server does.

OCM's hub has its own, and the embedded API server converts by itself. Elsewhere only v1alpha1 is served until
a hub manager is told where the API server reaches it; then that manager converts, and says so in the CRDs.
"""

from __future__ import annotations

import copy

import structlog

from addon_framework.api.addon_v1beta1 import CONVERTED, GROUP, KINDS, convert
from addon_framework.api.core import CRDS
from addon_framework.api.meta import Json
from addon_framework.kube import Controller, Key, Watch
from addon_framework.kube.webhook import WebhookServer

log = structlog.get_logger(__name__)
PATH = "/convert"
_NAMES = {f"{kind.RESOURCE.plural}.{GROUP}" for kind in KINDS if kind.RESOURCE.kind in CONVERTED}


class ConversionController(Controller):
    """Serves the webhook and keeps the CRDs pointing at it. The certificate is new with every start."""

    name = "addon-conversion"

    def __init__(self, address: str, port: int) -> None:
        self._server = WebhookServer({PATH: _answer}, name=address, port=port)
        self._url = f"https://{f'[{address}]' if ':' in address else address}:{port}{PATH}"

    def watches(self) -> list[Watch]:
        """The CRDs of the kinds that differ."""
        return [Watch(CRDS, predicate=lambda old, new: (new or old)["metadata"]["name"] in _NAMES)]

    async def start(self) -> None:
        """Listen, before the API server is told to ask."""
        await self._server.start()
        log.info("add-ons are converted", url=self._url)

    async def work(self) -> None:
        """Runs until cancelled, and then no longer listens."""
        try:
            await super().work()
        finally:
            await self._server.stop()

    async def reconcile(self, key: Key) -> float | None:
        """One CRD of ours; those of OCM ask OCM's webhook."""
        crd = self.cache(CRDS).get(key)
        if crd is None or key.name not in _NAMES:
            return None
        spec = copy.deepcopy(crd["spec"])
        webhook = (spec.get("conversion") or {}).get("webhook") or {}
        if (webhook.get("clientConfig") or {}).get("service"):
            return None
        spec["conversion"] = {
            "strategy": "Webhook",
            "webhook": {
                "conversionReviewVersions": ["v1"],
                "clientConfig": {"url": self._url, "caBundle": self._server.bundle},
            },
        }
        for version in spec["versions"]:
            version["served"] = True
        if spec != crd["spec"]:
            body = {"metadata": {"resourceVersion": crd["metadata"]["resourceVersion"]}, "spec": spec}
            await self.client.patch(CRDS, key.name, body)
        return None


def review(asked: Json) -> Json:
    """The ConversionReview that answers one."""
    request = asked.get("request") or {}
    response: Json = {"uid": request.get("uid", "")}
    try:
        wanted = request["desiredAPIVersion"]
        response["convertedObjects"] = [convert(obj, wanted) for obj in request.get("objects") or []]
        response["result"] = {"status": "Success"}
    except (KeyError, TypeError, AttributeError) as error:
        response["result"] = {
            "status": "Failure",
            "message": f"not an add-on: {type(error).__name__}: {error}",
        }
    return {"apiVersion": asked.get("apiVersion"), "kind": asked.get("kind"), "response": response}


async def _answer(asked: Json) -> Json:
    return review(asked)
