"""The HTTP contract of external scorers, as OCM's dynamic-scoring-framework has it.

A scorer serves GET <its config URL> with {name, source, scoring}; POST <scoring endpoint> takes
{"data": [{"metric": {...}, "values": [[time, "value"], ...]}, ...]}, what Prometheus says to the source's
queries, and answers {"results": [{"metric": {...}, "score": 12.3}, ...]}.
https://github.com/open-cluster-management-io/dynamic-scoring-framework
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import orjson

from addon_framework.api.meta import Json

HIGHEST = 100
DEFAULT_FORMAT = "${scoreName}"
SHORTEST = 5  # seconds between two questions, whatever a configuration says
_DIMENSIONS = ("node", "device", "namespace", "app", "pod", "container", "meta")


class BadScorer(ValueError):
    """A scorer's configuration, or its answer, that is not by the contract; the message says what."""


@dataclass(frozen=True)
class Token:
    """A bearer token: a Secret in the agent's namespace, and its key."""

    secret: str
    key: str


@dataclass(frozen=True)
class Scorer:
    """One external scorer, and where its input comes from."""

    score_name: str
    endpoint: str
    interval: float
    source: str = ""  # the URL of Prometheus' range queries; "" for none
    queries: tuple[str, ...] = ()
    range: int = 0
    step: int = 0
    published: bool = True
    dimension: str = DEFAULT_FORMAT
    endpoint_token: Token | None = None
    source_token: Token | None = None

    @property
    def resource_name(self) -> str:
        """The name of its AddOnPlacementScore, made of the score's as upstream does."""
        name = re.sub(r"-+", "-", re.sub(r"[^a-z0-9.-]", "-", self.score_name.lower())).strip("-.")
        return name[:253].rstrip("-.") or "score"

    @property
    def valid_seconds(self) -> float:
        """A score outlives two questions that fail, and no more."""
        return max(3 * self.interval, 30.0)


def from_config(url: str, config: Any) -> Scorer:
    """The scorer of a configuration that it serves itself. Hosts that it leaves out are its own."""
    base = "{0.scheme}://{0.netloc}".format(urlsplit(url))
    try:
        source, scoring = config.get("source") or {}, config["scoring"]
        params, given = scoring.get("params") or {}, source.get("params") or {}
        by_prometheus = source.get("type") == "Prometheus"
        return Scorer(
            score_name=_text(params, "name"),
            endpoint=(scoring.get("host") or base) + _text(scoring, "path"),
            interval=_interval(params.get("interval")),
            source=(source.get("host") or base) + _text(source, "path") if by_prometheus else "",
            queries=_queries(given.get("query")) if by_prometheus else (),
            range=int(given.get("range") or 0),
            step=int(given.get("step") or 0),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadScorer(f"the configuration at {url} is not by the contract: {error!r}") from error


def from_summaries(text: str) -> dict[str, Scorer]:
    """The scorers that upstream's hub controller lists for a cluster, by the name of their score object."""
    try:
        found = [_from_summary(summary) for summary in orjson.loads(text)]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadScorer(f"summaries are not by the contract: {error!r}") from error
    return {scorer.resource_name: scorer for scorer in found}


def _from_summary(summary: Json) -> Scorer:
    by_prometheus = summary.get("sourceType") == "Prometheus"
    return Scorer(
        score_name=_text(summary, "scoreName"),
        endpoint=_text(summary, "scoringEndpoint"),
        interval=_interval(summary.get("scoringInterval")),
        source=_text(summary, "sourceEndpoint") if by_prometheus else "",
        queries=_queries(summary.get("sourceQuery")) if by_prometheus else (),
        range=int(summary.get("sourceRange") or 0),
        step=int(summary.get("sourceStep") or 0),
        published=summary.get("scoreDestination") != "None",
        dimension=summary.get("scoreDimensionFormat") or DEFAULT_FORMAT,
        endpoint_token=_token(summary, "scoringEndpointAuth"),
        source_token=_token(summary, "sourceEndpointAuth"),
    )


def scores_in(answer: Any, scorer: Scorer, cluster: str) -> dict[str, int]:
    """The scores of an answer by their dimension, rounded and within the range of the API."""
    try:
        results = [(dict(r.get("metric") or {}), float(r["score"])) for r in answer["results"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadScorer(f"{scorer.endpoint} answers not by the contract: {error!r}") from error
    scores: dict[str, int] = {}
    for metric, value in results:
        if math.isfinite(value) and (name := _dimension(scorer, cluster, metric)):
            scores[name] = round(min(HIGHEST, max(-HIGHEST, value)))
    return scores


def series_in(answer: Any) -> Iterable[Json]:
    """The series of a Prometheus answer, to be handed on as they are."""
    try:
        if answer["status"] != "success":
            raise BadScorer(f"Prometheus says {answer['status']}: {answer.get('error', '')}")
        return list(answer["data"]["result"])
    except (KeyError, TypeError, AttributeError) as error:
        raise BadScorer(f"Prometheus answers unlike Prometheus: {error!r}") from error


def _dimension(scorer: Scorer, cluster: str, metric: Mapping[str, Any]) -> str:
    name = scorer.dimension.replace("${cluster}", cluster).replace("${scoreName}", scorer.score_name)
    for dimension in _DIMENSIONS:
        name = name.replace(f"${{{dimension}}}", str(metric.get(dimension, "")))
    return name


def _text(source: Mapping[str, Any], field: str) -> str:
    value = source[field]
    if not isinstance(value, str) or not value:
        raise ValueError(f"{field} must be a text, not {value!r}")
    return value


def _queries(text: Any) -> tuple[str, ...]:
    return tuple(query.strip() for query in str(text or "").split(";") if query.strip())


def _interval(value: Any) -> float:
    return max(float(value or 0), SHORTEST)


def _token(summary: Json, field: str) -> Token | None:
    name, key = summary.get(f"{field}Name"), summary.get(f"{field}Key")
    return Token(name, key) if name and key else None
