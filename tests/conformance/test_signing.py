"""Certificates: who asks, who approves, who signs."""

from __future__ import annotations

import base64
import secrets
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from addon_framework.api import subjects
from addon_framework.api.conditions import is_true
from addon_framework.api.meta import Json
from addon_framework.testing import eventually
from tests.conformance.api import Api
from tests.conformance.conftest import Connect
from tests.conformance.rights import RBAC, acting_as, grant_everywhere, rule, settled

AUTHN = "/apis/authentication.k8s.io/v1"
CSRS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
SIGNER = "kubernetes.io/kube-apiserver-client"


def request_for(name: str, organization: str) -> tuple[ec.EllipticCurvePrivateKey, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    names = [(NameOID.ORGANIZATION_NAME, organization), (NameOID.COMMON_NAME, name)]
    builder = x509.CertificateSigningRequestBuilder().subject_name(subjects.name(names))
    pem = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    return key, base64.b64encode(pem).decode()


def self_signed(key: ec.EllipticCurvePrivateKey) -> bytes:
    name, now = subjects.name([(NameOID.COMMON_NAME, "agent")]), datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now).not_valid_after(now + timedelta(hours=1))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def csr(request: str, **spec: object) -> Json:
    usages = ["client auth", "digital signature"]
    return {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"generateName": "conformance-"},
        "spec": {"request": request, "signerName": SIGNER, "usages": usages, **spec},
    }


def decision(obj: Json, kind: str) -> Json:
    condition = {"type": kind, "status": "True", "reason": "Test", "message": "by the suite"}
    return {**obj, "status": {"conditions": [condition]}}


@pytest.mark.parametrize("name", ["jane", "system:open-cluster-management:cluster:one:addon:" + "a" * 60])
async def test_41_from_request_to_identity(api: Api, connect: Connect, controllers: None, name: str) -> None:
    key, request = request_for(name, "devs")
    headers = acting_as("requester", "system:masters")
    forged = csr(request, username="admin", expirationSeconds=3600)
    made = (await api.post(CSRS, forged, headers=headers)).ok(201)
    assert made["spec"]["username"] == "requester"
    path = f"{CSRS}/{made['metadata']['name']}"
    approved = (await api.put(f"{path}/approval", decision(made, "Approved"))).ok()
    assert approved["status"]["conditions"][0]["lastTransitionTime"]

    async def signed() -> str | None:
        return (await api.get(path)).ok()["status"].get("certificate")

    pem = base64.b64decode(await eventually(signed))
    certificate = x509.load_pem_x509_certificate(pem)
    assert certificate.not_valid_after_utc - datetime.now(UTC) < timedelta(hours=2)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    named = connect(client_cert=pem, client_key=secret)
    user = (await named.post(f"{AUTHN}/selfsubjectreviews", {})).ok(201)["status"]["userInfo"]
    assert (user["username"], user["groups"]) == (name, ["devs", "system:authenticated"])
    await api.delete(path)


async def test_41_approving_is_a_right_on_the_signer(api: Api) -> None:
    _, request = request_for("jane", "devs")
    made = (await api.post(CSRS, csr(request))).ok(201)
    path = f"{CSRS}/{made['metadata']['name']}"
    user = f"ap-{secrets.token_hex(3)}"
    rules = [rule("get update", "certificatesigningrequests/approval", "certificates.k8s.io")]
    role = await grant_everywhere(api, user, *rules)
    await settled(api, "", user, f"{path}/approval")
    answer = await api.put(f"{path}/approval", decision(made, "Approved"), headers=acting_as(user))
    assert f'signerName "{SIGNER}"' in answer.is_status(403, "Forbidden")["message"]
    more = [*rules, rule("approve", "signers", "certificates.k8s.io", [SIGNER])]
    (await api.patch(f"{RBAC}/clusterroles/{role}", {"rules": more})).ok()

    async def may() -> bool:
        fresh = (await api.get(path)).ok()
        answer = await api.put(f"{path}/approval", decision(fresh, "Denied"), headers=acting_as(user))
        return answer.code == 200

    await eventually(may)
    assert is_true((await api.get(path)).ok(), "Denied")
    for each in (f"{RBAC}/clusterroles/{role}", f"{RBAC}/clusterrolebindings/{role}", path):
        await api.delete(each)


async def test_41_a_signer_of_ones_own(api: Api) -> None:
    """Nobody but who may sign for it writes its certificate, as an add-on's manager does."""
    signer, user = "example.com/addon", f"sg-{secrets.token_hex(3)}"
    key, request = request_for("agent", "addon")
    made = (await api.post(CSRS, csr(request, signerName=signer))).ok(201)
    path = f"{CSRS}/{made['metadata']['name']}"
    approved = (await api.put(f"{path}/approval", decision(made, "Approved"))).ok()
    rules = [rule("get update", "certificatesigningrequests/status", "certificates.k8s.io")]
    role = await grant_everywhere(api, user, *rules)
    await settled(api, "", user, f"{path}/status")
    pem = base64.b64encode(self_signed(key)).decode()
    signed = {**approved, "status": {**approved["status"], "certificate": pem}}
    answer = await api.put(f"{path}/status", signed, headers=acting_as(user))
    assert f'signerName "{signer}"' in answer.is_status(403, "Forbidden")["message"]
    more = [*rules, rule("sign", "signers", "certificates.k8s.io", ["example.com/*"])]
    (await api.patch(f"{RBAC}/clusterroles/{role}", {"rules": more})).ok()

    async def may() -> bool:
        return (await api.put(f"{path}/status", signed, headers=acting_as(user))).code == 200

    await eventually(may)
    assert (await api.get(path)).ok()["status"]["certificate"] == pem
    nothing = {**signed, "status": {**signed["status"], "certificate": base64.b64encode(b"x").decode()}}
    (await api.put(f"{path}/status", {**nothing, "metadata": {"name": made["metadata"]["name"]}})).is_status(
        422, "Invalid"
    )
    for each in (f"{RBAC}/clusterroles/{role}", f"{RBAC}/clusterrolebindings/{role}", path):
        await api.delete(each)


async def test_41_a_request_cannot_change(api: Api) -> None:
    _, request = request_for("jane", "devs")
    made = (await api.post(CSRS, csr(request))).ok(201)
    path = f"{CSRS}/{made['metadata']['name']}"
    changed = await api.patch(path, {"spec": {"username": "admin"}, "metadata": {"labels": {"a": "b"}}})
    assert changed.ok()["spec"]["username"] == made["spec"]["username"]
    await api.delete(path)


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"request": base64.b64encode(b"nothing").decode()}, "spec.request"),
        ({"usages": []}, "spec.usages"),
        ({"signerName": ""}, "spec.signerName"),
        ({"expirationSeconds": 60}, "spec.expirationSeconds"),
    ],
)
async def test_41_requests_are_validated(api: Api, spec: Json, field: str) -> None:
    _, request = request_for("jane", "devs")
    answer = await api.post(CSRS, csr(**{"request": request, **spec}))
    answer.is_status(422, "Invalid")
    assert field in answer.causes
