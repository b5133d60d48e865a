"""The main job, step by step, as a user would do it: only the public API, no knowledge of any process."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from addon_framework.api.addon import ManagedClusterAddOn
from addon_framework.api.cluster import AddOnPlacementScore
from addon_framework.api.conditions import is_true
from addon_framework.api.inference import InferenceDeployment
from addon_framework.api.meta import Json
from addon_framework.cli.demo import objects
from addon_framework.cli.demo.report import Report, Row, Span
from addon_framework.kube import Client, NotFound, until_reached, wait_for

Say = Callable[[str], None]
BUCKET = "models"
PATIENCE = 60.0  # seconds that the hub, or the gateway, may be away: what was killed is started again
THROUGH_S3FS, COPIED_FIRST = "s3fs", "copy, then vLLM"  # the baselines' rows
SHOWN_SCORES = ("gpuAvailable", "cpuAvailable", "memAvailable")


class StepFailed(Exception):
    """A step of the demo did not work; the message has what was said."""


@dataclass(frozen=True)
class Options:
    """What `fleetadm demo` was asked for. Sizes in MB."""

    model_mb: int
    model: str | None  # a directory, or s3://bucket/path in the store; None: make one
    shards: int
    runtime: str
    output: Path
    fuse: bool = True  # whether pods may mount file systems, for which one has to be root
    cluster_wait: float = 120
    model_wait: float = 600


@dataclass(frozen=True)
class Store:
    """The fleet's S3 server, as seen from hub and spokes alike."""

    endpoint: str
    access_key: str
    secret_key: str


