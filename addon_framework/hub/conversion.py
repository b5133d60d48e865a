"""The webhook that converts add-ons between v1alpha1 and v1beta1, where neither OCM nor the server does.

OCM's hub has its own, and the embedded API server converts by itself. Elsewhere only v1alpha1 is served until
a hub manager is told where the API server reaches it; then that manager converts, and says so in the CRDs.
"""

from __future__ import annotations

import base64
import copy
import ipaddress
import ssl
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import structlog
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from addon_framework.api.addon_v1beta1 import CONVERTED, GROUP, KINDS, convert
from addon_framework.api.core import CRDS
from addon_framework.api.meta import Json
from addon_framework.kube import Controller, Key, Watch

log = structlog.get_logger(__name__)
PATH = "/convert"
_LIFETIME = timedelta(days=3650)
_NAMES = {f"{kind.RESOURCE.plural}.{GROUP}" for kind in KINDS if kind.RESOURCE.kind in CONVERTED}
_MAX_REVIEW = 64 << 20  # a list of many add-ons comes in one piece


class ConversionController(Controller):
    """Serves the webhook and keeps the CRDs pointing at it. The certificate is new with every start."""

    name = "addon-conversion"

    def __init__(self, address: str, port: int) -> None:
        self._address, self._port = address, port
        self._url = f"https://{f'[{address}]' if ':' in address else address}:{port}{PATH}"
        self._bundle = ""

    def watches(self) -> list[Watch]:
        """The CRDs of the kinds that differ."""
        return [Watch(CRDS, predicate=lambda old, new: (new or old)["metadata"]["name"] in _NAMES)]

    async def start(self) -> None:
        """Listen, before the API server is told to ask."""
        certificate, key = _certificate(self._address)
        self._bundle = base64.b64encode(certificate).decode()
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        with tempfile.TemporaryDirectory() as folder:  # the module reads files only
            path = Path(folder) / "tls.pem"
            path.write_bytes(key + certificate)
            context.load_cert_chain(path)
        app = web.Application(client_max_size=_MAX_REVIEW)
        app.add_routes([web.post(PATH, _answer)])
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, port=self._port, ssl_context=context).start()
        log.info("add-ons are converted", url=self._url)

    async def work(self) -> None:
        """Runs until cancelled, and then no longer listens."""
        try:
            await super().work()
        finally:
            if runner := getattr(self, "_runner", None):
                await runner.cleanup()

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
                "clientConfig": {"url": self._url, "caBundle": self._bundle},
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


async def _answer(request: web.Request) -> web.Response:
    return web.Response(
        body=orjson.dumps(review(orjson.loads(await request.read()))), content_type="application/json"
    )


def _certificate(address: str) -> tuple[bytes, bytes]:
    """A certificate that is its own authority, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "boundaryless-conversion")])
    now = datetime.now(UTC)
    try:
        known: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(address))
    except ValueError:
        known = x509.DNSName(address)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + _LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectAlternativeName([known]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return certificate.public_bytes(pem), private
