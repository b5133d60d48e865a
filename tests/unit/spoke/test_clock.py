"""The hub's time by its answers, and what tokens say of themselves."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import orjson
import pytest

from addon_framework.spoke.registration.clock import HubClock
from addon_framework.spoke.registration.tokens import account_uid, read

HUB = datetime(2026, 11, 25, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize("ahead", [timedelta(hours=3), timedelta(days=-400), timedelta(minutes=-1)])
def test_a_wrong_clock_is_put_right(ahead: timedelta) -> None:
    clock = HubClock(lambda: HUB + ahead)
    assert clock() == HUB + ahead
    clock.hear(format_datetime(HUB, usegmt=True))
    assert clock() == HUB
    assert clock.local() == HUB + ahead


def test_small_differences_and_nonsense_are_no_news() -> None:
    clock = HubClock(lambda: HUB + timedelta(seconds=20))
    for said in (format_datetime(HUB, usegmt=True), "", "yesterday", "Wed, 25 Nov 2026 09:00:00 -0000"):
        clock.hear(said)
        assert clock() == clock.local()


def test_a_clock_that_is_set_is_right_again() -> None:
    ahead = timedelta(hours=1)
    clock = HubClock(lambda: HUB + ahead)
    clock.hear(format_datetime(HUB, usegmt=True))
    ahead = timedelta()
    clock.hear(format_datetime(HUB, usegmt=True))
    assert clock() == clock.local() == HUB


def jwt(**claims: object) -> bytes:
    def part(value: object) -> bytes:
        return base64.urlsafe_b64encode(orjson.dumps(value)).rstrip(b"=")

    return b".".join((part({"alg": "RS256"}), part(claims), b"signature"))


def test_a_token_says_whose_it_is_and_when_it_ends() -> None:
    account = {"serviceaccount": {"name": "a-agent", "uid": "u"}}
    start = int(HUB.timestamp())
    token = read(jwt(iat=start, exp=start + 1000, **{"kubernetes.io": account}))
    assert token is not None
    assert token.account_uid == "u"
    assert HUB + timedelta(seconds=750) <= token.renewal() <= HUB + timedelta(seconds=800)


@pytest.mark.parametrize("text", [b"", b"a.b", b"a.b.c", jwt(iat=1), jwt(iat=1, exp=2)])
def test_what_is_no_token_is_none(text: bytes) -> None:
    assert read(text) is None


def test_the_accounts_uid_is_in_the_hubs_words() -> None:
    def addon(status: str, message: str) -> dict[str, object]:
        condition = {"type": "TokenInfrastructureReady", "status": status, "message": message}
        return {"status": {"conditions": [condition]}}

    ready = "ServiceAccount c1/a-agent (UID: 1-2-3) is ready"
    assert account_uid(addon("True", ready)) == "1-2-3"
    assert account_uid(addon("False", ready)) == account_uid(addon("True", "ready")) == account_uid({}) == ""
