"""Who issues tokens of service accounts, and how others can check them."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

from addon_framework.api.meta import Json
from tests.conformance.api import Api
from tests.conformance.test_security import token


def unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "==")


def check(key: Json, signature: bytes, signed: bytes) -> None:
    """Of whichever kind the cluster's key is. Raises InvalidSignature."""
    numbers = {name: int.from_bytes(unpadded(key[name])) for name in ("n", "e", "x", "y") if name in key}
    if key["kty"] == "RSA":
        public = rsa.RSAPublicNumbers(numbers["e"], numbers["n"]).public_key()
        public.verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
    else:
        curve = ec.EllipticCurvePublicNumbers(numbers["x"], numbers["y"], ec.SECP256R1()).public_key()
        r, s = (int.from_bytes(half) for half in (signature[:32], signature[32:]))
        curve.verify(utils.encode_dss_signature(r, s), signed, ec.ECDSA(hashes.SHA256()))


async def test_38_others_can_check_tokens(
    api: Api, token_api: Callable[[str | None], Api], namespace: str
) -> None:
    issued = (await token(api, namespace))["token"]
    mine = token_api(issued)
    said = (await mine.get("/.well-known/openid-configuration")).ok()
    assert said["jwks_uri"].endswith("/openid/v1/jwks")
    (await mine.get("/openid/v1/jwks")).is_status(406, "NotAcceptable")
    found = await mine.get("/openid/v1/jwks", accept="*/*")
    assert found.headers["Content-Type"] == "application/jwk-set+json"
    keys = {each["kid"]: each for each in found.ok()["keys"]}
    head, claims, signature = issued.split(".")
    check(keys[json.loads(unpadded(head))["kid"]], unpadded(signature), f"{head}.{claims}".encode())
    assert json.loads(unpadded(claims))["iss"] == said["issuer"]
    (await token_api(None).get("/openid/v1/jwks", accept="*/*")).is_status(403, "Forbidden")
