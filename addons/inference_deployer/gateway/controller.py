"""Keeps Envoy's files and the deployments' endpoint in step with the hub."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import structlog

from addon_framework.api.meta import Json
from addon_framework.kube import Controller, Key, NotFound, Watch, patch_status
from addons.inference_deployer.gateway.listener import files
from addons.inference_deployer.gateway.routes import (
    Model,
    cluster,
    load_assignment,
    model_of,
    needs_dns,
    route_configuration,
)
from addons.inference_deployer.kinds import INFERENCEDEPLOYMENTS

log = structlog.get_logger(__name__)

_ALL = Key("", "configuration")
_PROBE_AGAIN = 0.05  # seconds; Envoy does not say when it has applied a file

Answers = Callable[[Model], Awaitable[bool]]


class GatewayController(Controller):
    """All InferenceDeployments -> Envoy's files in `directory`; and `url` into each one's status.

    Before the first one is written, `served` is awaited: until Envoy serves.

    One key for everything, since a burst of events is one new configuration.
    """

    name = "gateway"

    def __init__(
        self, directory: Path, url: str, answers: Answers, served: Callable[[], Awaitable[None]]
    ) -> None:
        self._directory, self._url, self._answers, self._served = directory, url, answers, served
        self._told: set[str] = set()

    def watches(self) -> list[Watch]:
        """InferenceDeployments."""
        return [Watch(INFERENCEDEPLOYMENTS, map=lambda _: [_ALL])]

    async def start(self) -> None:
        """A hub without a model has a configuration, too."""
        self.queue.add(_ALL)

    async def reconcile(self, key: Key) -> float | None:
        """Files first, and an endpoint only once the model answers there: what the status promises is so."""
        deployments = [
            d for d in self.cache(INFERENCEDEPLOYMENTS) if not d["metadata"].get("deletionTimestamp")
        ]
        models = [model_of(deployment) for deployment in deployments]
        if models:
            await self._served()
        if write_configuration(self._directory, models):
            ready = sorted(model.key for model in models if model.places)
            log.info("routes written", models=len(models), ready=ready)
        pending = False
        for deployment, model in zip(deployments, models, strict=True):
            if model.places and not self._is_told(deployment):
                if await self._answers(model):
                    await self._tell(deployment)
                else:
                    pending = True
        return _PROBE_AGAIN if pending else None

    def _is_told(self, deployment: Json) -> bool:
        """Where another gateway says another endpoint, both must not write for ever."""
        present = (deployment.get("status") or {}).get("endpoint")
        return present == self._url or (bool(present) and deployment["metadata"]["uid"] in self._told)

    async def _tell(self, deployment: Json) -> None:
        status = deployment.get("status") or {}
        self._told.add(deployment["metadata"]["uid"])
        try:
            await patch_status(
                self.client, INFERENCEDEPLOYMENTS, deployment, {**status, "endpoint": self._url}
            )
        except NotFound:
            return


def write_configuration(directory: Path, models: Sequence[Model]) -> bool:
    """Make Envoy's files say where the models are; whether anything changed.

    Endpoints and clusters come before the routes to them. Each cluster has its endpoints in a file of its
    own, since that is all Envoy reads from one.
    """
    changed = False
    clusters, wanted = [], set()
    for model in sorted((model for model in models if model.places), key=lambda model: model.key):
        if needs_dns(model):
            clusters.append(cluster(model, None))
            continue
        name = f"eds-{hashlib.sha256(model.key.encode()).hexdigest()[:16]}.json"
        wanted.add(name)
        changed |= put(directory / name, load_assignment(model))
        clusters.append(cluster(model, files(directory, name)))
    changed |= put(directory / "cds.json", *clusters)
    changed |= put(directory / "rds.json", route_configuration(models))
    for path in directory.glob("eds-*.json"):
        if path.name not in wanted:
            path.unlink()
    return changed


def put(path: Path, *resources: Json) -> bool:
    """Replace the file in one step, which is also what Envoy notices; False when it says that already."""
    if says(path, *resources):
        return False
    fresh = path.with_name(f".{path.name}")
    fresh.write_text(_text(resources))
    os.replace(fresh, path)
    return True


def says(path: Path, *resources: Json) -> bool:
    """Whether the file says that already."""
    return path.exists() and path.read_text() == _text(resources)


def _text(resources: Sequence[Json]) -> str:
    body = json.dumps(list(resources), indent=1)
    version = hashlib.sha256(body.encode()).hexdigest()[:16]
    return f'{{"version_info": "{version}", "resources": {body}}}\n'
