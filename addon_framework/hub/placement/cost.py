"""The cost controller: prices of clusters become AddOnPlacementScores that any Placement can weigh."""

from __future__ import annotations

from collections.abc import Iterable

import structlog

from addon_framework.api.cluster import AddOnPlacementScore, ManagedCluster
from addon_framework.api.conditions import set_condition
from addon_framework.api.core import CONFIGMAPS
from addon_framework.api.meta import Json, copy_json
from addon_framework.hub.acceptance import is_accepted
from addon_framework.hub.placement.prices import BadPrice, Book, prices_of, read_book
from addon_framework.hub.roles import HUB_NAMESPACE
from addon_framework.kube import Controller, Key, Watch
from addon_framework.kube.ensure import ensure, remove, write_status
from addon_framework.kube.events import EventRecorder
from addon_framework.kube.informer import AnyInformer
from addon_framework.kube.key import key_of

log = structlog.get_logger(__name__)

SCORE, BOOK = "cost", "price-book"
OWNER_LABEL = "cost.boundaryless.io/managed"
_SELECTOR = f"metadata.name={BOOK}"


class CostController(Controller):
    """ManagedCluster -> AddOnPlacementScore `cost` in its namespace, where a price is known.

    Nothing is written for clusters without one, so whoever sets no prices does not see it.
    """

    name = "cost"

    def watches(self) -> list[Watch]:
        """Claims, the price book, and the scores made of them."""
        return [
            Watch(ManagedCluster.RESOURCE, predicate=_priced_otherwise),
            Watch(
                CONFIGMAPS, namespace=HUB_NAMESPACE, field_selector=_SELECTOR, map=lambda book: self._all()
            ),
            Watch(AddOnPlacementScore.RESOURCE, map=_own),
        ]

    async def start(self) -> None:
        """Forgets which book was read."""
        self._events = EventRecorder(self.client, "costController")
        self._read: tuple[str, Book | None] = ("", Book())

    async def reconcile(self, key: Key) -> float | None:
        """One cluster's score."""
        cluster = self.cache(ManagedCluster.RESOURCE).get(Key("", key.name))
        live = self.cache(AddOnPlacementScore.RESOURCE).get(Key(key.name, SCORE))
        if live is not None and OWNER_LABEL not in (live["metadata"].get("labels") or {}):
            return None  # somebody else's, whose word counts
        if cluster is None or cluster["metadata"].get("deletionTimestamp") or not is_accepted(cluster):
            return None  # its namespace comes and goes with it
        if (book := await self._book()) is None:
            return None
        reason, scores = "Priced", {}
        try:
            prices = prices_of(cluster, book)
            message = f"from {prices.origin}" if prices else ""
            scores = prices.scores(book.scale) if prices else {}
        except BadPrice as error:
            prices, reason, message = None, "BadPrice", str(error)
        if prices is None and reason == "Priced":
            await remove(self.client, AddOnPlacementScore.RESOURCE, live)
            return None
        desired = _score(cluster)
        if await ensure(
            self.client,
            live,
            desired,
            field_manager="boundaryless-cost",
            resource=AddOnPlacementScore.RESOURCE,
        ):
            live = await self.client.get(AddOnPlacementScore.RESOURCE, SCORE, key.name)
        assert live is not None  # ensure makes it
        status = copy_json(live.get("status") or {})
        status["scores"] = [{"name": name, "value": value} for name, value in scores.items()]
        set_condition(status.setdefault("conditions", []), "Priced", reason == "Priced", reason, message)
        await write_status(self.client, AddOnPlacementScore.RESOURCE, live, status)
        return None

    async def _book(self) -> Book | None:
        """The price book as it is, or as it was when it was last right; None when it never was."""
        config_map = self._books().get(Key(HUB_NAMESPACE, BOOK))
        version = config_map["metadata"]["resourceVersion"] if config_map else ""
        if version != self._read[0]:
            before = self._read[1] if self._read[0] else None
            self._read = version, before  # told once for each version
            try:
                self._read = version, read_book(config_map)
            except BadPrice as error:
                log.warning("price book not used", reason=str(error))
                if config_map is not None:
                    about = {"apiVersion": "v1", "kind": "ConfigMap", **config_map}
                    await self._events.record(about, "BadPrice", str(error), warning=True)
        return self._read[1]

    def _books(self) -> AnyInformer:
        return self.cache(CONFIGMAPS, namespace=HUB_NAMESPACE, field_selector=_SELECTOR)

    def _all(self) -> Iterable[Key]:
        return [key_of(cluster) for cluster in self.cache(ManagedCluster.RESOURCE)]


def _own(score: Json) -> Iterable[Key]:
    metadata = score["metadata"]
    return [Key("", metadata["namespace"])] if metadata["name"] == SCORE else []


def _priced_otherwise(old: Json | None, new: Json | None) -> bool:
    return old is None or new is None or _seen(old) != _seen(new)


def _seen(cluster: Json) -> object:
    accepted = is_accepted(cluster)
    claims = (cluster.get("status") or {}).get("clusterClaims")
    return accepted, claims, cluster["metadata"].get("deletionTimestamp")


def _score(cluster: Json) -> Json:
    metadata = cluster["metadata"]
    return {
        "apiVersion": AddOnPlacementScore.RESOURCE.api_version,
        "kind": AddOnPlacementScore.RESOURCE.kind,
        "metadata": {
            "name": SCORE,
            "namespace": metadata["name"],
            "labels": {OWNER_LABEL: "true"},
            "ownerReferences": [
                {
                    "apiVersion": ManagedCluster.RESOURCE.api_version,
                    "kind": ManagedCluster.RESOURCE.kind,
                    "name": metadata["name"],
                    "uid": metadata["uid"],
                }
            ],
        },
    }
