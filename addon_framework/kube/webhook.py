"""An HTTPS server that API servers call: admission and conversion webhooks.

https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/
"""

from __future__ import annotations

import base64
import ipaddress
import ssl
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from addon_framework.api.meta import Json

Answer = Callable[[Json], Awaitable[Json]]  # a review -> the review with its response
_LIFETIME = timedelta(days=3650)
_MAX_REVIEW = 64 << 20  # a list of many objects is converted in one piece


class WebhookServer:
    """Serves `answers` by path. The certificate is its own authority, new with every server.

    `name` is the host of the URL or the Service's name, as the API server calls it.
    """

    def __init__(
        self, answers: Mapping[str, Answer], *, name: str, port: int, host: str | None = None
    ) -> None:
        self._answers, self._host, self._port = answers, host, port
        self._certificate, self._key = _certificate(name)
        self._runner: web.AppRunner | None = None

    @property
    def bundle(self) -> str:
        """For clientConfig.caBundle."""
        return base64.b64encode(self._certificate).decode()

    async def start(self) -> None:
        """Listens. Raises OSError."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        with tempfile.TemporaryDirectory() as folder:  # the module reads files only
            path = Path(folder) / "tls.pem"
            path.write_bytes(self._key + self._certificate)
            context.load_cert_chain(path)
        app = web.Application(client_max_size=_MAX_REVIEW)
        app.add_routes([web.post(path, _handler(answer)) for path, answer in self._answers.items()])
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port, ssl_context=context).start()

    async def stop(self) -> None:
        """Listens no longer."""
        if self._runner is not None:
            await self._runner.cleanup()


def _handler(answer: Answer) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        try:
            review = orjson.loads(await request.read())
        except ValueError as error:
            raise web.HTTPBadRequest(text=f"not a review: {error}") from None
        return web.Response(body=orjson.dumps(await answer(review)), content_type="application/json")

    return handle


def _certificate(name: str) -> tuple[bytes, bytes]:
    """The certificate and its key, in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    # A common name has 64 characters at most; the alternative name is what counts.
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
    now = datetime.now(UTC)
    try:
        known: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        known = x509.DNSName(name)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
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
