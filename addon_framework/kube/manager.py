"""The manager: runs controllers over shared informers, under a lease where asked, with health and metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

import structlog
from aiohttp import web

from addon_framework.api.meta import Resource
from addon_framework.kube.client import Client
from addon_framework.kube.controller import Controller
from addon_framework.kube.informer import AnyInformer, Informer
from addon_framework.kube.lease import LeaderElector
from addon_framework.kube.metrics import Metrics

log = structlog.get_logger(__name__)


class Manager:
    """Add controllers, then `run`. With `lease_namespace`, one process of that `name` works at a time.

    The caches keep objects of the resources in `packed` as text: see `Informer`.
    """

    def __init__(
        self,
        client: Client,
        *,
        name: str,
        lease_namespace: str | None = None,
        lease_duration: float = 15.0,
        health_port: int | None = None,
        packed: Collection[Resource] = (),
    ) -> None:
        self.client = client
        self.name = name
        self.metrics = Metrics()
        self._elector = (
            LeaderElector(client, lease_namespace, name, duration=lease_duration) if lease_namespace else None
        )
        self._health_port, self._packed = health_port, frozenset(packed)
        self._informers: dict[tuple[Any, ...], AnyInformer] = {}
        self._controllers: list[tuple[Controller, list[AnyInformer]]] = []
        self._group: asyncio.TaskGroup | None = None

    def informer(
        self,
        resource: Resource,
        *,
        client: Client | None = None,
        namespace: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
        model: type[Any] | None = None,
    ) -> AnyInformer:
        """The one informer of this client, resource, selection and model; it runs when the manager does."""
        client = client or self.client
        key = (id(client), resource, namespace, label_selector, field_selector, model)
        if key not in self._informers:
            informer: AnyInformer = Informer(
                client,
                resource,
                namespace=namespace,
                label_selector=label_selector,
                field_selector=field_selector,
                model=model,
                packed=model is None and resource in self._packed,
            )
            self._informers[key] = informer
            if self._group is not None:
                self._group.create_task(informer.run())
        return self._informers[key]

    def add(self, controller: Controller, client: Client | None = None) -> None:
        """Takes a controller in, on `client`'s cluster; also while running."""
        informers = controller.attach(self, client or self.client)
        self._controllers.append((controller, informers))
        if self._group is not None:
            self._group.create_task(self._start(controller, informers))

    async def run(self) -> None:
        """Runs until cancelled."""
        runner = await self._serve_health() if self._health_port is not None else None
        try:
            if self._elector is not None:
                await self._elector.run(self._work)
            else:
                await self._work()
        finally:
            if runner is not None:
                await runner.cleanup()

    async def _work(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                for informer in list(self._informers.values()):
                    group.create_task(informer.run())
                for controller, informers in list(self._controllers):
                    group.create_task(self._start(controller, informers))
                group.create_task(asyncio.Event().wait())  # a manager with nothing to do still runs
        finally:
            self._group = None
            # Should we lead once more, then as one who has just begun: others have worked meanwhile, and keys
            # that were to be looked at later are lost.
            for informer in self._informers.values() if self._elector is not None else ():
                informer.forget()

    async def _start(self, controller: Controller, informers: list[AnyInformer]) -> None:
        for informer in informers:
            await informer.synced()
        log.debug("controller started", controller=controller.name)
        await controller.work()

    async def _serve_health(self) -> web.AppRunner:
        async def alive(_: web.Request) -> web.Response:
            return web.Response(text="ok")

        async def ready(_: web.Request) -> web.Response:
            waiting = [i.resource.plural for i in self._informers.values() if not i.is_synced]
            return web.Response(
                status=503 if waiting else 200, text=f"waiting for {waiting}" if waiting else "ok"
            )

        async def metrics(_: web.Request) -> web.Response:
            return web.Response(body=self.metrics.render(), content_type="text/plain")

        app = web.Application()
        app.add_routes([web.get("/healthz", alive), web.get("/readyz", ready), web.get("/metrics", metrics)])
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self._health_port).start()
        return runner
