"""Prices from the book and from claims, and what they score."""

from __future__ import annotations

from typing import Any

import pytest

from addon_framework.hub.placement.prices import BadPrice, Book, prices_of, read_book

Json = dict[str, Any]
BOOK = """
scale: {gpuHour: 4}
defaults: {gpuHour: 3, egressGB: 0.1}
regions:
  us-east-1: {gpuHour: 2.5, spotGpuHour: 1, egressGB: 0.09}
clusters:
  cheap: {gpuHour: 0.5}
"""


def book(text: str) -> Book:
    return read_book({"data": {"prices.yaml": text}})


def cluster(name: str = "c", **claims: str) -> Json:
    names = {
        "region": "region.open-cluster-management.io",
        "gpu": "gpuhour.cost.boundaryless.io",
        "egress": "egressgb.cost.boundaryless.io",
        "spot": "spot.cost.boundaryless.io",
    }
    found = [{"name": names[key], "value": value} for key, value in claims.items()]
    return {"metadata": {"name": name}, "status": {"clusterClaims": found}}


@pytest.mark.parametrize(
    ("who", "scores"),
    [
        (cluster(), {"gpuHour": -50, "egressGB": 0}),
        (cluster(region="us-east-1"), {"gpuHour": -25, "egressGB": 10}),
        (cluster(region="us-east-1", spot="true"), {"gpuHour": 50, "egressGB": 10, "spot": 100}),
        (cluster(region="us-east-1", spot="false", gpu="4.2"), {"gpuHour": -100, "egressGB": 10, "spot": 0}),
        (cluster("cheap", region="us-east-1", gpu="9"), {"gpuHour": 75, "egressGB": 10}),
        (cluster(gpu="0", egress="0"), {"gpuHour": 100, "egressGB": 100}),
    ],
)
def test_the_nearest_word_counts(who: Json, scores: dict[str, int]) -> None:
    prices = prices_of(who, book(BOOK))
    assert prices is not None
    assert prices.scores(book(BOOK).scale) == scores


def test_nobody_says_anything() -> None:
    assert prices_of(cluster(region="us-east-1"), Book()) is None
    assert read_book(None) == Book()


def test_claims_alone_are_enough() -> None:
    prices = prices_of(cluster(gpu="5"), Book())
    assert prices is not None
    assert (prices.scores(Book().scale), prices.origin) == ({"gpuHour": 0}, "claims")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "not YAML"),
        ("[]", "no mapping"),
        ("region: {}", "region; it has defaults, regions"),
        ("defaults: {gpu: 1}", "defaults: gpu; it has gpuHour"),
        ("defaults: 3", "defaults: no mapping"),
        ("clusters: {a: {gpuHour: free}}", r"clusters\.a\.gpuHour: 'free' is not a price"),
        ("clusters: {a: {gpuHour: -1}}", r"clusters\.a\.gpuHour: -1 is not a price"),
        ("clusters: {a: {spot: maybe}}", r"clusters\.a\.spot: must be true or false"),
        ("clusters: 7", "clusters: must map names"),
        ("scale: {gpuHour: 0}", r"scale\.gpuHour"),
        ("scale: {spot: 1}", r"scale\.spot"),
    ],
)
def test_what_is_no_price_names_its_field(text: str, message: str) -> None:
    with pytest.raises(BadPrice, match=message):
        book(text)


@pytest.mark.parametrize("claims", [{"gpu": "cheap"}, {"spot": "yes"}, {"egress": "nan"}])
def test_a_claim_that_is_no_price(claims: dict[str, str]) -> None:
    with pytest.raises(BadPrice, match="ClusterClaim"):
        prices_of(cluster(**claims), Book())
