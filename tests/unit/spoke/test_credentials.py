"""Certificates: whose, until when, and what a secret says of the hub."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from addon_framework.kube import ClientConfig
from addon_framework.local.pki import Authority
from addon_framework.spoke.registration.credentials import (
    KeyPair,
    Subject,
    client_config,
    fingerprint,
    kubeconfig,
    new_key,
    request_pem,
    same_hub,
)
from addon_framework.spoke.registration.enrolment import Enrolment

USER = "system:open-cluster-management:cluster:a-cluster-with-a-long-name:addon:an-addon:agent:an-addon"
SUBJECT = Subject(USER, ("g1", "g2"), ("unit",))
NOW = datetime(2026, 11, 25, tzinfo=UTC)


@pytest.fixture(scope="module")
def pair() -> KeyPair:
    key = new_key()
    request = x509.load_pem_x509_csr(request_pem(key, SUBJECT))
    authority = Authority.create("test", NOW - timedelta(days=1))
    return KeyPair(key, authority.sign(request, ["client auth"], timedelta(days=100), NOW))


def test_a_good_pair_has_no_problem(pair: KeyPair) -> None:
    assert pair.problem(SUBJECT, NOW) == ""
    assert pair.problem(Subject(USER, ("g2", "g1"), ("unit",)), NOW) == ""


def test_what_is_wrong_is_said(pair: KeyPair) -> None:
    assert "expired" in pair.problem(SUBJECT, NOW + timedelta(days=101))
    assert "not for" in pair.problem(Subject(USER, ("g1",), ("unit",)), NOW)
    assert "not that of the key" in KeyPair(new_key(), pair.certificate).problem(SUBJECT, NOW)
    assert "cannot be read" in KeyPair(b"x", pair.certificate).problem(SUBJECT, NOW)


def test_renewal_is_due_when_a_fifth_to_a_quarter_is_left(pair: KeyPair) -> None:
    left = NOW + timedelta(days=100) - pair.renewal()
    assert timedelta(days=19.9) < left < timedelta(days=25.1)
    assert pair.renewal() == pair.renewal()


def test_a_kubeconfig_refers_to_the_files_beside_it_and_leads_to_the_same_hub(pair: KeyPair) -> None:
    hub = ClientConfig("https://hub:6443", ca=b"-----ca-----\n", tls_server_name="hub.test")
    text = kubeconfig(hub, "c1")
    assert b"client-key: tls.key" in text
    read = client_config({"kubeconfig": text, "tls.crt": pair.certificate, "tls.key": pair.key})
    assert (read.client_cert, read.client_key) == (pair.certificate, pair.key)
    assert read.namespace == "c1"
    assert same_hub(read, hub)
    assert not same_hub(read, ClientConfig("https://hub:6443", ca=b"other", tls_server_name="hub.test"))


def test_a_waiting_key_is_for_one_request_only() -> None:
    wanted = Enrolment("p", "c1-", {}, SUBJECT)
    assert wanted.digest("https://a") == wanted.digest("https://a")
    assert wanted.digest("https://a") != wanted.digest("https://b")
    assert wanted.digest("https://a") != Enrolment("p", "c1-", {}, Subject(USER)).digest("https://a")
    key = new_key()
    assert fingerprint(key) == fingerprint(key) != fingerprint(new_key())
