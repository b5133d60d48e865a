"""Asks external scorers, and publishes what they answer: one AddOnPlacementScore for each."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterable, Sequence
from typing import Any

import aiohttp
import orjson
import structlog

from addon_framework.api.core import CONFIGMAPS, SECRETS
from addon_framework.api.meta import Json
from addon_framework.kube import Client, Controller, Key, NotFound, Watch
from addons.resource_scorer.agent import SCORE_NAME
from addons.resource_scorer.contract import (
    BadScorer,
    Scorer,
    Token,
    from_config,
    from_summaries,
    scores_in,
    series_in,
)
from addons.resource_scorer.publish import SCORES, Publisher

log = structlog.get_logger(__name__)
CONFIG_NAMESPACE, CONFIG_NAME = "dynamic-scoring", "dynamic-scoring-config"  # as upstream delivers it
_TIMEOUT = aiohttp.ClientTimeout(total=10)
_LARGEST = 4 * 2**20  # bytes of an answer
_AGAIN = 30.0  # seconds after which a scorer that does not tell its interval is asked again


class ExternalScores(Controller):
    """Scorers by URL, and those in upstream's ConfigMap -> their scores on the hub.

    A key is the name of a score object, or the URL at which a scorer says who it is. What fails is told in
    the log and tried again; the score meanwhile runs out of its validity and counts no more.
    """

    name = "external-scores"

    def __init__(self, spoke: Client, publisher: Publisher, namespace: str, urls: Sequence[str] = ()) -> None:
        self.spoke, self.publisher = spoke, publisher
        self._namespace, self._urls = namespace, tuple(urls)
        self._asked: dict[str, float] = {}  # when each scorer has answered last

    def watches(self) -> list[Watch]:
        """What upstream's hub controller lists for this cluster, if it does."""
        return [Watch(CONFIGMAPS, map=_listed, **self._config)]

    async def start(self) -> None:
        """The scorers that say themselves who they are."""
        for url in self._urls:
            self.queue.add(Key("", url))

    async def reconcile(self, key: Key) -> float | None:
        """Ask one scorer and publish its scores; the seconds until it is asked again."""
        try:
            async with aiohttp.ClientSession(timeout=_TIMEOUT) as http:
                scorer = await self._scorer(http, key)
                if scorer is None:
                    await self._withdraw(key.name)
                    return None
                if scorer.resource_name == SCORE_NAME:
                    raise BadScorer(f"{SCORE_NAME} is the name of the cluster's own score")
                if not scorer.published:
                    return None
                if (left := self._left(key, scorer)) > 0:
                    return left
                scores = await self._ask(http, scorer)
        except (aiohttp.ClientError, TimeoutError, BadScorer) as error:
            log.warning("external scorer failed", scorer=key.name, reason=str(error) or type(error).__name__)
            return _AGAIN
        self._asked[key.name] = time.monotonic()
        await self._publish(scorer, scores)
        return scorer.interval

    async def _scorer(self, http: aiohttp.ClientSession, key: Key) -> Scorer | None:
        if key.name in self._urls:
            return from_config(key.name, await _json(http, "GET", key.name))
        config = self.cache(CONFIGMAPS, **self._config).get(Key(CONFIG_NAMESPACE, CONFIG_NAME))
        return _scorers(config).get(key.name)

    async def _ask(self, http: aiohttp.ClientSession, scorer: Scorer) -> dict[str, int]:
        data: list[Json] = []
        end = int(time.time())
        token = await self._token(scorer.source_token)
        for query in scorer.queries:
            window = {"query": query, "start": end - scorer.range, "end": end, "step": scorer.step}
            data += series_in(await _json(http, "GET", scorer.source, token, params=window))
        token = await self._token(scorer.endpoint_token)
        answer = await _json(http, "POST", scorer.endpoint, token, json={"data": data})
        return scores_in(answer, scorer, self.publisher.cluster)

    async def _publish(self, scorer: Scorer, scores: dict[str, int]) -> None:
        name, cluster = scorer.resource_name, self.publisher.cluster
        try:
            live = await self.client.get(SCORES, name, cluster)
        except NotFound:
            await self.publisher.create(name)
            live = await self.client.get(SCORES, name, cluster)
        await self.publisher.publish(live, scores, scorer.valid_seconds)

    async def _withdraw(self, name: str) -> None:
        """A scorer that is no longer listed has no say any more."""
        self._asked.pop(name, None)
        try:
            live = await self.client.get(SCORES, name, self.publisher.cluster)
            if self.publisher.is_ours(live):
                uid = live["metadata"]["uid"]
                await self.client.delete(SCORES, name, self.publisher.cluster, uid=uid)
        except NotFound:
            pass

    def _left(self, key: Key, scorer: Scorer) -> float:
        """Seconds until it may be asked again, whatever happens to the list meanwhile."""
        asked = self._asked.get(key.name)
        return 0.0 if asked is None else asked + scorer.interval - time.monotonic() - 0.1

    async def _token(self, token: Token | None) -> str:
        if token is None:
            return ""
        secret = await self.spoke.get(SECRETS, token.secret, self._namespace)
        encoded = (secret.get("data") or {}).get(token.key)
        if encoded is None:
            raise BadScorer(f"Secret {self._namespace}/{token.secret} has no key {token.key}")
        return base64.b64decode(encoded).decode().strip()

    @property
    def _config(self) -> dict[str, Any]:
        selector = f"metadata.name={CONFIG_NAME}"
        return {"client": self.spoke, "namespace": CONFIG_NAMESPACE, "field_selector": selector}


async def _json(http: aiohttp.ClientSession, method: str, url: str, token: str = "", **request: Any) -> Any:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with http.request(method, url, headers=headers, **request) as answer:
        if answer.status != 200:
            raise BadScorer(f"{url} answers {answer.status}")
        body = bytearray()
        async for chunk in answer.content.iter_chunked(2**16):
            body += chunk
            if len(body) > _LARGEST:
                raise BadScorer(f"{url} answers more than {_LARGEST} bytes")
    try:
        return orjson.loads(bytes(body))
    except orjson.JSONDecodeError as error:
        raise BadScorer(f"{url} answers no JSON: {error}") from error


def _scorers(config: Json | None) -> dict[str, Scorer]:
    text = ((config or {}).get("data") or {}).get("summaries")
    return from_summaries(text) if text else {}


def _listed(config: Json) -> Iterable[Key]:
    try:
        return [Key("", name) for name in _scorers(config)]
    except BadScorer as error:
        log.warning("scorers cannot be read", config=f"{CONFIG_NAMESPACE}/{CONFIG_NAME}", reason=str(error))
        return []