class Scenario:
    """Runs on a fleet that is up and whose clusters ask to join."""

    def __init__(
        self, hub: Client, clusters: list[str], store: Store, options: Options, say: Say, *, link: str
    ) -> None:
        self.hub, self.clusters, self.store, self.options, self.say = hub, clusters, store, options, say
        self.link = link
        self.size_mb = options.model_mb
        self.used: list[str] = []

    async def run(self) -> Report:
        """From installed add-ons to the report."""
        await self.install_addons()
        await self.scores()
        source = await asyncio.to_thread(self.provide_model)
        self.size_mb = await asyncio.to_thread(self.measure, source)
        await self._apply(objects.credentials(self.store.access_key, self.store.secret_key))
        rows = [await self.baseline(source)]
        row, completion = await self.preloaded(source)
        rows.append(row)
        rows.append(await self.scale_out())
        rows.append(await self.second_cluster())
        return Report(
            model_mb=self.size_mb,
            link=self.link,
            runtime=self.options.runtime,
            rows=rows,
            completion=completion,
            clusters=self.used,
        )

    async def install_addons(self) -> None:
        """Three ClusterManagementAddOns with a Placement; Available on every cluster."""
        for obj in objects.addons() + objects.namespace():
            await self._apply(obj)
        waits = [
            wait_for(
                self.hub,
                ManagedClusterAddOn.RESOURCE,
                addon,
                cluster,
                until=lambda obj: obj is not None and is_true(obj, "Available"),
                timeout=self.options.cluster_wait,
                what="Available",
            )
            for cluster in self.clusters
            for addon in objects.ADDONS
        ]
        await asyncio.gather(*waits)
        self.say(f"Add-ons {', '.join(objects.ADDONS)} are Available on {', '.join(self.clusters)}.")

    async def scores(self) -> None:
        """The scorer's agents have published."""
        for cluster in self.clusters:
            obj = await wait_for(
                self.hub,
                AddOnPlacementScore.RESOURCE,
                "resource-usage-score",
                cluster,
                until=lambda obj: bool(((obj or {}).get("status") or {}).get("scores")),
                timeout=self.options.cluster_wait,
                what="scored",
            )
            scores = {score["name"]: score["value"] for score in (obj or {})["status"]["scores"]}
            shown = (f"{name} {scores[name]}" for name in SHOWN_SCORES)
            self.say(f"Scores of {cluster} (-100 to 100): {', '.join(shown)}")

    def provide_model(self) -> str:
        """Makes the model if none was given, and puts it into the fleet's bucket once."""
        given = self.options.model
        if given is not None and given.startswith("s3://"):
            return given
        if given is None:
            directory = Path.cwd() / "build" / "models" / f"llama-{self.options.model_mb}mb"
            if not (directory / "config.json").exists():
                self.say(f"Making a {self.options.model_mb} MB Llama in {self.options.shards} shards.")
                size = ("--mb", str(self.options.model_mb), "--shards", str(self.options.shards))
                maker = (sys.executable, "-m", "addons.inference_deployer.testmodel")
                _run([*maker, str(directory), *size])
        else:
            directory = Path(given)
        target = f"s3://{BUCKET}/{directory.name}"
        self.say(f"Copying {directory} to {target}.")
        try:
            self._s5cmd("mb", f"s3://{BUCKET}")
        except StepFailed as error:
            if "BucketAlreadyOwnedByYou" not in str(error):
                raise
        self._s5cmd("sync", f"{directory}/", f"{target}/")
        return target

    def measure(self, source: str) -> int:
        """The model's size in MB, as the store has it. Raises StepFailed when nothing is there."""
        import boto3
        from botocore.exceptions import BotoCoreError, ClientError

        bucket, _, path = source.removeprefix("s3://").partition("/")
        prefix = f"{path.rstrip('/')}/" if path else ""
        try:
            client = boto3.client(
                "s3",
                endpoint_url=self.store.endpoint,
                aws_access_key_id=self.store.access_key,
                aws_secret_access_key=self.store.secret_key,
                region_name="us-east-1",
            )
            pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
            size = sum(int(found["Size"]) for page in pages for found in page.get("Contents", ()))
        except (BotoCoreError, ClientError) as error:
            raise StepFailed(f"{source} at {self.store.endpoint} cannot be listed: {error}") from None
        if not size:
            raise StepFailed(f"nothing is at {source} in the store {self.store.endpoint}")
        return max(1, round(size / 1e6))

    async def baseline(self, source: str) -> Row:
        """Stock vLLM, weights read through an s3fs mount of the same bucket, the same link.

        Where nothing can be mounted: all is copied first, as an init container would, and then it starts.
        """
        label = THROUGH_S3FS if self.options.fuse else COPIED_FIRST
        runtime = "s3fs" if self.options.fuse else "local"
        asked = await self._ask("baseline", source, runtime, preload=not self.options.fuse, launcher="stock")
        row = self._row(label, asked, await self._ready("baseline", clusters=1, replicas=1), 0)
        await self._end("baseline")
        how = "Through s3fs, with stock vLLM" if self.options.fuse else "All copied first, then stock vLLM"
        self.say(f"{how}: ready after {row.sum_s:.1f} s.")
        return row

    async def preloaded(self, source: str) -> tuple[Row, str]:
        """The product: the cache fills while the engine starts."""
        name = "demo"
        asked = await self._ask(name, source, self.options.runtime, preload=True, launcher="shared")
        obj = await self._ready(name, clusters=1, replicas=1)
        self.used = [cluster["name"] for cluster in obj["status"]["clusters"]]
        row = self._row("dataset preload", asked, obj, 0)
        self.say(f"Preloaded on {row.cluster}: ready after {row.sum_s:.1f} s.")
        completion = await self._complete(obj["status"]["endpoint"], name)
        self.say(f"The gateway at {obj['status']['endpoint']} streams: {completion!r}")
        return row, completion

    async def scale_out(self) -> Row:
        """A second replica where the model already is."""
        await self._wait("demo", _is_warm, "warm, with an engine host that has imported the engine")
        asked = await self._patch("demo", {"spec": {"replicas": 2}})
        obj = await self._ready("demo", clusters=1, replicas=2)
        row = self._row("scale-out, warm", asked, obj, 0, replica=-1)
        self.say(f"A second replica on {row.cluster}: ready after {row.sum_s:.1f} s.")
        return row

    async def second_cluster(self) -> Row:
        """Out to the other cluster, which has one GPU and no model yet."""
        patch = {"spec": {"replicas": 1, "placement": {"numberOfClusters": 2}}}
        asked = await self._patch("demo", patch)
        obj = await self._ready("demo", clusters=2, replicas=1)
        names = [cluster["name"] for cluster in obj["status"]["clusters"]]
        new = next(index for index, name in enumerate(names) if name not in self.used)
        self.used.append(names[new])
        row = self._row("scale-out, new cluster", asked, obj, new)
        self.say(f"Out to {row.cluster}: ready after {row.sum_s:.1f} s.")
        return row

    # Parts of the steps

    async def _apply(self, obj: Json) -> None:
        await until_reached(lambda: self.hub.apply(obj, **_AS_DEMO), timeout=PATIENCE)

    def _s5cmd(self, *arguments: str) -> None:
        _run(
            [str(Path(sys.executable).parent / "s5cmd"), "--endpoint-url", self.store.endpoint, *arguments],
            AWS_ACCESS_KEY_ID=self.store.access_key,
            AWS_SECRET_ACCESS_KEY=self.store.secret_key,
            AWS_REGION="us-east-1",
        )

    async def _ask(self, name: str, source: str, runtime: str, *, preload: bool, launcher: str) -> float:
        """Applies an InferenceDeployment, with cold caches; when it was asked for, in epoch seconds."""
        _drop_page_cache()
        quota = f"{max(64, self.size_mb * 2)}Mi"
        deployment = objects.inference(
            name,
            source,
            self.store.endpoint,
            runtime=runtime,
            preload=preload,
            launcher=launcher,
            quota=quota,
        )
        asked = time.time()
        await self._apply(deployment)
        return asked

    async def _end(self, name: str) -> None:
        """Deletes an InferenceDeployment and waits until it is gone: the next shall have the machine."""
        try:
            resource, namespace = InferenceDeployment.RESOURCE, objects.NAMESPACE
            await until_reached(lambda: self.hub.delete(resource, name, namespace), timeout=PATIENCE)
        except NotFound:
            pass
        await self._wait(name, lambda obj: obj is None, "deleted")

    async def _patch(self, name: str, patch: Json) -> float:
        """When it was asked for, in epoch seconds."""
        asked = time.time()
        resource, namespace = InferenceDeployment.RESOURCE, objects.NAMESPACE
        await until_reached(lambda: self.hub.patch(resource, name, patch, namespace), timeout=PATIENCE)
        return asked

    async def _ready(self, name: str, *, clusters: int, replicas: int) -> Json:
        def until(obj: Json | None) -> bool:
            if obj is None:
                return False
            status = obj.get("status") or {}
            serving = [c for c in status.get("clusters") or [] if c.get("readyReplicas", 0) == replicas]
            current = status.get("observedGeneration") == obj["metadata"]["generation"]
            # Marks travel from pod to hub on their own; the last may come after readiness.
            marked = all(_is_whole(entry) for c in serving for entry in c.get("timeline") or [{}])
            routed = bool(status.get("endpoint"))
            return current and is_true(obj, "Ready") and len(serving) == clusters and marked and routed

        obj = await self._wait(name, until, f"ready with {replicas} replicas on {clusters} clusters")
        assert obj is not None
        return obj

    async def _wait(self, name: str, until: Callable[[Json | None], bool], what: str) -> Json | None:
        return await wait_for(
            self.hub,
            InferenceDeployment.RESOURCE,
            name,
            objects.NAMESPACE,
            until=until,
            timeout=self.options.model_wait,
            what=what,
        )

    def _row(self, label: str, asked: float, obj: Json, cluster: int, *, replica: int = 0) -> Row:
        status = obj["status"]["clusters"][cluster]
        entries = sorted(status["timeline"], key=lambda entry: float(entry["scheduled"]))
        return row_from_timeline(label, status["name"], entries[replica], asked)

    async def _complete(self, endpoint: str, model: str) -> str:
        """A streamed completion; asked again, as clients do, when the gateway is away."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return await self._completion(f"{endpoint.rstrip('/')}/v1/completions", model)
            except (aiohttp.ClientError, StepFailed) as error:
                if time.monotonic() > deadline:
                    raise StepFailed(f"no completion from {endpoint}: {error}") from error
            await asyncio.sleep(0.2)

    async def _completion(self, url: str, model: str) -> str:
        """Every event as it comes."""
        body = {
            "model": model,
            "prompt": "Boundaryless is",
            "max_tokens": 16,
            "stream": True,
            "temperature": 0,
        }
        pieces: list[str] = []
        async with (
            aiohttp.ClientSession() as session,
            session.post(url, json=body) as response,
        ):
            if response.status != 200:
                raise StepFailed(f"{response.url} answered {response.status}: {await response.text()}")
            async for line in response.content:
                data = line.decode().removeprefix("data: ").strip()
                if line.startswith(b"data: ") and data != "[DONE]":
                    pieces.append(json.loads(data)["choices"][0]["text"])
        return "".join(pieces)


def _is_warm(obj: Json | None) -> bool:
    clusters = ((obj or {}).get("status") or {}).get("clusters") or []
    return bool(clusters) and all(cluster.get("engineHost") == "Ready" for cluster in clusters)


def _is_whole(entry: Json) -> bool:
    return all(name in entry for name in ("processStart", "weightsSeconds", "weightsLoaded", "ready"))


def row_from_timeline(label: str, cluster: str, entry: Json, began: float) -> Row:
    """A row of the table from one replica's timeline as the status has it; all times in epoch seconds.

    The row begins when the user asked, not when something noticed. Data loaded before that is no part of it.
    """
    at = {name: float(value) for name, value in entry.items() if isinstance(value, int | float)}
    load_start, load_end = at.get("dataLoadStart"), at.get("dataLoaded")
    loads = load_start is not None and load_end is not None and load_end > began
    steps = [("engine start", at.get("imported")), ("wait for data", at.get("dataReady"))]
    stock = entry.get("mode") == "stock"  # which starts when the data is there, and not before
    started = at.get("dataReady", at["processStart"]) if stock else at["processStart"]
    ends = [
        ("schedule", at["processStart"]),
        *(reversed(steps) if stock else steps),
        ("engine set-up", at.get("weightsStart")),
        ("weights", at.get("weightsLoaded")),
        ("server start", at["ready"]),
    ]
    spans = []
    if loads and load_start is not None and load_end is not None:
        spans.append(Span("data load", load_start - began, load_end - began))
    cursor = began
    for name, end in ends:
        if end is not None and end > cursor:
            spans.append(Span(name, round(cursor - began, 3), round(end - began, 3)))
            cursor = end
    return Row(
        name=label,
        cluster=cluster,
        engine=str(entry.get("mode", "")),
        data_load_s=round(load_end - load_start, 2) if loads and load_start and load_end else 0.0,
        model_loading_s=round(at["weightsSeconds"], 2),
        server_ready_s=round(at["ready"] - started, 2),
        sum_s=round(at["ready"] - began, 2),
        spans=spans,
    )


def _run(command: list[str], **secrets: str) -> None:
    """A program whose output matters only when it fails. Secrets go by environment."""
    done = subprocess.run(command, env={**os.environ, **secrets}, capture_output=True, text=True, check=False)
    if done.returncode:
        tail = (done.stderr or done.stdout)[-2000:]
        raise StepFailed(f"{Path(command[0]).name} failed with exit code {done.returncode}: {tail}")


def _drop_page_cache() -> None:
    """Cold means cold: what an earlier row left in memory must not help the next one. Needs root."""
    os.sync()
    try:
        Path("/proc/sys/vm/drop_caches").write_text("3")
    except OSError:
        return


_AS_DEMO: dict[str, Any] = {"field_manager": "fleetadm-demo"}
